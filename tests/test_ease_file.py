"""What a saved LLMTokensEASE of few users and many items holds: what cannot be made again."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from algorithms import full

import llmtokens
from llmtokens import LLMTokens, LLMTokensEASE
from llmtokens.algorithms.ease import text_kernel
from llmtokens.datasets import load_movielens, synthetic
from llmtokens.encode import HashingEncoder
from llmtokens.errors import FileFormatError
from llmtokens.storage import container

DATA = synthetic(n_users=15, n_items=200, n_ratings=900)


@pytest.fixture(scope="module", autouse=True)
def few_features():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_kernel, "_LEADING", 20)
        patch.setattr(text_kernel, "_LANDMARKS", 40)
        yield


@pytest.fixture(scope="module")
def fitted_once(few_features):
    items = DATA.items.head(190)
    tokens = LLMTokens.from_frame(items, "{title}", encoder=HashingEncoder(64), n_components=16)
    rows = DATA.ratings[DATA.ratings["item"].isin(items["item"].head(180))]
    return LLMTokensEASE(tokens, l2=5.0, token_weight=5.0).fit(full(rows))


@pytest.fixture
def algo(fitted_once):
    made = copy.copy(fitted_once)
    assert made.item_weights_.is_of_users
    return made


def again(algo, tmp_path):
    """The model after a file, which is written the same again."""
    one, two = tmp_path / "one", tmp_path / "two"
    algo.save(one)
    loaded = llmtokens.load(one)
    loaded.save(two)
    assert one.read_bytes() == two.read_bytes()
    pd.testing.assert_frame_equal(algo.recommend_all(9), loaded.recommend_all(9), check_exact=True)
    one, two = (model.text_kernel_.features.whole for model in (algo, loaded))
    np.testing.assert_array_equal(one, two)
    return loaded


def test_it_answers_after_loading_as_before_and_holds_no_matrix_of_items(algo, tmp_path):
    again(algo, tmp_path)
    _, _, arrays = container.read(tmp_path / "one")
    state = {name: array for name, array in arrays.items() if name.startswith("state.")}
    by_item = {name for name, array in state.items() if array.size >= 2 * algo.ratings_.n_items}
    halves = {"weights.inner", "text_kernel.inner", "text_kernel.landmarks.root"}
    assert by_item == {f"state.{name}" for name in (*halves, "text_kernel.landmarks.tokens")}
    rank = algo.item_weights_.inner.shape[0]
    assert len(state["state.weights.inner"]) == rank * (rank + 1) // 2


def test_so_it_does_after_all_that_was_learned_since(algo, tmp_path):
    known, twin = algo.ratings_.item_ids[:3], algo.items_.ids[185]
    algo.fold_in("new", dict.fromkeys(known, 4.0))
    loaded = again(algo, tmp_path)
    for model in (algo, loaded):
        model.fold_in_item(twin, None, [("new", 5.0)])
        model.fold_in_item("text alone", {"title": "A storm at sea"})
    pd.testing.assert_frame_equal(algo.recommend_all(9), loaded.recommend_all(9), check_exact=True)
    again(algo, tmp_path)


def test_whoever_is_forgotten_is_in_no_file_and_no_weight(algo, tmp_path):
    uid = algo.ratings_.user_ids[0]
    algo.forget(uid)
    loaded = again(algo, tmp_path)
    for model in (algo, loaded):
        assert model.item_weights_.rows.shape[0] == model.ratings_.n_users
    x = algo.interactions_
    weights = algo.item_weights_.scores(x[:3])
    gram = (x.T @ x).toarray().astype(float)
    t = algo.item_weights_.factor.whole.astype(float)
    p = np.linalg.inv(gram + 5 * t @ t.T + 5 * np.eye(len(gram)))
    np.fill_diagonal(b := -p / np.diag(p), 0)
    np.testing.assert_allclose(weights, x[:3].toarray() @ b, atol=1e-5)


def test_one_list_makes_the_features_of_what_the_user_rated_and_no_others(algo, tmp_path):
    algo.save(tmp_path / "m")
    loaded = llmtokens.load(tmp_path / "m")
    model, uid = loaded.model_, loaded.ratings_.user_ids[3]
    loaded.recommend(uid)
    without_token = ~model.items.has_token
    rated = np.isin(np.arange(model.items.n_warm), model.ratings.of_user(3)[0])
    used = model.weights.factor
    np.testing.assert_array_equal(used.known, rated | without_token[: model.items.n_warm])
    assert not used.known.all()
    np.testing.assert_array_equal(model.text_kernel.features.known, without_token)


def test_who_asks_first_after_loading_changes_no_bit(algo, tmp_path):
    algo.save(tmp_path / "m")
    one, all_at_once = (llmtokens.load(tmp_path / "m") for _ in range(2))
    users = list(reversed(one.ratings_.user_ids))
    alone = pd.concat([one.recommend([uid], n=9) for uid in users], ignore_index=True)
    together = all_at_once.recommend(users, n=9)
    pd.testing.assert_frame_equal(alone, together, check_exact=True)


@pytest.mark.parametrize(
    "name", ["weights.inner", "text_kernel.inner", "text_kernel.landmarks.root"]
)
def test_half_a_matrix_that_is_cut_short_is_refused(algo, tmp_path, name):
    algo.save(tmp_path / "m")
    kind, payload, arrays = container.read(tmp_path / "m")
    arrays[f"state.{name}"] = arrays[f"state.{name}"][:-1]
    container.write(tmp_path / "m", kind, payload, arrays)
    with pytest.raises(FileFormatError, match="entries of a triangle|has the shape"):
        llmtokens.load(tmp_path / "m")


@pytest.mark.parametrize("entry", [1e-44, -0.5, 1e30])
def test_a_root_that_is_of_no_kernel_is_refused(algo, tmp_path, entry):
    algo.save(tmp_path / "m")
    kind, payload, arrays = container.read(tmp_path / "m")
    root = np.array(arrays["state.text_kernel.landmarks.root"])
    root[0] = entry
    container.write(
        tmp_path / "m", kind, payload, arrays | {"state.text_kernel.landmarks.root": root}
    )
    with pytest.raises(FileFormatError, match="is not the root of a kernel"):
        llmtokens.load(tmp_path / "m")


@pytest.mark.slow
def test_movielens_takes_less_than_40_mb(ml_small_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(text_kernel, "_LEADING", 1000)
    monkeypatch.setattr(text_kernel, "_LANDMARKS", 2000)
    data = load_movielens(ml_small_folder)
    tokens = LLMTokens.from_frame(data.items, "{title}", encoder=HashingEncoder(384))
    algo = LLMTokensEASE(tokens, l2=30.0, token_weight=30.0)
    algo.fit(data.dataset.build_full_trainset()).save(tmp_path / "m")
    assert (tmp_path / "m").stat().st_size < 40e6
    loaded = llmtokens.load(tmp_path / "m")
    users = algo.ratings_.user_ids[:20]
    one, two = (model.recommend(users, n=10) for model in (algo, loaded))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
