"""Events of many kinds as ratings, and the generated feed and shop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llmtokens import HashingEncoder, LLMTokens, LLMTokensEASE
from llmtokens.datasets import load_events, news_feed, shop_events
from llmtokens.errors import DataError

WEIGHTS = {"view": 1, "cart": 3, "buy": 5}


def frame(rows):
    return pd.DataFrame(rows, columns=["user", "item", "event", "timestamp"])


def test_repeats_of_a_pair_add_up_and_the_last_time_counts():
    data = load_events(
        frame([(1, 7, "view", 1), (1, 7, "view", 4), (1, 7, "buy", 9), (1, 8, "cart", 2)]),
        weights=WEIGHTS,
    )
    assert data.ratings.values.tolist() == [[1, 7, 7.0, 9.0], [1, 8, 3.0, 2.0]]
    assert data.rating_scale == (0.0, 7.0)
    assert data.dropped.empty


def test_what_is_left_out_is_reported_with_its_reason():
    rows = [
        (1, 7, "view", 1), (1, 7, "view", 1), (None, 7, "view", 1), (1, None, "view", 1),
        (1, 7, None, 1), (1, 7, "view", None), (1, 7, "search", 1), (2, 7, "buy", 2),
    ]  # fmt: skip
    data = load_events(frame(rows), weights=WEIGHTS)
    assert data.dropped.set_index("reason")["events"].to_dict() == {
        "no user": 1, "no item": 1, "no kind of event": 1, "no time": 1,
        "event without a weight": 1, "logged twice": 1,
    }  # fmt: skip
    assert len(data.events) + data.dropped["events"].sum() == len(rows)


def test_an_event_half_a_life_older_than_the_newest_counts_half():
    data = load_events(
        frame([(1, 7, "view", 0), (1, 8, "view", 10)]), weights=WEIGHTS, half_life=10
    )
    assert data.ratings["rating"].tolist() == [0.5, 1.0]


def test_dates_and_columns_of_other_names_are_read():
    table = frame([(1, 7, "view", "2024-01-01"), (1, 7, "view", "2024-01-02")])
    table.columns = ["who", "sku", "what", "when"]
    data = load_events(
        table, weights=WEIGHTS, user="who", item="sku", event="what", timestamp="when"
    )
    assert data.ratings["rating"].tolist() == [2.0]
    assert data.events["timestamp"].diff()[1] == 86_400


def test_pairs_of_a_kind_are_at_hand():
    data = load_events(frame([(1, 7, "view", 1), (1, 8, "buy", 2)]), weights=WEIGHTS)
    assert data.pairs("buy") == [(1, 8)]
    with pytest.raises(DataError, match="found event='sell'"):
        data.pairs("sell")


def planted(telling: str, idle: str, seed: int = 0):
    """A user's next item is of the kind that ``telling`` events were about."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(300):
        world, time = user % 2, 0
        for _ in range(12):
            about = world if rng.random() < 0.1 else 1 - world
            rows.append((user, int(rng.integers(10)) + 10 * about, idle, time := time + 1))
        for _ in range(3):
            rows.append((user, int(rng.integers(10)) + 10 * world, telling, time := time + 1))
        rows.append((user, int(rng.integers(10)) + 10 * world, idle, time + 1))
    return frame(rows)


def test_learned_weights_follow_what_tells_the_next_item():
    learned = load_events(planted("buy", "view")).weights
    assert learned["view"] == 1
    assert learned["buy"] > 1


def test_weights_of_events_that_tell_nothing_more_stay_as_they_are():
    rng = np.random.default_rng(0)
    rows = [(u, int(rng.integers(20)), "view", t) for u in range(50) for t in range(8)]
    assert load_events(frame(rows)).weights == {"view": 1.0}


@pytest.mark.parametrize("weights", [{}, {"view": 0}, {"view": float("nan")}])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(DataError, match="found weights="):
        load_events(frame([(1, 7, "view", 1)]), weights=weights)


def test_an_article_is_read_within_two_days_and_never_twice_by_one_reader():
    data = news_feed(n_users=40, n_days=6)
    published = data.items.set_index("item")["published"]
    age = data.ratings["timestamp"] - data.ratings["item"].map(published)
    assert age.between(0, 2 * 86_400 - 1).all()
    assert not data.ratings.duplicated(["user", "item"]).any()
    pd.testing.assert_frame_equal(data.ratings, news_feed(n_users=40, n_days=6).ratings)


def test_interests_of_readers_move():
    data = news_feed(n_users=300, n_days=40)
    day = (data.ratings["timestamp"] - data.ratings["timestamp"].min()) // 86_400
    topic = data.ratings["item"].map(data.items.set_index("item")["genres"].str[0])
    share = pd.crosstab([day, data.ratings["user"]], topic)
    share = share.div(share.sum(axis=1), axis=0)

    def alike(gap):
        pairs = [
            share.loc[d]
            .reindex(share.loc[d + gap].index)
            .fillna(0)
            .mul(share.loc[d + gap])
            .sum(axis=1)
            for d in range(30 - gap)
        ]
        return pd.concat(pairs).mean()

    assert alike(1) > 1.1 * alike(25)


def test_a_purchase_in_the_shop_was_viewed_and_carted_before():
    events, items = shop_events(n_users=30)
    assert events["timestamp"].is_monotonic_increasing
    for (user, item), mine in events.groupby(["user", "item"]):
        if "buy" in set(mine["event"]):
            assert {"view", "cart"} <= set(mine["event"]), (user, item)
    assert set(events["item"]) <= set(items["item"])


def test_events_of_the_shop_are_what_an_algorithm_learns_from():
    events, items = shop_events(n_users=60, n_journeys=3)
    data = load_events(events, items=items, weights=WEIGHTS)
    tokens = LLMTokens.from_frame(data.items, "{description}", encoder=HashingEncoder())
    algo = LLMTokensEASE(item_tokens=tokens).fit(data.dataset.build_full_trainset())
    assert len(algo.recommend(1, exclude_seen=False)) == 10


@pytest.mark.parametrize("make", [news_feed, shop_events])
def test_sizes_of_generated_data_are_at_least_one(make):
    with pytest.raises(DataError, match="found n_users=0"):
        make(n_users=0)
