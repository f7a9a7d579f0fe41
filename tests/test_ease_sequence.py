"""LLMTokensEASE with timestamps: recent history, what follows what, and new items."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensContent, LLMTokensEASE
from llmtokens.algorithms.ease.cold_start import choose_cold_start
from llmtokens.algorithms.ease.sequence import History, Recency, Sequence, following
from llmtokens.algorithms.ease.solver import solve
from llmtokens.algorithms.ease.tuning import reciprocal_gains
from llmtokens.data.ratings import Ratings
from llmtokens.data.timestamps import Timestamps
from llmtokens.datasets import RatingData, news_feed, synthetic
from llmtokens.metrics import ndcg_at_k, precision_at_k, rank_all
from llmtokens.model_selection import NextItemSplit
from llmtokens.runtime.arrays import unit_rows

RNG = np.random.default_rng(0)
CYCLE = 24  # items that follow each other


def walks(n_users=120, length=9, seed=0):
    """Each user goes round the cycle from somewhere, one step a minute, now and then astray."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        item, time = int(rng.integers(CYCLE)), float(rng.integers(10**6))
        for _ in range(length):
            rows.append((user, item, 1.0, time))
            item, time = (item + 1 + int(rng.random() < 0.1)) % CYCLE, time + 60
    frame = pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp"])
    names = [pd.DataFrame({side: range(n)}) for side, n in (("item", CYCLE), ("user", n_users))]
    return RatingData(frame, *names, (0.0, 1.0), "walks")


def shuffled(ratings, seed=0):
    """The same times, each user's in another order."""
    rng = np.random.default_rng(seed)
    times = ratings.groupby("user")["timestamp"].transform(lambda t: rng.permutation(t.to_numpy()))
    return ratings.assign(timestamp=times)


WALKS = walks()
TRAIN, TEST = next(NextItemSplit().split(WALKS.dataset))


def fit(timestamps, trainset=TRAIN, **parameters):
    algo = LLMTokensEASE(l2=10.0, implicit=True, timestamps=timestamps, **parameters)
    return algo.fit(trainset)


@pytest.fixture(scope="module")
def timed():
    made = fit(WALKS.ratings)
    return lambda: copy.copy(made)


def next_ndcg(algo):
    return ndcg_at_k(rank_all(algo, TEST), k=10, relevant=0.0)


def test_what_comes_next_is_found_from_the_order(timed):
    assert timed().sequence_.share > 0
    assert next_ndcg(timed()) > 0.8
    assert next_ndcg(timed()) > 1.25 * next_ndcg(fit(None))


def test_shuffled_order_gives_what_no_order_gives_to_the_bit():
    algo, plain = fit(shuffled(WALKS.ratings)), fit(None)
    assert algo.sequence_ is None
    users = np.arange(50)
    np.testing.assert_array_equal(algo.model_.rank_scores(users), plain.model_.rank_scores(users))


def test_ratings_are_predicted_as_without_timestamps(timed):
    pairs = [(u, i, None) for u in (0, 5, "new") for i in (0, 7, "none")]
    ours, plain = timed().test(pairs), fit(None).test(pairs)
    assert [p.est for p in ours] == [p.est for p in plain]
    why = timed().explain(0, 7)
    assert sum(why.terms.values()) == pytest.approx(why.est)


def test_too_few_users_say_nothing_of_the_order():
    data = walks(n_users=10)
    assert fit(data.ratings, data.dataset.build_full_trainset()).sequence_ is None


def history(rows):
    """Of (user, item, time) rows, in the order of a trainset."""
    frame = pd.DataFrame(rows, columns=["user", "item", "time"]).sort_values("user", kind="stable")
    users = np.bincount(frame["user"])
    ratings = Ratings(
        user=frame["user"].to_numpy(np.int32), item=frame["item"].to_numpy(np.int32),
        value=np.ones(len(frame)), user_ptr=np.append(0, np.cumsum(users)), scale=(0, 1),
        user_ids=list(range(len(users))), item_ids=list(range(frame["item"].max() + 1)),
    )  # fmt: skip
    return History.of(ratings, frame["time"].to_numpy(float))


