"""LLMTokensEASE learns items without a refit: what it then is, and what a refit would be."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, TOKENS, full, make
from scipy import sparse

import llmtokens
from llmtokens.algorithms.ease import solver
from llmtokens.algorithms.ease.interactions import used_features
from llmtokens.algorithms.ease.solver import DenseItems, FactoredItems, relearned, solve

RNG = np.random.default_rng(0)
ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
NEW_USERS, NEW_ITEMS = {ROWS[0][0], ROWS[40][0]}, {ROWS[0][1], ROWS[1][1]}
OLD = [row for row in ROWS if row[0] not in NEW_USERS and row[1] not in NEW_ITEMS]
LATER = [row for row in ROWS if row[0] in NEW_USERS or row[1] in NEW_ITEMS]
NAMES = ["LLMTokensEASE", "LLMTokensEASE, no tokens"]


def weights_of(items, n_items):
    return items.scores(sparse.csr_array(np.eye(n_items, dtype=np.float32)))


def data(n_users, n_items, d=2):
    x = RNG.random((n_users, n_items)) * (RNG.random((n_users, n_items)) < 0.4)
    text = 0.3 * RNG.normal(size=(n_items, d))
    return sparse.csr_array(x.astype(np.float32)), text.astype(np.float32)


def by_directions(x, t, token_weight):
    """The same weights as those of ``solve``, in the form of a large catalogue."""
    factor = np.hstack([x.T.toarray(), np.float32(token_weight**0.5) * t])
    return solver._by_directions(factor, np.full(len(t), 0.7, np.float32))


def changed(x, t, what):
    """The data with new items, users, ratings or texts."""
    rows, t = x.toarray(), t.copy()
    if "item" in what:
        rows = np.hstack([rows, RNG.random((len(rows), 2)) * (RNG.random((len(rows), 2)) < 0.5)])
        t = np.vstack([t, 0.3 * RNG.normal(size=(2, t.shape[1]))])
    if "user" in what:
        new = RNG.random((2, rows.shape[1])) * (RNG.random((2, rows.shape[1])) < 0.5)
        rows = np.vstack([rows, new])
    if "rating" in what:
        rows[1, :5] = 0.7
        rows[2] = 0
    if "text" in what:
        t[3] = 0.3
    return sparse.csr_array(rows.astype(np.float32)), t.astype(np.float32)


@pytest.mark.parametrize(
    "what", ["item", "user", "rating", "text", "item and user", "item, user, rating and text", ""]
)
@pytest.mark.parametrize("n_users", [4, 60])
@pytest.mark.parametrize("token_weight", [0.0, 3.0])
def test_weights_learned_later_are_those_of_solving_anew(what, n_users, token_weight, monkeypatch):
    x, t = data(n_users, 60)
    items = (
        by_directions(x, t, token_weight) if n_users == 4 else solve(x, t, token_weight, 0.7, 99)
    )
    assert isinstance(items, FactoredItems if n_users == 4 else DenseItems)
    new = changed(x, t, what)
    expected = solve(*new, token_weight, 0.7, 1000)
    monkeypatch.setattr(solver, "solve", None)  # it must not be what it is compared with
    found = relearned(items, (x, t), new, token_weight, 0.7, 1000)
    n = new[0].shape[1]
    np.testing.assert_allclose(weights_of(found, n), weights_of(expected, n), atol=2e-5)
    np.testing.assert_allclose(found.precision, expected.precision, rtol=1e-4)


def test_weights_that_are_of_few_users_are_solved_anew():
    x, t = data(4, 60)
    items, new = solve(x, t, 1.0, 0.7, 1000), changed(x, t, "item, user, rating and text")
    assert items.is_of_users
    assert items.rows is x  # V is the data, not a copy of it
    found, expected = relearned(items, (x, t), new, 1.0, 0.7, 1000), solve(*new, 1.0, 0.7, 1000)
    np.testing.assert_array_equal(weights_of(found, 62), weights_of(expected, 62))


def test_a_change_of_high_rank_is_solved_anew():
    x, t = data(60, 30)
    items, new = solve(x, t, 1.0, 0.7, 1000), data(90, 30)
    found, expected = relearned(items, (x, t), new, 1.0, 0.7, 1000), solve(*new, 1.0, 0.7, 1000)
    np.testing.assert_array_equal(weights_of(found, 30), weights_of(expected, 30))


def test_factors_do_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(solver, "_EXACT", 0)
    monkeypatch.setattr(solver, "_RANK", 12)
    x, t = data(60, 100)
    items = solve(x, t, 1.0, 0.7, 1)
    for _ in range(10):
        new = changed(x, t, "user")
        items, (x, t) = relearned(items, (x, t), new, 1.0, 0.7, 1), new
        assert items.factor.shape[1] <= 12


def refit(algo):
    """The weights and the text map that the model's data give, its constants as they are."""
    rows, kernel = algo.interactions_, algo.text_kernel_
    features = used_features(kernel, rows.shape[1])
    weights = solve(rows, features, algo.token_weight_, algo.l2_, algo.max_dense)
    if kernel is None:
        return weights, None
    warm = kernel.features.whole[: rows.shape[1]].astype(float)
    return weights, warm @ np.linalg.inv(warm.T @ warm + 0.3 * np.eye(warm.shape[1]))


def is_a_refit(algo):
    expected, mixing = refit(algo)
    n = algo.ratings_.n_items
    np.testing.assert_allclose(
        weights_of(algo.item_weights_, n), weights_of(expected, n), atol=2e-5
    )
    if mixing is not None:
        kernel = algo.text_kernel_
        np.testing.assert_allclose(kernel.warm.whole @ kernel.inner, mixing, atol=2e-4)
    np.testing.assert_allclose(
        algo.popularity_, algo.interactions_.sum(axis=0) / algo.ratings_.n_users, atol=1e-6
    )
    assert algo.learned_ is algo.interactions_


