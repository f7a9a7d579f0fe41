"""LLMTokensContent: text alone, against slow derivations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from surprise import Dataset, Reader
from surprise.model_selection import GridSearchCV, cross_validate

import llmtokens
from llmtokens import LLMTokens
from llmtokens.algorithms.content import LLMTokensContent, forms
from llmtokens.errors import DataError

RNG = np.random.default_rng(4)
N_ITEMS = 60
VECTORS = RNG.normal(size=(N_ITEMS + 10, 4))
TOKENS = LLMTokens.from_embeddings(range(N_ITEMS + 10), VECTORS)


def ratings(n_users=40, seed=5):
    """Ratings that one common and one personal direction of the text explain, and the truth."""
    rng = np.random.default_rng(seed)
    taste = np.array([0.5, 0, 0, 0]) + rng.normal(size=(n_users, 4)) * [0, 0.6, 0, 0]
    level = 3 + rng.normal(size=n_users) * 0.3
    rows = []
    for u in range(n_users):
        for i in rng.choice(N_ITEMS, 20, replace=False):
            value = level[u] + VECTORS[i] @ taste[u] + 0.2 * rng.normal()
            rows.append((u, int(i), float(np.clip(value, 1, 5))))
    return rows, lambda u, i: np.clip(level[u] + VECTORS[i] @ taste[u], 1, 5)


def train(rows, scale=(1, 5)):
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    return Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()


def test_cold_items_are_predicted_from_their_text():
    rows, truth = ratings()
    algo = LLMTokensContent(TOKENS).fit(train(rows))
    cold = [(u, i, truth(u, i)) for u in range(40) for i in range(N_ITEMS, N_ITEMS + 10)]
    errors = [p.est - p.r_ui for p in algo.test(cold)]
    plain = [np.mean([r for v, _, r in rows if v == u]) - value for u, _, value in cold]
    assert np.std(errors) < 0.4 * np.std(plain)


@pytest.mark.parametrize("n", [3, 40])
def test_the_ridge_of_a_user_minimises_its_loss(n):
    x, e, strength = RNG.normal(size=(n, 6)), RNG.normal(size=n), 0.3
    penalty = np.diag([1 / strength] * 6 + [5.0])
    z = np.column_stack([x, np.ones(n)])
    expected = np.linalg.solve(z.T @ z + penalty, z.T @ e)
    np.testing.assert_allclose(forms.user_ridge(x, e, strength, np.ones(n)), expected, atol=1e-10)


@pytest.mark.parametrize("n", [3, 40])
def test_the_left_out_loss_equals_refitting_without_each_rating(n):
    x, e = RNG.normal(size=(n, 6)), RNG.normal(size=n)
    expected = 0.0
    for k in range(n):
        rest = np.delete(np.arange(n), k)
        solution = forms.user_ridge(x[rest], e[rest], 0.3, np.ones(n - 1))
        expected += (e[k] - np.append(x[k], 1) @ solution) ** 2
    assert forms.left_out_loss(x, e, 0.3, np.ones(n)) == pytest.approx(expected)


def test_the_prediction_adds_up_from_the_fitted_attributes():
    rows, _ = ratings()
    algo = LLMTokensContent(TOKENS).fit(train(rows))
    u, i = algo.users_.rows([7])[0], algo.items_.rows([65])[0]
    by_hand = (
        algo.item_level_[i] + algo.user_level_[u] + algo.user_taste_[u] @ algo.item_content_[i]
    )
    assert algo.predict(7, 65, clip=False).est == pytest.approx(by_hand, abs=1e-6)


def test_cosine_follows_the_angle_to_the_profile():
    rows, _ = ratings()
    algo = LLMTokensContent(TOKENS, method="cosine").fit(train(rows))
    x = algo.items_.tokens / np.linalg.norm(algo.items_.tokens, axis=1).clip(1e-9)[:, None]
    low, high = min(r for *_, r in rows), max(r for *_, r in rows)
    profile = sum(
        (0.05 + 0.95 * (r - low) / (high - low)) * x[algo.items_.rows([i])[0]]
        for u, i, r in rows
        if u == 3
    )
    cosine = x[algo.items_.rows(range(70))] @ profile / np.linalg.norm(profile)
    est = [algo.predict(3, i, clip=False).est for i in range(70)]
    assert algo.strength_ > 0
    np.testing.assert_allclose(np.diff(est), algo.strength_ * np.diff(cosine), atol=1e-5)


def test_the_line_of_cosine_is_a_regression_on_left_out_profiles():
    rows, _ = ratings(n_users=8)
    algo = LLMTokensContent(TOKENS, method="cosine").fit(train(rows))
    x = algo.items_.tokens.astype(float)
    x /= np.linalg.norm(x, axis=1).clip(1e-9)[:, None]
    low, high = min(r for *_, r in rows), max(r for *_, r in rows)
    mean = np.mean([r for *_, r in rows])
    cosines, residuals = [], []
    for u, i, r in rows:
        others = [(j, q) for v, j, q in rows if v == u and j != i]
        profile = sum(
            (0.05 + 0.95 * (q - low) / (high - low)) * x[algo.items_.rows([j])[0]]
            for j, q in others
        )
        cosines.append(x[algo.items_.rows([i])[0]] @ profile / np.linalg.norm(profile))
        residuals.append(r - (sum(q for _, q in others) + r + 5 * mean) / (len(others) + 6))
    assert algo.strength_ == pytest.approx(np.polyfit(cosines, residuals, 1)[0], rel=1e-4)


def test_user_tokens_predict_users_without_ratings():
    rng = np.random.default_rng(6)
    about = rng.normal(size=(220, 2))
    rows = [
        (u, int(i), float(np.clip(3 + about[u, 0] + 0.3 * rng.normal(), 1, 5)))
        for u in range(200)
        for i in rng.choice(N_ITEMS, 10, replace=False)
    ]
    algo = LLMTokensContent(TOKENS, user_tokens=LLMTokens.from_embeddings(range(220), about))
    algo.fit(train(rows))
    est = [algo.predict(u, 1).est for u in range(200, 220)]
    assert np.corrcoef(est, np.clip(3 + about[200:, 0], 1, 5))[0, 1] > 0.9


def test_user_tokens_tell_the_taste_of_users_without_ratings():
    """What the text of a user says of the taste, and shuffled text does not."""
    rng = np.random.default_rng(6)
    about, x = rng.normal(size=(220, 2)), TOKENS.vectors[TOKENS.align(range(N_ITEMS))]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    taste = about @ rng.normal(size=(2, 2)) * 0.5
    rows = [
        (u, int(i), float(np.clip(3 + taste[u] @ x[i, :2] + 0.3 * rng.normal(), 1, 5)))
        for u in range(200)
        for i in rng.choice(N_ITEMS, 20, replace=False)
    ]
    truth = [np.clip(3 + taste[u] @ x[i, :2], 1, 5) for u in range(200, 220) for i in range(60)]
    told = {}
    for name, vectors in {"own": about, "of others": rng.permutation(about)}.items():
        users = LLMTokens.from_embeddings(range(220), vectors)
        algo = LLMTokensContent(TOKENS, user_tokens=users).fit(train(rows))
        est = [algo.predict(u, i).est for u in range(200, 220) for i in range(60)]
        told[name] = np.corrcoef(est, truth)[0, 1]
    assert told["own"] > 0.9
    assert abs(told["of others"]) < 0.3


@pytest.mark.parametrize("method", ["ridge", "cosine"])
def test_strangers_get_what_everybody_likes(method):
    rows, _ = ratings()
    algo = LLMTokensContent(TOKENS, method=method).fit(train(rows))
    est = np.array([algo.predict("nobody", i).est for i in range(N_ITEMS)])
    assert np.isfinite(est).all()
    if method == "ridge":
        assert np.corrcoef(est, VECTORS[:N_ITEMS, 0])[0, 1] > 0.8


def test_without_a_profile_lists_are_of_what_most_rated_and_then_of_what_is_liked_in_general():
    rows, _ = ratings()
    algo = LLMTokensContent(TOKENS, method="cosine").fit(train(rows))
    sums, counts = np.zeros(N_ITEMS), np.zeros(N_ITEMS)
    mean = np.mean([r for *_, r in rows])
    for _, i, r in rows:
        sums[i] += r - mean
        counts[i] += 1
    best = np.lexsort((-sums / (counts + 10), -counts))[:5]
    assert algo.recommend("nobody", n=5)["item"].tolist() == best.tolist()


def test_tokens_that_say_nothing_leave_the_mean_of_the_user():
    rng = np.random.default_rng(7)
    rows, _ = ratings()
    noise = LLMTokens.from_embeddings(range(N_ITEMS), rng.normal(size=(N_ITEMS, 4)))
    algo = LLMTokensContent(noise).fit(
        train([(u, i, float(rng.integers(1, 6))) for u, i, _ in rows])
    )
    assert algo.strength_ == 0
    assert not algo.user_taste_.any()


@pytest.mark.parametrize("method", ["ridge", "cosine"])
@pytest.mark.parametrize(
    "rows",
    [[(1, 1, 3)], [(1, i, 3) for i in range(4)], [(u, 1, u % 5 + 1) for u in range(6)]],
    ids=["one rating", "one user, all equal", "one item"],
)
def test_tiny_data_gives_finite_predictions(method, rows):
    algo = LLMTokensContent(TOKENS, method=method).fit(train(rows))
    for pair in [(1, 1), (1, 5), (1, "new"), ("new", 1), ("new", "new")]:
        assert np.isfinite(algo.predict(*pair).est)


def test_predictions_follow_the_scale_of_the_ratings():
    rows, _ = ratings()
    wide = [(u, i, 10 * r - 20) for u, i, r in rows]
    for method in ("ridge", "cosine"):
        small = LLMTokensContent(TOKENS, method=method).fit(train(rows))
        large = LLMTokensContent(TOKENS, method=method).fit(train(wide, (-10, 30)))
        for pair in [(0, 1), (3, 65), ("new", 2)]:
            assert 10 * small.predict(*pair).est - 20 == pytest.approx(
                large.predict(*pair).est, abs=1e-3
            )


def test_ranking_scores_order_as_estimates_do():
    rows, _ = ratings()
    for method in ("ridge", "cosine"):
        algo = LLMTokensContent(TOKENS, method=method).fit(train(rows))
        scores = algo.model_.rank_scores(np.array([3]))[0]
        est, _ = algo.model_.score(np.full(len(scores), 3), np.arange(len(scores)))
        np.testing.assert_allclose(scores - scores[0], est - est[0], atol=1e-5)


def test_missing_tokens_and_unknown_methods_are_named():
    with pytest.raises(DataError, match="item_tokens=None"):
        LLMTokensContent().fit(train([(1, 1, 3)]))
    with pytest.raises(DataError, match="method='knn'"):
        LLMTokensContent(TOKENS, method="knn").fit(train([(1, 1, 3)]))


# -- when ratings were made

METHODS = pytest.mark.parametrize("method", ["ridge", "cosine"])


def changing(n_users=60, seed=8):
    """A frame of users who liked one direction of the text first, and the opposite later."""
    rng = np.random.default_rng(seed)
    taste, rows = rng.normal(size=n_users), []
    for u in range(n_users):
        for t, i in enumerate(rng.choice(N_ITEMS, 30, replace=False)):
            sign = -1 if t < 20 else 1
            value = 3 + sign * taste[u] * VECTORS[i, 1] + 0.1 * rng.normal()
            rows.append((u, int(i), float(np.clip(value, 1, 5)), 1000.0 + 10 * t))
    return pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp"])


def trainset(frame):
    return train(frame[["user", "item", "rating"]].itertuples(index=False))


@METHODS
def test_a_recent_rating_says_more_of_a_user_than_an_old_one(method):
    frame = changing()
    later = np.where(
        frame["timestamp"] < 1200, -0.5, 0.5
    )  # half the users grow kinder, half harder
    frame["rating"] += later * np.where(frame["user"] % 2, 1, -1)
    last = frame.groupby("user")["timestamp"].rank(ascending=False) <= 3
    test = list(frame[last][["user", "item", "rating"]].itertuples(index=False, name=None))
    errors = {}
    for name, times in {"plain": {}, "recent": {"timestamps": frame, "half_life": 30.0}}.items():
        algo = LLMTokensContent(TOKENS, method=method, **times).fit(trainset(frame[~last]))
        errors[name] = np.sqrt(np.mean([(p.est - p.r_ui) ** 2 for p in algo.test(test)]))
    assert errors["recent"] < 0.9 * errors["plain"]


def test_the_ridge_of_a_user_weighs_each_rating_by_its_age():
    frame = changing(n_users=5)
    algo = LLMTokensContent(TOKENS, timestamps=frame, half_life=40.0).fit(trainset(frame))
    mine = frame[frame["user"] == 2]
    rows = algo.items_.rows(mine["item"])
    weights = 0.5 ** ((mine["timestamp"].max() - mine["timestamp"].to_numpy()) / 40.0)
    z = np.column_stack([algo.item_content_[rows].astype(float), np.ones(len(rows))])
    u = algo.users_.rows([2])[0]
    residual = mine["rating"].to_numpy() - algo.item_level_[rows] - algo.user_base_[u]
    penalty = np.diag([1 / algo.strength_] * 4 + [5.0])
    expected = np.linalg.solve(z.T @ (weights[:, None] * z) + penalty, z.T @ (weights * residual))
    np.testing.assert_allclose(algo.user_taste_[u], expected[:-1], atol=1e-6)


def test_a_weighted_left_out_loss_equals_refitting_without_each_rating():
    x, e, w = RNG.normal(size=(9, 3)), RNG.normal(size=9), RNG.random(9) + 0.1
    expected = 0.0
    for k in range(9):
        rest = np.delete(np.arange(9), k)
        solution = forms.user_ridge(x[rest], e[rest], 0.3, w[rest])
        expected += w[k] * (e[k] - np.append(x[k], 1) @ solution) ** 2
    assert forms.left_out_loss(x, e, 0.3, w) == pytest.approx(expected)


@METHODS
def test_times_may_come_as_a_frame_a_dataset_a_dict_or_dates(method):
    frame = changing(n_users=8)
    train_, at = trainset(frame), frame.set_index(["user", "item"])["timestamp"].to_dict()
    dataset = Dataset.load_from_df(frame[["user", "item", "rating"]], Reader())
    dataset.raw_ratings = [(str(u), str(i), r, str(t)) for u, i, r, t in frame.itertuples(False)]
    dates = frame.assign(timestamp=pd.to_datetime(frame["timestamp"], unit="s", utc=True))
    text = dates.assign(timestamp=[time.isoformat() for time in dates["timestamp"]])
    forms = [frame.sample(frac=1, random_state=0), dataset, at, dates, text]
    est = [
        LLMTokensContent(TOKENS, method=method, timestamps=form, half_life=30)
        .fit(train_)
        .predict(3, 65)
        .est
        for form in forms
    ]
    np.testing.assert_allclose(est, est[0], rtol=1e-12)
    assert est[0] != LLMTokensContent(TOKENS, method=method).fit(train_).predict(3, 65).est


@METHODS
def test_a_user_who_is_folded_in_is_weighed_as_in_training(method):
    frame = changing(n_users=8)
    half = LLMTokensContent(TOKENS, method=method, timestamps=frame, half_life=30.0)
    half.fit(trainset(frame))
    mine = frame[frame["user"] == 3]
    pairs = list(zip(mine["item"], mine["rating"], strict=True))
    known = [half.predict(3, i).est for i in range(70)]
    half.fold_in(3, pairs, timestamps=mine["timestamp"])  # its half-life is the model's own
    np.testing.assert_allclose([half.predict(3, i).est for i in range(70)], known, atol=1e-5)
    half.fold_in(3, pairs)
    assert max(abs(half.predict(3, i).est - est) for i, est in enumerate(known)) > 1e-3


@METHODS
def test_weights_are_saved_and_times_are_not(method, tmp_path):
    frame = changing(n_users=8)
    algo = LLMTokensContent(TOKENS, method=method, timestamps=frame, half_life=30.0)
    algo.fit(trainset(frame)).save(tmp_path / "m")
    loaded = llmtokens.load(tmp_path / "m")
    for model in (algo, loaded):
        model.fold_in(3, {1: 5.0, 65: 1.0}, timestamps=[1, 2])
    assert [algo.predict(3, i) for i in range(70)] == [loaded.predict(3, i) for i in range(70)]
    why = loaded.explain(3, 5)
    assert sum(why.terms.values()) == pytest.approx(why.est, abs=1e-6)
    assert (loaded.timestamps, loaded.half_life) == (None, 30.0)
    with pytest.raises(DataError, match="set the attribute"):
        loaded.fit(trainset(frame))


@METHODS
def test_one_table_of_times_serves_all_folds_and_searches(method):
    frame = changing(n_users=12)
    data = Dataset.load_from_df(frame[["user", "item", "rating"]], Reader())
    algo = LLMTokensContent(TOKENS, method=method, timestamps=frame, half_life=30.0)
    assert np.isfinite(cross_validate(algo, data, cv=3)["test_rmse"]).all()
    grid = {"item_tokens": [TOKENS], "timestamps": [frame], "half_life": [30.0, 300.0]}
    search = GridSearchCV(LLMTokensContent, grid | {"method": [method]}, measures=["rmse"], cv=2)
    search.fit(data)
    assert search.best_params["rmse"]["half_life"] in (30.0, 300.0)


@METHODS
def test_the_influence_of_a_rating_is_what_leaving_it_out_does(method):
    frame = changing(n_users=8)
    algo = LLMTokensContent(TOKENS, method=method, timestamps=frame, half_life=30.0)
    algo.fit(trainset(frame))
    user, item = algo.users_.rows([3])[0], algo.items_.rows([65])[0]
    items, values, weights = algo.ratings_.of_user(user)
    found = algo.model_.influence(user, item)

    def estimate(keep):
        if method == "ridge":
            rated = items[keep], values[keep], weights[keep]
            z = algo.model_.user_entries(user, rated, rated)
            return z["user_level"] + algo.item_content_[item] @ z["user_taste"]
        mean = algo.ratings_.global_mean
        x = algo.item_content_[items[keep]].astype(float)
        low, high = algo.ratings_.value.min(), algo.ratings_.value.max()
        profile = (weights[keep] * (0.05 + 0.95 * (values[keep] - low) / (high - low))) @ x
        level = (weights[keep] @ values[keep] + 5 * mean) / (weights[keep].sum() + 5)
        cosine = algo.item_content_[item] @ profile / np.linalg.norm(profile)
        return level + algo.strength_ * cosine

    every = np.arange(len(items))
    for k in (0, 11, 29):
        drop = estimate(every) - estimate(np.delete(every, k))
        assert found[k] == pytest.approx(drop, abs=1e-6)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"half_life": 3.0}, "timestamps=None; timestamps and half_life go together"),
        ({"timestamps": "frame"}, "half_life=None"),
        ({"timestamps": "frame", "half_life": 0}, "half_life=0"),
        ({"timestamps": "frame", "half_life": "a day"}, "half_life='a day'"),
        ({"timestamps": "short", "half_life": 1}, r"no timestamp for 2 of 240 .* being \(7, "),
        ({"timestamps": "unknown", "half_life": 1}, "no timestamp for 1 of 240"),
        ({"timestamps": "columns", "half_life": 1}, r"without the columns \['timestamp'\]"),
        ({"timestamps": {1: 2.0}, "half_life": 1}, "timestamps of dict; expected a DataFrame"),
        ({"timestamps": [1, 2], "half_life": 1}, "timestamps of list; expected a DataFrame"),
    ],
)
def test_times_that_cannot_be_used_are_refused(times, message):
    frame = changing(n_users=8)
    tables = {
        "frame": frame,
        "short": frame.iloc[:-2],
        "unknown": frame.assign(timestamp=frame["timestamp"].where(frame.index != 4)),
        "columns": frame.drop(columns="timestamp"),
    }
    if isinstance(times.get("timestamps"), str):
        times = times | {"timestamps": tables[times["timestamps"]]}
    with pytest.raises(DataError, match=message):
        LLMTokensContent(TOKENS, **times).fit(trainset(frame))
