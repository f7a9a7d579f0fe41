"""Ratings in many shards, and clusters to hold them."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pandas as pd
import pytest
from surprise import Dataset, Reader

from llmtokens import LLMTokens

PARAMS = {"n_factors": 3, "n_content": 4, "n_samples": 12, "burn_in": 8, "random_state": 7}
USERS = LLMTokens.from_embeddings(
    range(2500), np.random.default_rng(5).normal(size=(2500, 3)).astype(np.float32)
)


def made(n_users=2500, n_ratings=12_000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user": rng.integers(0, n_users, n_ratings),
            "item": (rng.random(n_ratings) ** 2 * 90).astype(int) + 1,
            "rating": rng.integers(1, 6, n_ratings).astype(float),
        }
    )
    return frame.drop_duplicates(["user", "item"], ignore_index=True)


FRAME = made()


def trainset(frame=FRAME, scale=(1, 5)):
    return Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()


@contextlib.contextmanager
def workers(n):
    """The client of a cluster of so many, one thread each."""
    distributed = pytest.importorskip("distributed")
    local = distributed.LocalCluster(
        n_workers=n, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with local, distributed.Client(local) as client:
        yield client


def of_size(client, n):
    """A client whose cluster has so many workers again."""
    client.cluster.scale(n)
    while len(client.nthreads()) != n:  # soon, or never
        time.sleep(0.05)
    return client


def assert_same(a, b):
    ours, theirs = a.model_.arrays(), b.model_.arrays()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