def test_a_rating_without_a_time_is_the_newest_and_one_moment_keeps_its_order():
    made = history(
        [(0, 3, np.nan), (0, 1, 5), (0, 2, 1), (0, 0, 5), (1, 2, np.nan), (1, 1, np.nan)]
    )
    assert made.item.tolist() == [2, 1, 0, 3, 2, 1]
    assert made.back.tolist() == [3, 2, 1, 0, 1, 0]
    assert made.is_last.tolist() == [False, False, False, True, False, True]
    assert made.age.tolist() == [4, 0, 0, 0, 0, 0]


def random_history(n_users=6, n_items=8, length=12):
    rows = [(u, int(RNG.integers(n_items)), float(RNG.integers(40)))
            for u in range(n_users) for _ in range(length)]  # fmt: skip
    return history([*rows, (0, n_items - 1, 0.0)])


def test_recent_weights_and_followers_are_those_counted_one_by_one():
    made, form = random_history(), Recency(0.5, 0.05)
    n = made.n_items
    recent, followers = np.zeros((made.n_users, n)), np.zeros((n, n))
    for user in range(made.n_users):
        mine = np.flatnonzero(made.user == user)
        for k, first in enumerate(mine):
            age = made.time[mine[-1]] - made.time[first]
            recent[user, made.item[first]] = (len(mine) - k) ** -0.5 * np.exp(-0.05 * age)
            for gap, then in enumerate(mine[k + 1 :], start=1):
                since = made.time[then] - made.time[first]
                followers[made.item[first], made.item[then]] += gap**-0.5 * np.exp(-0.05 * since)
    np.testing.assert_allclose(made.recent(form).toarray(), recent, rtol=1e-5)
    np.testing.assert_allclose(made.followers(form).toarray(), followers, rtol=1e-5)