@pytest.fixture(scope="module")
def before():
    made = {name: make(name).fit(full(OLD)) for name in NAMES}
    return lambda name: copy.copy(made[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_new_users_and_items_is_learned_as_by_a_refit(name, before):
    algo = before(name).partial_fit(LATER)
    assert algo.ratings_.n == len(ROWS)
    is_a_refit(algo)
    again = make(name, l2=algo.l2_, token_weight=algo.token_weight_).fit(full(ROWS))
    again.model_ = replace(
        again.model_, popularity_weight=algo.popularity_weight_, cold_start=algo.cold_start_
    )
    uid = next(iter(NEW_USERS))
    rows = [(algo.users_.rows([uid]), algo.items_), (again.users_.rows([uid]), again.items_)]
    ids = TOKENS.ids if algo.item_tokens else again.ratings_.item_ids
    ours, theirs = (
        model.model_.rank_scores(row)[0, entities.rows(ids)]
        for model, (row, entities) in zip((algo, again), rows, strict=True)
    )
    if algo.item_tokens is None:  # nothing but the order of rows differs
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    else:  # landmarks are in another order, and their scale is that of fewer items
        assert np.corrcoef(ours, theirs)[0, 1] > 0.999


@pytest.mark.parametrize("name", NAMES)
def test_users_who_came_before_are_learned_with_the_next_item(name, before):
    algo = before(name)
    weights = algo.item_weights_
    for uid in NEW_USERS:
        theirs = [(i, r) for u, i, r in LATER if u == uid and i not in NEW_ITEMS]
        algo.fold_in(uid, theirs[:8])
        algo.fold_in(uid, theirs[4:])
    assert algo.item_weights_.precision is weights.precision
    assert algo.learned_.shape[0] < algo.ratings_.n_users
    for iid in NEW_ITEMS:
        content = None if algo.item_tokens is None else "a storm at sea"
        algo.fold_in_item(iid, content, [(u, r) for u, i, r in LATER if i == iid])
        is_a_refit(algo)


def test_what_users_did_since_is_saved_and_learned_after_loading(before, tmp_path):
    algo = before("LLMTokensEASE").fold_in("new", dict.fromkeys(TOKENS.ids[:9], 4.0))
    algo.fold_in("newer", {TOKENS.ids[3]: 2.0}, timestamps=[1], half_life=1)
    algo.fold_in("newest", {TRAINED: 2.0})
    algo.save(tmp_path / "m")
    loaded = llmtokens.load(tmp_path / "m")
    assert (algo.learned_ != loaded.learned_).nnz == 0
    for model in (algo, loaded):
        model.fold_in_item(TRAINED, {"title": "Robots in Love"}, [("newer", 3.0)])
    is_a_refit(loaded)
    pd.testing.assert_frame_equal(algo.recommend_all(3), loaded.recommend_all(3), check_exact=True)


TRAINED = OLD[0][1]


def test_new_text_of_a_known_item_changes_what_it_is_near_to(before):
    algo = before("LLMTokensEASE")
    algo.fold_in_item(TRAINED, {"title": "Robots in Love", "description": "Robots fall in love."})
    is_a_refit(algo)
    row = algo.items_.rows([TRAINED])
    made = algo.text_kernel_.landmarks.features(algo.items_.tokens[row])
    np.testing.assert_array_equal(algo.text_kernel_.features.whole[row], made)


def test_a_new_item_is_scored_from_its_text_until_it_is_rated(before):
    algo = before("LLMTokensEASE")
    twin = next(iter(NEW_ITEMS))  # known by its text alone
    algo.fold_in_item("twin", DATA.items[DATA.items["item"] == twin].iloc[0].to_dict())
    users = np.arange(5)
    scores = algo.model_.rank_scores(users)
    at = algo.items_.rows([twin, "twin"])
    np.testing.assert_allclose(scores[:, at[0]], scores[:, at[1]], rtol=1e-4)


def test_ratings_beyond_those_of_training_do_not_rescale_the_others():
    mild = [row for row in OLD if 2 <= row[2] <= 4]
    algo = make("LLMTokensEASE, no tokens").fit(full(mild))
    rows = algo.interactions_.toarray()
    algo.fold_in("loud", {mild[0][1]: 5.0, mild[1][1]: 1.0})
    np.testing.assert_array_equal(algo.interactions_.toarray()[: len(rows)], rows)
    assert algo.interactions_.max() == 1


def test_the_row_of_a_user_folded_in_is_that_of_reading_all_ratings_again(before, tmp_path):
    algo = before("LLMTokensEASE")
    known = OLD[0][0]
    rated = [row[1] for row in OLD if row[0] == known]
    algo.fold_in(known, {rated[0]: 1.0, rated[1]: 5.0})
    algo.fold_in("new", {rated[0]: 3.0, rated[2]: 4.0}, timestamps=[1, 9], half_life=4.0)
    algo.save(tmp_path / "model")
    anew = llmtokens.load(tmp_path / "model")
    np.testing.assert_array_equal(algo.interactions_.toarray(), anew.interactions_.toarray())
    row = algo.interactions_.toarray()[algo.users_.rows(["new"])[0]]
    columns = algo.items_.rows([rated[0], rated[2]])
    low, high = algo.model_.ends
    expected = 0.05 + 0.95 * (np.array([3.0, 4.0]) - low) / (high - low)
    np.testing.assert_allclose(row[columns], expected * [0.25, 1], rtol=1e-6)
    assert np.sum(row > 0) == 2
