"""Events of many kinds as ratings, and the generated feed and shop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from surprise import Dataset, Reader
from surprise.model_selection import KFold

from llmtokens import HashingEncoder, LLMTokens, LLMTokensEASE, LLMTokensSVD, load
from llmtokens.datasets import load_events, load_items, news_feed, shop_events
from llmtokens.errors import AlignmentError, DataError, FileFormatError, LLMTokensWarning

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


@pytest.fixture(scope="module")
def shop():
    events, goods = shop_events(n_users=40, n_journeys=4, random_state=1)
    return load_events(events, weights=WEIGHTS, items=goods)


@pytest.fixture(scope="module", params=[LLMTokensEASE, LLMTokensSVD])
def customer(request, shop):
    """An algorithm that has learned from the shop's events."""
    return request.param().fit(shop.dataset.build_full_trainset())


def had(shop, event, user):
    return {item for who, item in shop.pairs(event) if who == user}


def listed(algo, user, **options):
    return set(algo.recommend(user, n=10_000, **options)["item"])


def test_what_was_bought_is_left_out_and_what_was_looked_at_stays(customer, shop):
    for user in (1, 2, 3):
        bought, viewed = had(shop, "buy", user), had(shop, "view", user)
        assert viewed - bought
        others = listed(customer, user, exclude_seen="buy")
        assert not bought & others
        assert viewed - bought <= others
        assert listed(customer, user, exclude_seen=False) == others | bought
        assert listed(customer, user) == others - viewed


def test_several_kinds_are_left_out_together(customer, shop):
    serious = had(shop, "buy", 1) | had(shop, "cart", 1)
    left = listed(customer, 1, exclude_seen=["buy", "cart"])
    assert left == listed(customer, 1, exclude_seen=False) - serious


def test_lists_of_all_users_leave_out_what_each_has_bought(customer, shop):
    lists = customer.recommend_all(n=10_000, exclude_seen="buy")
    pairs = set(zip(lists["user"], lists["item"], strict=True))
    assert not pairs & set(shop.pairs("buy"))
    only_viewed = set(shop.pairs("view")) - set(shop.pairs("buy"))
    assert only_viewed <= pairs


@pytest.mark.parametrize("kind", ["sell", ["buy", "sell"], [], 7, [["buy"]], None])
def test_a_kind_that_there_is_not_is_refused(customer, kind):
    with pytest.raises(DataError, match="expected True, False, or one or several of 'view'"):
        customer.recommend(1, exclude_seen=kind)


def test_kinds_are_asked_of_models_that_know_them(shop):
    pairs = shop.ratings[["user", "item", "rating"]]
    plain = Dataset.load_from_df(pairs, Reader(rating_scale=shop.rating_scale))
    algo = LLMTokensEASE().fit(plain.build_full_trainset())
    with pytest.raises(DataError, match="fitted on data from load_events"):
        algo.recommend(1, exclude_seen="buy")


def test_a_file_keeps_the_kinds(customer, tmp_path):
    customer.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    for kind in ("view", "cart", "buy"):
        pd.testing.assert_frame_equal(
            loaded.recommend_all(n=5, exclude_seen=kind),
            customer.recommend_all(n=5, exclude_seen=kind),
        )


def test_a_file_whose_kinds_are_not_those_of_its_ratings_is_refused(customer):
    payload, arrays = customer.to_parts()
    for kinds in (["view"], ["buy"] * 3, "buy"):
        with pytest.raises(FileFormatError, match="events|kinds"):
            type(customer).from_parts(payload | {"events": kinds}, arrays)


def test_a_fold_knows_of_no_purchase_that_it_is_tested_on(shop):
    train, test = next(KFold(5, random_state=0).split(shop.dataset))
    algo = LLMTokensEASE().fit(train)
    bought = set(shop.pairs("buy"))
    user, item, _ = next(row for row in test if row[:2] in bought)
    assert item in listed(algo, user, exclude_seen="buy")


def test_what_is_bought_later_is_left_out_from_then_on(shop):
    algo = LLMTokensEASE().fit(shop.dataset.build_full_trainset())
    before = listed(algo, 1, exclude_seen="buy")
    old, new = sorted(before & had(shop, "view", 1))[0], sorted(listed(algo, 1))[0]
    rows = [(1, old, 6.0, "buy"), (1, new, 1.0, "view"), (99, new, 5.0, "buy")]
    algo.partial_fit(pd.DataFrame(rows, columns=["user", "item", "rating", "event"]))
    assert listed(algo, 1, exclude_seen="buy") == before - {old}
    assert new not in listed(algo, 1, exclude_seen="view")
    assert new not in listed(algo, 99, exclude_seen="buy")
    algo.fold_in(1, {old: 7.0})  # rated again: it was bought all the same
    assert old not in listed(algo, 1, exclude_seen="buy")


