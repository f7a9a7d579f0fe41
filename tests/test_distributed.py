"""One model, from disk or on workers, however many there are: the same samples."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from algorithms import TOKENS
from sharded import FRAME, PARAMS, USERS, assert_same, trainset, workers

import llmtokens
from llmtokens import HashingEncoder, LLMTokens
from llmtokens.algorithms.bpmf import LLMTokensBPMF, shards
from llmtokens.algorithms.bpmf.reproducible import OrderedSum
from llmtokens.datasets import load_movielens
from llmtokens.distributed import fit_bpmf
from llmtokens.errors import (
    DataError,
    FileFormatError,
    MissingExtraError,
    StorageError,
)


@pytest.fixture(autouse=True)
def _many_shards(monkeypatch):
    """Three shards of 1024 users, where there would be one."""
    monkeypatch.setattr(shards, "_RATINGS", 1)


@pytest.fixture(scope="module")
def client():
    with workers(2) as found:
        yield found


@pytest.fixture(scope="module")
def whole():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_RATINGS", 1)
        return LLMTokensBPMF(TOKENS, USERS, **PARAMS).fit(trainset())


# -- the same samples


class Leaf(NamedTuple):
    number: float
    array: np.ndarray


def test_sums_do_not_depend_on_who_adds():
    rng = np.random.default_rng(0)
    leaves = [Leaf(x, rng.random(3)) for x in rng.random(13) * 10.0 ** rng.integers(-8, 8, 13)]
    results = []
    for cuts in ([], [5], [1, 6, 8], range(1, 13)):
        trees = []
        for index, leaf in enumerate(leaves):
            if index == 0 or index in cuts:
                trees.append(OrderedSum())
            trees[-1].add(index, leaf)
        while len(trees) > 1:
            trees[0].merge(trees.pop())
        results.append(trees[0].result())
    for total, array in results[1:]:
        assert total == results[0][0]
        np.testing.assert_array_equal(array, results[0][1])


def test_one_process_from_disk_draws_the_samples_of_fit(whole, tmp_path):
    assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, folder=tmp_path, **PARAMS))
    assert len(list(tmp_path.glob("shard-*"))) == 3


def test_two_workers_draw_the_samples_of_fit(whole, client):
    assert_same(whole, fit_bpmf(FRAME, TOKENS, USERS, client, **PARAMS))


def test_without_tokens_too(client):
    whole = LLMTokensBPMF(**PARAMS).fit(trainset())
    assert_same(whole, fit_bpmf(FRAME, client=client, **PARAMS))
    assert_same(whole, fit_bpmf(FRAME, **PARAMS))


def test_shards_of_another_size_give_the_same_up_to_rounding(whole, monkeypatch):
    monkeypatch.setattr(shards, "_RATINGS", 10**9)
    one = LLMTokensBPMF(TOKENS, USERS, **PARAMS).fit(trainset())
    for name in ("user_samples", "item_samples"):
        np.testing.assert_allclose(
            getattr(one.model_, name), getattr(whole.model_, name), atol=1e-4
        )


@pytest.fixture(scope="module")
def many_real_users(ml_small_folder):
    """Real ratings, a third of each six times as many users', and one process's model of them."""
    data = load_movielens(ml_small_folder)
    tokens = LLMTokens.from_frame(
        data.items, "{title}", categorical=["genres"], numeric=["year"],
        encoder=HashingEncoder(), n_components=32,
    )  # fmt: skip
    own = data.ratings[["user", "item", "rating"]].iloc[::3]
    frame = pd.concat([own.assign(user=own["user"] + 1000 * k) for k in range(6)])
    small = {"n_samples": 4, "burn_in": 3, "random_state": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_RATINGS", 1)
        whole = LLMTokensBPMF(tokens, **small).fit(trainset(frame, (0.5, 5)))
    return whole, lambda client: fit_bpmf(
        frame, tokens, client=client, rating_scale=(0.5, 5), **small
    )


def take_note_of_shards():
    """Has a worker remember which shards it opens."""
    from llmtokens.distributed import disk

    made, disk.opened_shards = disk.DiskShards.__init__, []

    def noted(self, where, indices):
        disk.opened_shards += indices
        made(self, where, indices)

    disk.DiskShards.__init__ = noted


def opened_shards():
    from llmtokens.distributed import disk

    return disk.opened_shards


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 4])
def test_real_data_give_the_same_samples_on_any_number_of_workers(n, many_real_users, client):
    whole, fit = many_real_users
    with nullcontext(client) if n == 2 else workers(n) as those:
        those.run(take_note_of_shards)
        assert_same(whole, fit(those))
        held = those.run(opened_shards)
    assert len(held) == n
    assert all(held.values())
    assert sorted(chain(*held.values())) == list(range(4))


# -- where ratings come from


@pytest.fixture
def parquet(tmp_path):
    pytest.importorskip("pyarrow")
    folder = tmp_path / "ratings"
    folder.mkdir()
    for k, first in enumerate(range(0, len(FRAME), 4_000)):
        part = FRAME[first : first + 4_000].assign(extra="x")
        part.to_parquet(folder / f"part-{k}.parquet", row_group_size=1_500)
    return folder


def test_parquet_and_dask_frames_are_read_as_one_frame(parquet):
    frames = pytest.importorskip("dask.dataframe")
    few = PARAMS | {"n_samples": 2, "burn_in": 1}
    whole = fit_bpmf(FRAME, **few)
    assert_same(whole, fit_bpmf(parquet, **few))
    assert_same(whole, fit_bpmf(frames.from_pandas(FRAME, npartitions=3, sort=False), **few))


def test_more_than_ten_files_are_read_in_the_order_in_which_dask_wrote_them(tmp_path):
    frames = pytest.importorskip("dask.dataframe")
    one = FRAME.head(1300)
    frames.from_pandas(one, npartitions=13, sort=False).to_parquet(tmp_path / "all.parquet")
    few = PARAMS | {"n_samples": 2, "burn_in": 1}
    for place in (tmp_path, tmp_path / "all.parquet"):
        algo = fit_bpmf(place, **few)
        assert algo.ratings_.user_ids == one["user"].drop_duplicates().tolist()
    assert_same(fit_bpmf(one, **few), algo)


def test_columns_that_were_the_index_of_a_frame_are_read_from_its_files(tmp_path):
    pytest.importorskip("pyarrow")
    one, few = FRAME.head(300), PARAMS | {"n_samples": 2, "burn_in": 1}
    one.set_index(["user", "item"]).to_parquet(tmp_path / "indexed.parquet")
    assert_same(fit_bpmf(one, **few), fit_bpmf(tmp_path, **few))


@pytest.mark.parametrize("kind", [str, "category"])
def test_ids_of_any_kind(kind):
    frame = FRAME.head(3000).assign(user=lambda f: f["user"].astype(str).astype(kind))
    algo = fit_bpmf(frame, **PARAMS | {"n_samples": 2})
    assert algo.ratings_.user_ids[0] == str(FRAME["user"][0])
    assert not algo.predict(str(FRAME["user"][0]), 3).details["cold_user"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rating": np.nan}, "1 ratings that are NaN or outside the scale from 1 to 5"),
        ({"rating": 7.0}, "outside the scale.*7.0"),
        ({"user": None}, "no user id in row 3"),
    ],
)
def test_bad_rows_are_named(change, message):
    frame = FRAME.head(100).astype({"user": object})
    for column, value in change.items():
        frame.loc[3, column] = value
    with pytest.raises(DataError, match=message):
        fit_bpmf(frame)


def test_pairs_rated_twice_are_named():
    frame = pd.concat([FRAME, FRAME.iloc[[17]]])
    pair = tuple(FRAME.loc[17, ["user", "item"]].astype(int))
    with pytest.raises(DataError, match=rf"rated twice, such as .* \({pair[0]}, {pair[1]}\)"):
        fit_bpmf(frame)


def test_a_bad_rating_in_a_file_names_the_file(parquet):
    FRAME.head(50).assign(rating=9.0).to_parquet(parquet / "part-1.parquet")
    with pytest.raises(DataError, match=r"part-1.parquet.*outside the scale"):
        fit_bpmf(parquet)


@pytest.mark.parametrize("keep", [0, 500, -7])
def test_a_damaged_parquet_file_is_named(parquet, keep):
    path = parquet / "part-2.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"part-2.parquet"):
        fit_bpmf(parquet)


def test_a_parquet_file_that_cannot_be_opened_is_not_called_damaged(parquet):
    (parquet / "part-9.parquet").symlink_to(parquet / "nowhere")
    with pytest.raises(StorageError, match=r"could not read .*part-9.parquet"):
        fit_bpmf(parquet)


@pytest.mark.parametrize("scale", [(1, np.inf), (np.nan, 5), (5, 1), (1, 2, 3), "ab", None])
def test_what_is_no_rating_scale_is_refused(scale):
    with pytest.raises(DataError, match=r"found the rating scale .*expected \(lowest, highest\)"):
        fit_bpmf(FRAME, rating_scale=scale)


def test_ratings_and_ids_that_cannot_be_computed_with_are_refused():
    with pytest.raises(DataError, match="beyond 1e"):
        fit_bpmf(FRAME.assign(rating=1e200), rating_scale=(0, 1e201))
    with pytest.raises(DataError, match="not numbers .*too large"):
        fit_bpmf(FRAME.assign(rating=[10**400] * len(FRAME)))
    with pytest.raises(DataError, match="item ids that cannot be ids"):
        fit_bpmf(FRAME.assign(item=[[1]] * len(FRAME)))


def test_what_is_no_table_of_ratings_is_refused(tmp_path):
    with pytest.raises(StorageError, match="no Parquet files"):
        fit_bpmf(tmp_path)
    for given in ([(1, 2, 3.0)], pytest.importorskip("dask.array").ones((3, 3))):
        with pytest.raises(DataError, match=f"of type {type(given).__name__}; expected a folder"):
            fit_bpmf(given)
    for twice in ("user", "rating"):
        with pytest.raises(DataError, match="expected user, item and rating, each once"):
            fit_bpmf(pd.concat([FRAME, FRAME[twice]], axis=1))
    with pytest.raises(DataError, match="expected user, item and rating"):
        fit_bpmf(FRAME.rename(columns={"user": "uid"}))
    FRAME.head(0).to_parquet(tmp_path / "empty.parquet")
    for empty in (FRAME.head(0), tmp_path):
        with pytest.raises(DataError, match="no ratings"):
            fit_bpmf(empty)
    with pytest.raises(DataError, match="checkpoint_every"):
        fit_bpmf(FRAME, checkpoint_every=0)
    with pytest.raises(DataError, match="n_factors"):
        fit_bpmf(FRAME, n_factors=0)


def test_what_is_no_client_or_not_connected_is_refused():
    distributed = pytest.importorskip("distributed")
    with pytest.raises(DataError, match=r"found client='tcp://there:1'; expected a distributed\.C"):
        fit_bpmf(FRAME, client="tcp://there:1")
    with distributed.Client(n_workers=0, processes=False, dashboard_address=":0") as client:
        pass
    with pytest.raises(DataError, match="found a client that is closed; expected one that is con"):
        fit_bpmf(FRAME, client=client)


# -- the result


def test_the_result_is_a_model_like_any_other(whole, tmp_path):
    algo = fit_bpmf(FRAME, TOKENS, USERS, **PARAMS)
    assert isinstance(algo, LLMTokensBPMF)
    users = FRAME["user"].head(20).tolist()
    assert algo.recommend(users[0], 3).equals(whole.recommend(users[0], 3))
    algo.save(tmp_path / "model.safetensors")
    again = llmtokens.load(tmp_path / "model.safetensors")
    pairs = [(u, 3, None) for u in users] + [("nobody", "nothing", None)]
    assert again.test(pairs) == algo.test(pairs) == whole.test(pairs)
    algo.fold_in("new", [(2, 5.0), (3, 1.0)])
    assert 1 <= algo.predict("new", 4).est <= 5


# -- the extra


def test_without_the_extra_everything_else_works_and_the_error_says_what_to_install(tmp_path):
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["dask", "distributed", "pyarrow"]))
import pandas as pd
from llmtokens.distributed import fit_bpmf
from llmtokens.errors import MissingExtraError
frame = pd.DataFrame(dict(user=[1, 1, 2], item=[1, 2, 1], rating=[3.0, 4.0, 5.0]))
fit_bpmf(frame, n_samples=2, burn_in=0).predict(1, 2)
for given in (dict(ratings={str(tmp_path)!r}), dict(ratings=frame, client=object())):
    try:
        fit_bpmf(**given)
    except MissingExtraError as error:
        assert "pip install 'llmtokens[distributed]'" in str(error), error
    else:
        raise AssertionError(given)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
    assert issubclass(MissingExtraError, ImportError)


def test_no_import_of_ours_imports_dask():
    code = (
        "import sys, llmtokens.distributed, llmtokens.algorithms.bpmf;"
        "assert not {'dask', 'distributed', 'pyarrow.parquet'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
