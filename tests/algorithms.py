"""The algorithms under contract, each as its users would build it, and small data for them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from surprise import Dataset, Reader, Trainset

from llmtokens import HashingEncoder, LLMTokens, LLMTokensContent, LLMTokensEASE, LLMTokensSVD
from llmtokens.algorithms.bpmf import LLMTokensBPMF
from llmtokens.datasets import RatingData, synthetic

DATA: RatingData = synthetic(n_users=60, n_items=90, n_ratings=2500, random_state=3)
TOKENS = LLMTokens.from_frame(
    DATA.items, "{title}. {description}", categorical=["genres"], numeric=["year"],
    encoder=HashingEncoder(), n_components=24,
)  # fmt: skip
USER_TOKENS = LLMTokens.from_embeddings(
    sorted(DATA.ratings["user"].unique()),
    np.random.default_rng(5).normal(size=(DATA.ratings["user"].nunique(), 6)),
)

BPMF = {"n_factors": 4, "n_content": 4, "n_samples": 12, "burn_in": 8, "random_state": 7}
SVD = {"n_factors": 8, "n_epochs": 5, "random_state": 7}

ALGORITHMS = {
    "LLMTokensSVD": (LLMTokensSVD, SVD | {"item_tokens": TOKENS}),
    "LLMTokensSVD, users": (
        LLMTokensSVD,
        SVD | {"item_tokens": TOKENS, "user_tokens": USER_TOKENS},
    ),
    "LLMTokensSVD, no tokens": (LLMTokensSVD, SVD),
    "LLMTokensBPMF": (LLMTokensBPMF, BPMF | {"item_tokens": TOKENS}),
    "LLMTokensBPMF, users": (
        LLMTokensBPMF,
        BPMF | {"item_tokens": TOKENS, "user_tokens": USER_TOKENS},
    ),
    "LLMTokensBPMF, only users": (LLMTokensBPMF, BPMF | {"user_tokens": USER_TOKENS}),
    "LLMTokensBPMF, no tokens": (LLMTokensBPMF, BPMF),
    "LLMTokensEASE": (LLMTokensEASE, {"item_tokens": TOKENS}),
    "LLMTokensEASE, users": (LLMTokensEASE, {"item_tokens": TOKENS, "user_tokens": USER_TOKENS}),
    "LLMTokensEASE, no tokens": (LLMTokensEASE, {"l2": 50.0}),
    "LLMTokensContent": (LLMTokensContent, {"item_tokens": TOKENS}),
    "LLMTokensContent, users": (
        LLMTokensContent,
        {"item_tokens": TOKENS, "user_tokens": USER_TOKENS},
    ),
    "LLMTokensContent, cosine": (
        LLMTokensContent,
        {"item_tokens": TOKENS, "method": "cosine"},
    ),
}


def make(name: str, **changes):
    """One of the algorithms, with some parameters changed."""
    cls, parameters = ALGORITHMS[name]
    return cls(**(parameters | changes))


def dataset(rows, scale=(1, 5)):
    """A Surprise Dataset of (user, item, rating) rows."""
    return Dataset.load_from_df(
        pd.DataFrame(rows, columns=["user", "item", "rating"]), Reader(rating_scale=scale)
    )


def full(rows, scale=(1, 5)) -> Trainset:
    """All rows as a trainset."""
    return dataset(rows, scale).build_full_trainset()