def test_the_order_of_rows_within_a_moment_says_nothing():
    days = WALKS.ratings.assign(timestamp=1 + WALKS.ratings["timestamp"] // 10**7)
    assert fit(days).sequence_ is None


@pytest.mark.parametrize("n_users", [3, 30])
def test_what_follows_is_the_history_times_the_inverse_times_the_counts(n_users):
    rows = sparse.csr_array((RNG.random((n_users, 12)) < 0.4).astype(np.float32))
    text = RNG.normal(size=(12, 2)).astype(np.float32)
    items = solve(rows, text, 2.0, 0.7, max_dense=100)
    counts = sparse.csr_array(RNG.random((12, 12)) * (RNG.random((12, 12)) < 0.3))
    own = sparse.csr_array(RNG.random((4, 12)).astype(np.float32))
    x, t = rows.toarray().astype(float), text.astype(float)
    inverse = np.linalg.inv(x.T @ x + 2.0 * t @ t.T + 0.7 * np.eye(12))
    expected = own.toarray() @ inverse @ counts.toarray()
    np.testing.assert_allclose(following(items, own, counts), expected, atol=1e-4)
    half = Sequence(0, 0, 0, 0, share=0.5)
    np.testing.assert_allclose(half.following(items, own, counts), expected / 2, atol=1e-4)


def test_the_gain_of_an_item_counts_what_is_above_it_and_half_of_what_is_equal():
    rows = sparse.csr_array(np.array([[1.0, 0, 0, 0, 0]]))
    scores = np.array([[9.0, 2.0, 5.0, 2.0, 1.0]])
    assert reciprocal_gains(scores, rows, np.array([1]))[0] == 1 / np.log2(2 + 1.5)


def test_lists_are_made_of_taste_and_of_what_follows(timed):
    model = timed().model_
    made = History.of(model.ratings, Timestamps.of(WALKS.ratings).of_all_ratings(model.ratings))
    sequence = model.sequence
    x = model.interactions.toarray() * made.recent(sequence.taste).toarray()
    expected = model.weights.scores(sparse.csr_array(x))
    expected += sequence.following(
        model.weights, made.recent(sequence.next), made.followers(sequence.next)
    )
    found = model.rank_scores(np.arange(model.users.n_warm))[:, :CYCLE]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_last_ratings_folded_in_change_what_comes_next(timed):
    algo = timed()
    items = algo.items_.ids[:CYCLE]
    for last in (5, 15):
        path = [(last - 3) % CYCLE, last - 2, last - 1, last]
        algo.fold_in(("walker", last), dict.fromkeys(path, 1.0), timestamps=[0, 60, 120, 180])
        assert algo.recommend(("walker", last), n=1)["item"].item() == last + 1
    algo.fold_in(("walker", 5), {18: 1.0, 19: 1.0, 20: 1.0})  # just now
    assert algo.recommend(("walker", 5), n=1)["item"].item() == 21
    assert sorted(items) == list(range(CYCLE))


def test_partial_fit_learns_what_follows_a_new_item(timed):
    algo = timed()
    rows = [(f"w{k}", item, 1.0, 60.0 * t) for k in range(30)
            for t, item in enumerate([2, 3, "new", 4])]  # fmt: skip
    algo.partial_fit(pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp"]))
    algo.fold_in("next", {2: 1.0, 3: 1.0}, timestamps=[0, 60])
    assert "new" in algo.recommend("next", n=2)["item"].tolist()


def test_a_loaded_model_lists_what_the_saved_one_does(timed, tmp_path):
    algo = timed().fold_in("walker", {3: 1.0, 4: 1.0}, timestamps=[0, 60])
    algo.save(tmp_path / "model")
    again = llmtokens.load(tmp_path / "model")
    pd.testing.assert_frame_equal(algo.recommend_all(5), again.recommend_all(5), check_exact=True)
    assert again.sequence_ == algo.sequence_
    assert again.cold_start_ == algo.cold_start_


# -- new items ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def feed():
    """A feed up to one morning: that day's articles, and the clicks on them."""
    data = news_feed(n_users=150, n_days=16)
    today = int(data.items["published"].max())
    raw = data.dataset.raw_ratings
    trainset = data.dataset.construct_trainset([row for row in raw if row[3] < today])
    new = set(data.items.loc[data.items["published"] == today, "item"])
    tokens = LLMTokens.from_frame(
        data.items, "{description}", categorical=["genres"], encoder=HashingEncoder()
    )
    testset = [row[:3] for row in raw if row[3] >= today and row[1] in new]
    algos = {
        name: LLMTokensEASE(tokens, l2=100.0, implicit=True, timestamps=times).fit(trainset)
        for name, times in (("plain", None), ("timed", data.ratings))
    }
    algos["content"] = LLMTokensContent(
        tokens, method="cosine", timestamps=data.ratings, half_life=5 * 86_400
    ).fit(trainset)
    return algos, testset, set(data.items["item"]), new


def test_where_the_catalogue_turns_over_new_items_are_not_held_back(feed):
    algos, testset, items, _ = feed
    found = {
        name: precision_at_k(rank_all(algo, testset, items=items), k=4, relevant=0.0)
        for name, algo in algos.items()
    }
    assert found["timed"] > 5 * found["plain"]


def test_new_items_among_themselves_are_ordered_as_content_has_them(feed):
    algos, testset, _, new = feed
    found = {
        name: precision_at_k(rank_all(algo, testset, items=new), k=4, relevant=0.0)
        for name, algo in algos.items()
    }
    assert found["timed"] > found["plain"]
    assert found["timed"] > found["content"] - 0.01
    model = algos["timed"].model_
    assert model.cold_start.from_history
    cold = np.arange(model.items.n_warm, model.items.unknown)
    for user in (0, 1, 2):
        history = model._history.recent(model.cold_start.recency)[[user]].toarray()[0]
        of = unit_rows(model.items.tokens.astype(np.float64))
        cosines = of[cold] @ of[: model.items.n_warm].T @ history
        scores = model.rank_scores(np.array([user]))[0, cold]
        np.testing.assert_allclose(scores, model.cold_start.share * cosines, rtol=1e-4, atol=1e-6)


def test_where_few_items_are_new_their_share_stays():
    data = synthetic(n_users=40, n_items=30, n_ratings=600)
    tokens = LLMTokens.from_frame(data.items, "{description}", encoder=HashingEncoder())
    trainset = data.dataset.build_full_trainset()
    timed, plain = (fit(x, trainset, item_tokens=tokens) for x in (data.ratings, None))
    assert timed.cold_start_ == plain.cold_start_


def test_new_items_at_random_times_need_no_other_share(feed):
    model = feed[0]["timed"].model_
    times = Timestamps.of(WALKS.ratings)
    assert np.isnan(times.of_ratings(model.ratings)).any()
    rows = np.arange(model.ratings.n)
    made = History.of(model.ratings, np.zeros(len(rows)))
    texts = unit_rows(model.items.tokens[: model.ratings.n_items])
    found = choose_cold_start(
        made, model.interactions, texts, model.text_kernel, None, 0.0, 10.0, 1000
    )
    assert found is None