def test_a_batch_of_events_is_learned_with_its_kinds(shop):
    algo = LLMTokensEASE().fit(shop.dataset.build_full_trainset())
    item = sorted(listed(algo, 2))[0]
    later = load_events(frame([(2, item, "buy", 1e9)]), weights=WEIGHTS)
    algo.partial_fit(later.dataset)
    assert item not in listed(algo, 2, exclude_seen="buy")
    assert item in listed(algo, 2, exclude_seen="cart")


def test_further_events_are_added_to_what_a_pair_has(shop):
    algo = LLMTokensEASE().fit(shop.dataset.build_full_trainset())
    user, item, before = shop.ratings.loc[shop.ratings["rating"].idxmin()][:3]
    later = load_events(frame([(user, item, "view", 1e9)]), weights=WEIGHTS)
    row, column = algo.users_.row(user), algo.items_.row(item)

    def stored():
        items, values, _ = algo.model_.ratings.of_user(row)
        return values[items == column].item()

    algo.partial_fit(later)
    assert stored() == before + WEIGHTS["view"]
    for _ in range(99):
        algo.partial_fit(later)
    assert stored() == shop.rating_scale[1]


def test_what_is_taken_back_is_left_out_and_told():
    rows = [(1, "tent", "buy", 1), (1, "tent", "refund", 2), (1, "rope", "buy", 3)]
    data = load_events(frame(rows), weights={"buy": 1, "refund": -1})
    assert data.ratings[["user", "item", "rating"]].values.tolist() == [[1, "rope", 1.0]]
    assert ["pair whose events add up to 0 or less", 1] in data.dropped.values.tolist()
    with pytest.raises(DataError, match="no pair whose events add up to more than 0"):
        load_events(frame(rows[:2]), weights={"buy": 1, "refund": -1})


def test_events_may_be_a_list_of_dicts_and_not_of_tuples():
    rows = [(1, "a", "view", 1), (2, "a", "view", 2)]
    told = [dict(zip(("user", "item", "event", "timestamp"), row, strict=True)) for row in rows]
    assert load_events(told).ratings["item"].tolist() == ["a", "a"]
    with pytest.raises(DataError, match="found events of type list; expected the path"):
        load_events(rows)


def test_a_kind_that_is_written_otherwise_is_told():
    with pytest.warns(LLMTokensWarning, match="no event of the kind 'Buy' .* but 'buy'"):
        load_events(frame([(1, "a", "view", 1), (1, "a", "buy", 2)]), weights={"view": 1, "Buy": 5})


def test_a_blank_id_is_none_and_what_is_no_id_is_an_error():
    rows = [("", "a", "view", 1), (1, " ", "view", 2), (1, "a", "view", 3)]
    data = load_events(frame(rows), weights={"view": 1})
    assert data.dropped.values.tolist() == [["no user", 1], ["no item", 1]]
    with pytest.raises(DataError, match="found ids that are none"):
        load_events(frame([(1, ["a"], "view", 1)]), weights={"view": 1})


def test_of_a_user_who_is_forgotten_no_event_stays(shop):
    algo = LLMTokensEASE().fit(shop.dataset.build_full_trainset()).forget(1)
    assert all(len(had) == algo.ratings_.n for had in algo.ratings_.events.values())
    assert not had(shop, "buy", 2) & listed(algo, 2, exclude_seen="buy")


def test_a_file_of_events_is_read_as_the_frame_is(shop, tmp_path):
    shop.events.to_csv(tmp_path / "log.csv", index=False, sep=";")
    read = load_events(tmp_path / "log.csv", weights=WEIGHTS)
    pd.testing.assert_frame_equal(read.ratings, shop.ratings)
    with pytest.raises(DataError, match="no column 'kind'"):
        load_events(tmp_path / "log.csv", event="kind")


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


def test_items_are_read_from_a_file_and_may_name_their_ids_otherwise(tmp_path):
    events = "customer;product;event;when\n7;01;view;5\n8;01;buy;6\n8;02;view;7\n"
    (tmp_path / "events.csv").write_text(events)
    (tmp_path / "goods.csv").write_text("sku;title\n01;a tent\n02;a rope\n03;a stove\n")
    named = {"user": "customer", "item": "product", "timestamp": "when", "weights": {"view": 1}}
    goods = load_items(tmp_path / "goods.csv", item="sku")
    data = load_events(tmp_path / "events.csv", items=goods, **named)
    assert data.items["item"].tolist() == ["01", "02", "03"]
    assert data.ratings[["user", "item"]].values.tolist() == [[7, "01"], [8, "02"]]
    (tmp_path / "renamed.csv").write_text("product;title\n01;a tent\n02;a rope\n03;a stove\n")
    again = load_events(tmp_path / "events.csv", items=tmp_path / "renamed.csv", **named)
    assert again.items["title"].tolist() == data.items["title"].tolist()
    with pytest.raises(AlignmentError, match="none of its 2 ids in 'item'"):
        load_events(tmp_path / "events.csv", items=frame_of_others(), **named)


def frame_of_others():
    return pd.DataFrame({"item": ["x", "y"], "title": ["a kite", "a drum"]})
