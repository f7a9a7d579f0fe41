"""LLMTokensEASE: its algebra against slow derivations, and what it promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from surprise import Dataset, Reader
from surprise.model_selection import KFold, train_test_split

from llmtokens import HashingEncoder, LLMTokens
from llmtokens.algorithms.ease import LLMTokensEASE, solver, text_kernel
from llmtokens.algorithms.ease.cold_start import USUAL, ColdStart
from llmtokens.algorithms.ease.interactions import used_features
from llmtokens.algorithms.ease.levels import Levels, residuals
from llmtokens.algorithms.ease.solver import DenseItems, FactoredItems, solve
from llmtokens.algorithms.ease.text_kernel import Landmarks, TextFeatures, TextKernel
from llmtokens.algorithms.ease.tuning import choose, left_out_scores, ranking_gains
from llmtokens.algorithms.rating_scale import soft_clip
from llmtokens.controls import Popularity
from llmtokens.data.entities import EntityIndex
from llmtokens.datasets import load_movielens, load_ratings
from llmtokens.errors import DataError
from llmtokens.metrics import ndcg_at_k, rank_all
from llmtokens.model_selection import ColdUserKFold

RNG = np.random.default_rng(0)


def random_rows(n_users=30, n_items=12, density=0.4):
    x = RNG.random((n_users, n_items)) * (RNG.random((n_users, n_items)) < density)
    return sparse.csr_array(x.astype(np.float32))


def weights_of(items, n_items):
    """B, read off by scoring unit rows."""
    return items.scores(sparse.csr_array(np.eye(n_items, dtype=np.float32)))


def constrained_regression(x, t, a, l2):
    """Each column on its own: a ridge on all other items, by np.linalg.solve."""
    stacked = np.vstack([x, np.sqrt(a) * t.T])
    n = x.shape[1]
    b = np.zeros((n, n))
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        z = stacked[:, rest]
        b[rest, i] = np.linalg.solve(z.T @ z + l2 * np.eye(n - 1), z.T @ stacked[:, i])
    return b


def fit(rows, scale=(1, 5), **parameters):
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    trainset = Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()
    return LLMTokensEASE(**parameters).fit(trainset)


def two_worlds(n_users=40, seed=1):
    """Users of two tastes, items of two kinds whose tokens tell the kind; one cold item of each."""
    rng = np.random.default_rng(seed)
    rows = []
    for u in range(n_users):
        for i in rng.choice(10, 6, replace=False):
            liked = (i < 5) == (u % 2 == 0)
            if liked or rng.random() < 0.2:
                rows.append((u, int(i), 5 if liked else 2))
    vectors = np.vstack([np.eye(2)[[0] * 5 + [1] * 5], np.eye(2)])
    tokens = LLMTokens.from_embeddings(range(12), vectors + 0.01 * rng.normal(size=(12, 2)))
    return rows, tokens


@pytest.mark.parametrize("n_users", [3, 30])
def test_the_weights_solve_the_constrained_regression(n_users):
    rows = random_rows(n_users)
    t = RNG.normal(size=(12, 2)).astype(np.float32)
    items = solve(rows, t, 3.0, 0.7, max_dense=100)
    assert isinstance(items, FactoredItems if n_users == 3 else DenseItems)
    expected = constrained_regression(rows.toarray().astype(float), t.astype(float), 3.0, 0.7)
    np.testing.assert_allclose(weights_of(items, 12), expected, atol=2e-5)


@pytest.mark.parametrize("n_users", [3, 30])
def test_the_precision_is_the_diagonal_of_the_inverse(n_users):
    rows = random_rows(n_users)
    items = solve(rows, np.zeros((12, 0), np.float32), 0.0, 0.5, max_dense=100)
    x = rows.toarray().astype(float)
    inverse = np.linalg.inv(x.T @ x + 0.5 * np.eye(12))
    np.testing.assert_allclose(items.precision, np.diag(inverse), rtol=1e-4)


def test_without_features_no_number_is_one_that_nobody_wrote():
    rng = np.random.default_rng(0)
    rows = sparse.random_array((20, 80), density=0.1, rng=rng, format="csr")
    none = np.lib.stride_tricks.as_strided(np.full(1, np.nan, np.float32), (80, 0), (0, 0))
    items = solve(sparse.csr_array(rows, dtype=np.float32), none, 0.0, 100.0, 10_000)
    assert np.isfinite(items.own_weight).all()


def test_the_low_rank_form_is_exact_where_the_rank_suffices(monkeypatch):
    monkeypatch.setattr(solver, "_EXACT", 0)
    rows, t = random_rows(40, 30), RNG.normal(size=(30, 2)).astype(np.float32)
    low = solve(rows, t, 1.0, 0.5, max_dense=1)
    assert isinstance(low, FactoredItems)
    exact = solve(rows, t, 1.0, 0.5, max_dense=100)
    np.testing.assert_allclose(weights_of(low, 30), weights_of(exact, 30), atol=1e-4)


def test_the_low_rank_form_keeps_the_diagonal_of_the_rest(monkeypatch):
    monkeypatch.setattr(solver, "_EXACT", 0)
    monkeypatch.setattr(solver, "_RANK", 10)
    signal = 20 * RNG.normal(size=(60, 10)) @ RNG.normal(size=(10, 30))
    rows = sparse.csr_array((signal + RNG.normal(size=(60, 30))).astype(np.float32))
    low = solve(rows, np.zeros((30, 0), np.float32), 0.0, 0.5, max_dense=1)
    x = rows.toarray().astype(float)
    values, vectors = np.linalg.eigh(x.T @ x)
    kept = (vectors[:, -10:] * values[-10:]) @ vectors[:, -10:].T
    np.fill_diagonal(kept, np.diag(x.T @ x) + 0.5)
    inverse = np.linalg.inv(kept)
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(weights_of(low, 30), expected, atol=5e-3)


@pytest.mark.parametrize("n_users", [4, 30])
def test_leave_one_out_equals_refitting_without_the_user(n_users):
    rows = random_rows(n_users)
    t = RNG.normal(size=(12, 1)).astype(np.float32)
    found = left_out_scores(solve(rows, t, 2.0, 0.8, max_dense=100), rows)
    x = rows.toarray().astype(float)
    for u in range(n_users):
        b = constrained_regression(np.delete(x, u, axis=0), t.astype(float), 2.0, 0.8)
        np.testing.assert_allclose(found[u], x[u] @ b, atol=1e-4)


def test_ranking_gains_count_rated_items_among_unrated_ones():
    rows = sparse.csr_array(np.array([[1.0, 0.5, 0, 0], [0, 0, 0, 1.0]], np.float32))
    scores = np.array([[0.9, 0.1, 0.5, 0.4], [0.3, 0.2, 0.1, 0.25]], np.float32)
    first = 1.0 * 1 + 0.5 / np.log2(1 + 3)
    np.testing.assert_allclose(ranking_gains(scores, rows), [first, 1 / np.log2(1 + 2)])


def test_text_that_says_nothing_is_given_no_weight():
    rng = np.random.default_rng(2)
    kinds = rng.random((200, 4)) @ (rng.random((4, 60)) ** 4)
    rows = sparse.csr_array((rng.random((200, 60)) < kinds / kinds.max() * 0.6).astype(np.float32))
    noise = rng.normal(size=(60, 20)).astype(np.float32)
    assert choose(rows, noise, None, None, 1000)[1] == 0


def test_text_that_explains_the_choices_is_given_weight():
    rng = np.random.default_rng(3)
    kind = np.arange(200) % 10
    taste = rng.integers(10, size=300)
    chance = np.where(taste[:, None] == kind, 0.2, 0.01)
    rows = sparse.csr_array((rng.random((300, 200)) < chance).astype(np.float32))
    assert choose(rows, np.eye(10, dtype=np.float32)[kind], None, None, 1000)[1] > 0


def test_given_parameters_are_kept():
    rows, tokens = two_worlds()
    algo = fit(rows, item_tokens=tokens, l2=7.0, token_weight=2.0)
    assert (algo.l2_, algo.token_weight_) == (7.0, 2.0)


def test_kernel_features_give_the_kernel_of_scaled_tokens():
    vectors = RNG.normal(size=(9, 3)).astype(np.float32)
    items = EntityIndex("item", list(range(8)), 6, vectors, np.arange(9) < 8)
    kernel = TextKernel.learn(items, np.array([3, 1, 4, 1, 5, 9]))
    features = kernel.features.whole
    scaled = vectors / np.sqrt(np.mean(np.sum(vectors[:6] ** 2, axis=1)))
    kernel = np.exp(-np.sum((scaled[:6, None] - scaled[None, :6]) ** 2, axis=2))
    np.testing.assert_allclose(features[:6] @ features[:6].T, kernel, atol=3e-3)
    assert not features[8].any()


def test_features_are_the_same_to_the_bit_whoever_else_is_asked_for():
    tokens = RNG.normal(size=(1200, 40)).astype(np.float32)
    items = EntityIndex("item", list(range(1199)), 900, tokens, np.arange(1200) < 1199)
    landmarks = TextKernel.learn(items, RNG.integers(1, 9, 900)).landmarks
    together = landmarks.features(tokens)
    some = RNG.permutation(1200)[:700]
    np.testing.assert_array_equal(landmarks.features(tokens[some]), together[some])
    for row in (0, 511, 512, 1199):
        np.testing.assert_array_equal(landmarks.features(tokens[[row]])[0], together[row])


def some_features(n=700):
    """Of items, some of them without a token, and nothing made yet."""
    tokens = RNG.normal(size=(n, 40)).astype(np.float32)
    items = EntityIndex("item", list(range(n - 1)), n - 100, tokens, np.arange(n) % 7 > 0)
    counts = RNG.integers(1, 9, n - 100)
    return TextFeatures.unmade(Landmarks.of(items, counts), tokens, items.has_token)


def test_the_first_features_are_to_the_bit_those_on_fewer_landmarks(monkeypatch):
    monkeypatch.setattr(text_kernel, "_LEADING", 90)
    features = some_features()
    assert features.shape[1] > 90
    unmade, whole = features.leading(600), features.whole
    np.testing.assert_array_equal(unmade.whole, whole[:600, :90])
    made = features.leading(600)
    assert made.known.all()
    np.testing.assert_array_equal(made.made, whole[:600, :90])


def test_products_with_features_need_no_others_than_are_asked_for():
    features = some_features()
    rows = sparse.csr_array(([2.0, 1.0, 3.0], [1, 13, 5], [0, 2, 3]), shape=(2, 700))
    rows = rows.astype(np.float32)
    vector = rows.toarray()[0]
    columns = RNG.normal(size=(features.shape[1], 3)).astype(np.float32)
    found = rows @ features, vector @ features, features @ columns
    np.testing.assert_array_equal(
        np.flatnonzero(features.known & features.has_token), np.array([1, 5, 13])
    )
    whole = features.whole.astype(float)
    for product, expected in zip(
        found, (rows @ whole, vector @ whole, whole @ columns), strict=True
    ):
        np.testing.assert_allclose(product, expected, atol=2e-4)


def test_the_text_kernel_is_ridge_regression_on_its_features():
    vectors = RNG.normal(size=(9, 3)).astype(np.float32)
    items = EntityIndex("item", list(range(8)), 6, vectors, np.arange(9) < 8)
    kernel = TextKernel.learn(items, np.ones(6, int))
    y, phi = RNG.normal(size=6), kernel.features.whole.astype(float)
    w = np.linalg.solve(phi[:6].T @ phi[:6] + 0.3 * np.eye(6), phi[:6].T @ (y - y.mean()))
    found = kernel.smooth(y[None].astype(np.float32), slice(None))[0]
    np.testing.assert_allclose(found, y.mean() + phi @ w, atol=1e-4)


def test_cold_item_is_ranked_from_its_text():
    rows, tokens = two_worlds()
    algo = fit(rows, item_tokens=tokens)
    assert algo.predict(0, 10).est > algo.predict(0, 11).est
    assert algo.predict(1, 11).est > algo.predict(1, 10).est
    assert algo.predict(0, 10).details["cold_item"]


def test_a_catalogue_that_is_mostly_unrated_does_not_crowd_lists(ml_small_folder):
    full = load_movielens(ml_small_folder)
    some = full.ratings["user"].unique()[:25]
    ratings = full.ratings[full.ratings["user"].isin(some)]
    rated = full.items["item"].isin(ratings["item"])
    data = load_ratings(ratings, full.items[rated | (full.items.index % 2 == 0)])
    tokens = LLMTokens.from_frame(
        data.items, "{title}", encoder=HashingEncoder(256), n_components=16
    )
    trainset, testset = train_test_split(data.dataset, test_size=0.2, random_state=0)
    algo = LLMTokensEASE(tokens).fit(trainset)
    model = algo.model_
    assert model.items.n_rows > 2 * model.items.n_warm

    def gain(share):
        algo.model_ = replace(model, cold_start=ColdStart(share=share))
        return ndcg_at_k(rank_all(algo, testset, items=tokens.ids), k=10)

    usual, found, none = map(gain, (USUAL.share, model.cold_start.share, 1e-9))
    assert found > 1.2 * usual
    assert found > 0.99 * none


def test_where_users_have_rated_little_lists_fall_back_on_what_is_popular(ml_small_folder):
    full = load_movielens(ml_small_folder)
    few = full.ratings.sample(frac=1, random_state=0).groupby("user").head(5)
    data = load_ratings(few, full.items)
    trainset, testset = train_test_split(data.dataset, test_size=0.2, random_state=0)
    algo = LLMTokensEASE().fit(trainset)

    def gain(algo):
        return ndcg_at_k(rank_all(algo, testset), k=10)

    found, popular = gain(algo), gain(Popularity().fit(trainset))
    algo.model_ = replace(algo.model_, popularity_weight=0.0)
    assert found > 1.3 * gain(algo)
    assert found > 0.9 * popular
    some = full.ratings["user"].unique()[:60]
    much = load_ratings(full.ratings[full.ratings["user"].isin(some)])
    assert LLMTokensEASE().fit(much.dataset.build_full_trainset()).popularity_weight_ == 0


def test_unknown_users_get_the_most_popular_first():
    rows, tokens = two_worlds()
    algo = fit(rows, item_tokens=tokens)
    scores = algo.model_.rank_scores(np.array([algo.users_.unknown]))[0]
    sums = np.zeros(10)
    for _, i, r in rows:
        sums[algo.items_.rows([i])[0]] += 0.05 + 0.95 * (r - 2) / 3
    np.testing.assert_allclose(scores[:10], sums / 40, rtol=1e-5)


def by_weights_without(algo, user):
    """The user's scores of warm items, solved without the user's row."""
    rows = np.delete(np.arange(algo.learned_.shape[0]), user)
    features = used_features(algo.text_kernel_, algo.items_.n_warm)
    weights = solve(algo.learned_[rows], features, algo.token_weight_, algo.l2_, algo.max_dense)
    return weights.scores(algo.interactions_[[user]])[0]


@pytest.mark.parametrize("later", [(), [(3, 7, 5), (40, 2, 5), (40, 8, 2)]])
def test_ratings_are_told_from_scores_by_weights_that_never_saw_the_user(later):
    rows, tokens = two_worlds()
    algo = fit(rows, item_tokens=tokens)
    if later:  # weights have seen less of the user than ratings are told from, or nothing
        algo.partial_fit([row for row in later if row[:2] not in {row[:2] for row in rows}])
    slope, offset = algo.lines_[0]
    for uid in {row[0] for row in later} or {0, 3}:
        (user,) = algo.users_.rows([uid])
        seen = user < algo.learned_.shape[0]
        scores = by_weights_without(algo, user if seen else algo.learned_.shape[0])
        expected = algo.user_mean_[user] + algo.item_level_[:10] + slope * scores + offset
        est = [p.est for p in algo.test([(uid, iid, None) for iid in algo.items_.ids[:10]])]
        np.testing.assert_allclose(est, soft_clip(expected, 1, 5), atol=1e-4)


def test_an_items_level_goes_from_what_its_text_says_to_what_its_raters_say():
    rng = np.random.default_rng(0)
    counts = np.repeat([1, 3, 12, 40], 30)
    kinds = rng.normal(size=(len(counts), 2))
    level = kinds[:, 0] + 0.5 * rng.normal(size=len(counts))
    rows = [
        (int(u), i, float(np.clip(3 + 0.7 * level[i] + 0.7 * rng.normal(), 1, 5)))
        for i, n in enumerate(counts)
        for u in rng.choice(60, n, replace=False)
    ]
    tokens = LLMTokens.from_embeddings(range(len(counts)), kinds)
    algo = fit(rows, item_tokens=tokens)
    levels = Levels.learn(algo.ratings_, algo.user_mean_, algo.items_)
    text, own = levels.by_text[: len(counts)], levels.total / levels.counts
    share = (algo.item_level_[: len(counts)] - text) / (own - text)
    assert np.corrcoef(text, kinds[algo.items_.ids[: len(counts)], 0])[0, 1] > 0.8
    order = np.argsort(levels.counts, kind="stable")
    assert np.all(np.diff(share[order]) >= -1e-6)
    assert 0 < share[order][0] < 0.5 < share[order][-1] < 1


def test_a_rating_is_left_out_of_the_level_that_foretells_it():
    rows, tokens = two_worlds()
    algo = fit(rows, item_tokens=tokens)
    ratings = algo.ratings_
    levels = Levels.learn(ratings, algo.user_mean_, algo.items_)
    found = levels.without(ratings.item, *residuals(ratings, algo.user_mean_))
    residual = ratings.value - algo.user_mean_[ratings.user]
    for k in (0, 17, ratings.n - 1):
        item = ratings.item[k]
        others = (ratings.item == item) & (np.arange(ratings.n) != k)
        expected = residual[others].sum() + levels.strength * levels.by_text[item]
        assert found[k] == pytest.approx(expected / (others.sum() + levels.strength))


def test_where_no_item_is_rated_twice_ratings_say_no_more_than_they_can():
    rows = [(u, 5 * u + k, 1 + (7 * u + 3 * k) % 5) for u in range(12) for k in range(5)]
    algo = fit(rows)
    assert np.abs(algo.item_level_).max() < 0.01  # nothing shows that one rating tells the next


def test_what_few_have_rated_is_not_foretold_worse_than_what_nobody_has(ml_small_folder):
    data = load_movielens(str(ml_small_folder))
    frame = data.ratings[data.ratings["user"] % 3 == 0]
    some = load_ratings(frame, items=data.items)
    tokens = LLMTokens.from_frame(
        data.items[data.items["item"].isin(frame["item"])],
        "{title}. Genres: {genres}",
        encoder=HashingEncoder(),
        n_components=32,
    )
    errors = {"none": [], "one": [], "many": [], "popular": []}
    trainset, testset = next(KFold(2, random_state=0).split(some.dataset))
    algo = LLMTokensEASE(tokens, l2=100.0, token_weight=30.0).fit(trainset)
    counts = np.pad(algo.ratings_.item_counts, (0, len(data.items)))
    found = algo.test(testset)
    for n, p in zip(counts[algo.items_.rows([p.iid for p in found])], found, strict=True):
        kind = "none" if n == 0 else "one" if n == 1 else "many" if n < 20 else "popular"
        errors[kind].append(p.est - p.r_ui)
    rmse = {kind: np.sqrt(np.mean(np.square(some))) for kind, some in errors.items()}
    assert rmse["one"] < rmse["none"]
    assert rmse["many"] < rmse["one"]
    assert abs(np.mean(errors["popular"])) < 0.1
    assert abs(np.mean(errors["many"])) < 0.1


def test_unknown_users_are_not_promised_more_of_what_is_popular_than_they_give(ml_small_folder):
    data = load_ratings(load_movielens(str(ml_small_folder)).ratings.query("user % 3 == 0"))
    errors = {"rare": [], "popular": []}
    for trainset, testset in ColdUserKFold(4, random_state=0).split(data.dataset):
        algo = LLMTokensEASE().fit(trainset)
        found = algo.test(testset)
        counts = np.append(algo.ratings_.item_counts, 0)[algo.items_.rows([p.iid for p in found])]
        for n, p in zip(counts, found, strict=True):
            if 0 < n < 5 or n >= 40:
                errors["rare" if n < 5 else "popular"].append(p.est - p.r_ui)
    assert all(abs(np.mean(some)) < 0.1 for some in errors.values())


def test_predictions_follow_the_scale_of_the_ratings():
    rows, tokens = two_worlds()
    small = fit(rows, item_tokens=tokens)
    wide = fit([(u, i, 20 * r - 50) for u, i, r in rows], scale=(-30, 50), item_tokens=tokens)
    pairs = [(u, i, None) for u in range(3) for i in range(12)]
    a, b = (np.array([p.est for p in algo.test(pairs)]) for algo in (small, wide))
    np.testing.assert_allclose(20 * a - 50, b, atol=1e-3)


def test_implicit_ratings_all_count_as_one():
    rows, tokens = two_worlds()
    mixed = fit(rows, item_tokens=tokens, implicit=True)
    ones = fit([(u, i, 1) for u, i, _ in rows], item_tokens=tokens, implicit=True)
    users = np.arange(5)
    np.testing.assert_array_equal(mixed.model_.rank_scores(users), ones.model_.rank_scores(users))
    assert set(mixed.interactions_.data) == {1.0}


def test_repeated_ratings_of_one_item_are_averaged():
    algo = fit([(1, 1, 1), (1, 1, 5), (2, 2, 5)], l2=1.0)
    assert algo.interactions_.toarray()[0, 0] == pytest.approx(0.525)


@pytest.mark.parametrize(
    "rows",
    [[(1, 1, 3)], [(1, i, 3) for i in range(4)], [(u, 1, u % 5 + 1) for u in range(6)]],
    ids=["one rating", "one user, all equal", "one item"],
)
@pytest.mark.parametrize("implicit", [False, True])
def test_tiny_data_gives_finite_predictions(rows, implicit):
    algo = fit(rows, implicit=implicit)
    for pair in [(1, 1), (1, "new"), ("new", 1), ("new", "new")]:
        assert np.isfinite(algo.predict(*pair).est)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"l2": 0.0}, "l2=0.0"), ({"token_weight": -1.0}, "token_weight=-1.0"),
     ({"max_dense": 0}, "max_dense=0"), ({"l2": float("nan")}, "l2=nan")],
)  # fmt: skip
def test_parameters_out_of_range_are_named(parameters, said):
    with pytest.raises(DataError, match=said):
        fit([(1, 1, 3), (2, 1, 4)], **parameters)


def test_blocks_of_users_do_not_change_the_estimates(monkeypatch):
    rows, tokens = two_worlds()
    algo = fit(rows, item_tokens=tokens)
    pairs = [(u, i, None) for u in [7, 3, "new", 3, 12, 39] for i in (0, 11, 5)]
    whole = [p.est for p in algo.test(pairs)]
    monkeypatch.setattr("llmtokens.algorithms.ease.fitted.USERS", 2)
    np.testing.assert_allclose([p.est for p in algo.test(pairs)], whole, atol=1e-6)


@pytest.mark.parametrize("max_dense", [1, 10_000])
def test_what_a_choice_adds_is_a_column_of_the_weights(max_dense):
    rng = np.random.default_rng(0)
    rows = sparse.csr_array((rng.random((3, 40)) < 0.2).astype(np.float32))
    weights = solve(rows, np.zeros((40, 0), np.float32), 0.0, 1.0, max_dense)
    every = weights.scores(sparse.eye_array(40, dtype=np.float32, format="csr"))
    counts = rng.normal(size=40).astype(np.float32)
    np.testing.assert_allclose(weights.per_choice(counts), every @ counts, atol=1e-5)
