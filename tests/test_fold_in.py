import copy
from dataclasses import fields
from datetime import timedelta
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make
from surprise import accuracy

from llmtokens import HashingEncoder, LLMTokens, LLMTokensEASE, LLMTokensSVD
from llmtokens.algorithms.svd.fitted import FittedSVD
from llmtokens.data.entities import EntityIndex
from llmtokens.data.times import recency
from llmtokens.datasets import load_ratings, synthetic
from llmtokens.errors import DataError, LLMTokensError, LLMTokensWarning
from llmtokens.recommend.interface import FittedModel

ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
NEW_USER, NEW_ITEM = ROWS[0][0], ROWS[0][1]
OLD = [row for row in ROWS if row[0] != NEW_USER and row[1] != NEW_ITEM]
TRAIN = full(OLD)
HIS = [(i, r) for u, i, r in ROWS if u == NEW_USER and i != NEW_ITEM]
ITS = [(u, r) for u, i, r in ROWS if i == NEW_ITEM and u != NEW_USER]


@pytest.fixture(scope="module")
def fitted():
    made = {}

    def get(name):
        if name not in made:
            made[name] = make(name).fit(TRAIN)
            made[name].model_.arrays()
        return copy.copy(made[name])

    return get


def estimates(algo, pairs):
    return np.array([algo.predict(*pair).est for pair in pairs])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_new_user_is_predicted_and_served_as_any_other(name, fitted):
    algo = fitted(name)
    before = estimates(algo, [(NEW_USER, i) for i, _ in HIS])
    assert algo.predict(NEW_USER, HIS[0][0]).details["cold_user"]
    others = estimates(algo, [row[:2] for row in OLD[::40]])
    assert algo.fold_in(NEW_USER, HIS[:15]) is algo
    np.testing.assert_array_equal(estimates(algo, [row[:2] for row in OLD[::40]]), others)
    assert not algo.predict(NEW_USER, HIS[0][0]).details["cold_user"]
    truth = np.array([r for _, r in HIS[:15]])
    after = estimates(algo, [(NEW_USER, i) for i, _ in HIS])
    assert np.mean((after[:15] - truth) ** 2) < np.mean((before[:15] - truth) ** 2)
    frame = algo.recommend(NEW_USER, n=200)
    assert set(frame["basis"]) == {"ratings"}
    assert not set(frame["item"]) & {i for i, _ in HIS[:15]}
    assert len(algo.explain(NEW_USER, HIS[20][0]).rated) == 15


@pytest.mark.parametrize("name", ALGORITHMS)
def test_ratings_may_come_at_once_or_in_parts_and_replace_older_ones(name, fitted):
    at_once, parts = fitted(name), fitted(name)
    at_once.fold_in(NEW_USER, dict(HIS[:9]))
    parts.fold_in(NEW_USER, [(HIS[0][0], 1.0), *HIS[1:5]])
    parts.fold_in(NEW_USER, [*HIS[5:9], HIS[0]])
    pairs = [(NEW_USER, i) for i in TOKENS.ids]
    close = 5e-3 if "SVD" in name else 1e-5  # as ratings come, less is added for a new user
    np.testing.assert_allclose(estimates(parts, pairs), estimates(at_once, pairs), atol=close)
    assert parts.ratings_.n == len(OLD) + 9
    at_once.fold_in("other", HIS[:2])
    parts.fold_in("other", [(HIS[0][0], 1.0), HIS[1]]).fold_in("other", HIS[:1])
    pairs = [("other", i) for i in TOKENS.ids]
    np.testing.assert_allclose(estimates(parts, pairs), estimates(at_once, pairs), atol=close)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_new_item_is_predicted_from_its_text_and_then_from_its_ratings(name, fitted):
    algo = fitted(name)
    if algo.item_tokens is None:
        with pytest.raises(DataError, match="content says nothing"):
            algo.fold_in_item("new", "a storm at sea")
    else:
        words = TOKENS.ids[5]
        row = DATA.items[DATA.items["item"] == words].iloc[0].to_dict()
        algo.fold_in_item("new", row)
        users = [u for u, _ in ITS]
        twin = estimates(algo, [(u, "new") for u in users])
        assert np.std(twin) > 0
        assert algo.predict(users[0], "new").details["cold_item"]
        assert "new" in algo.ask(f"{row['title']}. {row['description']}")["item"].tolist()
        assert algo.explain(users[0], "new").nearest["item"][0] == words
    algo.fold_in_item("new", ratings=ITS)
    assert not algo.predict(ITS[0][0], "new").details["cold_item"]
    assert len(make(name).fit(TRAIN).items_.ids) == len(fitted(name).items_.ids)


def test_a_new_item_without_ratings_is_what_it_would_have_been_as_a_cold_one():
    known = [i for i in TOKENS.ids if i != NEW_ITEM]
    at = TOKENS.align(known)
    fewer = LLMTokens(known, TOKENS.vectors[at].copy(), TOKENS.projection,
                      [TOKENS.labels[k] for k in at])  # fmt: skip
    row = DATA.items[DATA.items["item"] == NEW_ITEM].iloc[0].to_dict()
    for name in ("LLMTokensSVD", "LLMTokensContent", "LLMTokensContent, cosine"):
        whole = make(name).fit(TRAIN)
        later = make(name, item_tokens=fewer).fit(TRAIN).fold_in_item(NEW_ITEM, row)
        pairs = [(u, NEW_ITEM) for u, _ in ITS]
        np.testing.assert_allclose(estimates(later, pairs), estimates(whole, pairs), atol=0.02)
        assert later.item_tokens.labels[-1] == row["title"]
    assert NEW_ITEM not in fewer.ids


def test_ratings_of_a_new_item_teach_what_text_did_not(fitted):
    algo = fitted("LLMTokensSVD")
    half = len(ITS) // 2
    rest = [(u, NEW_ITEM, r) for u, r in ITS[half:]]
    before = accuracy.rmse(algo.test(rest), verbose=False)
    algo.fold_in_item(NEW_ITEM, ratings=ITS[:half])
    assert accuracy.rmse(algo.test(rest), verbose=False) < before


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_batch_brings_new_users_and_items_at_once(name, fitted):
    algo = fitted(name)
    batch = pd.DataFrame([row for row in ROWS if row[0] == NEW_USER or row[1] == NEW_ITEM],
                         columns=["user", "item", "rating"])  # fmt: skip
    algo.partial_fit(batch)
    assert algo.ratings_.n == len(ROWS)
    details = algo.predict(NEW_USER, NEW_ITEM).details
    assert not details["cold_user"]
    assert not details["cold_item"]
    refit = make(name).fit(full(ROWS))
    pairs = [row[:2] for row in ROWS if row[0] == NEW_USER]
    assert np.sqrt(np.mean((estimates(algo, pairs) - estimates(refit, pairs)) ** 2)) < 0.6


@pytest.fixture(scope="module")
def batches():
    """Ratings to start from, five batches, others to be judged by, and tokens."""
    data = synthetic(n_users=150, n_items=200, n_ratings=8000, random_state=2)
    tokens = LLMTokens.from_frame(
        data.items, "{title}. {description}", encoder=HashingEncoder(), n_components=24
    )
    rows = data.ratings[["user", "item", "rating"]].sample(frac=1, random_state=0)
    rows = list(rows.itertuples(index=False, name=None))
    return rows[1600:4800], [rows[4800 + k :: 5] for k in range(5)], rows[:1600], tokens


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "users" not in n])
def test_learning_in_batches_approaches_the_refit_and_is_never_worse_than_before(name, batches):
    base, later, test, tokens = batches
    changes = {} if "no tokens" in name else {"item_tokens": tokens}
    changes |= {"n_factors": 20, "n_epochs": 20} if "SVD" in name else {}

    def rmse(algo):
        return accuracy.rmse(algo.test(test), verbose=False)

    algo = make(name, **changes).fit(full(base))
    errors = [rmse(algo)]
    for batch in later:
        errors.append(rmse(algo.partial_fit(batch)))
    refit = rmse(make(name, **changes).fit(full(base + list(chain(*later)))))
    assert max(np.diff(errors)) < 0.003
    assert errors[-1] < errors[0]
    assert errors[-1] < refit + 0.5 * (errors[0] - refit)


@pytest.mark.parametrize("n_factors", [4, 12])
def test_users_learned_again_by_a_bayesian_model_fit_their_ratings_no_closer(n_factors):
    """Of items it keeps means, whose errors would pass for taste if they were taken for true."""
    model = make("LLMTokensBPMF, no tokens", n_factors=n_factors).fit(full(ROWS)).model_
    users = range(model.ratings.n_users)
    rated = [model.ratings.of_user(user) for user in users]
    again = [model.user_entries(u, r, r)["user_samples"] for u, r in zip(users, rated, strict=True)]
    before = model.user_samples[: len(users), :, :-1]
    assert np.mean(np.array(again)[:, :, :-1] ** 2) < np.mean(before**2)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_batch_that_says_nothing_new_changes_nothing(name, fitted):
    algo = fitted(name)
    batch = [*ROWS[:300:3], ("new", ROWS[0][1], 4.0), (ROWS[1][0], NEW_ITEM, 2.0)]
    algo.partial_fit(batch)
    model = algo.model_
    for _ in range(3):
        algo.partial_fit(batch)
    algo.fold_in("new", [(ROWS[0][1], 4.0)])
    assert algo.model_ is model
    algo.fold_in("new", [(ROWS[0][1], 5.0)])
    assert algo.model_ is not model


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_new_user_may_rate_an_item_that_nobody_has_rated(name, fitted):
    algo = fitted(name)
    if algo.item_tokens is None:
        with pytest.raises(DataError, match="unknown item ids"):
            algo.fold_in("new", [(NEW_ITEM, 5.0)])
        return
    algo.fold_in("new", [(NEW_ITEM, 5.0), *HIS[:3]])
    assert not algo.predict("new", NEW_ITEM).details["cold_item"]
    assert algo.items_.n_warm == TRAIN.n_items + 1


def test_entities_grow_as_if_built_anew():
    warm = list(TOKENS.ids[10:40])
    entities = EntityIndex.of("item", warm, TOKENS)
    grown, source = entities.warmed([TOKENS.ids[70], "new", TOKENS.ids[2], warm[0]])
    anew = EntityIndex.of("item", [*warm, TOKENS.ids[70], "new", TOKENS.ids[2]], TOKENS)
    assert (grown.ids, grown.n_warm) == (anew.ids, anew.n_warm)
    np.testing.assert_array_equal(grown.tokens, anew.tokens)
    np.testing.assert_array_equal(grown.has_token, anew.has_token)
    for row, raw in enumerate(grown.ids):
        assert source[row] == (entities.unknown if raw == "new" else entities.rows([raw])[0])
    assert entities.n_warm == 30


def test_a_frame_is_read_by_the_names_of_its_columns(fitted):
    batch = pd.DataFrame([("new", i, r) for i, r in HIS[:5]], columns=["user", "item", "rating"])
    by_name, by_place = fitted("LLMTokensSVD"), fitted("LLMTokensSVD")
    by_name.partial_fit(batch[["rating", "item", "user"]].assign(when=1))
    by_place.partial_fit(batch.itertuples(index=False, name=None))
    with pytest.raises(DataError, match=r"'u', 'i', 'r'; expected user, item and rating"):
        by_place.partial_fit(batch.set_axis(["u", "i", "r"], axis=1))
    pairs = [("new", i) for i, _ in HIS]
    np.testing.assert_array_equal(estimates(by_name, pairs), estimates(by_place, pairs))


def test_ages_are_counted_from_the_newest_rating_in_numbers_and_dates():
    np.testing.assert_allclose(recency(3, [-30, -10, -20], 10), [0.25, 1.0, 0.5])
    dates = pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-02"])
    np.testing.assert_allclose(recency(3, dates, 86_400), [0.25, 1.0, 0.5])
    text = [f"{date:%Y-%m-%dT%H:%M}" for date in dates]
    np.testing.assert_allclose(recency(3, text, 86_400), [0.25, 1.0, 0.5])
    with pytest.raises(DataError, match="not written as the others"):
        recency(2, ["yesterday", 3], 1.0)


@pytest.mark.parametrize(
    ("times", "half_life"),
    [
        (pd.period_range("2020", periods=3), 86_400),
        (pd.to_timedelta([5, 6, 7], "D"), 86_400.0),
        (pd.to_timedelta([5, 6, 7], "D"), pd.Timedelta(1, "D")),
        (pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]), timedelta(days=1)),
        (np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[D]"), np.timedelta64(1, "D")),
        ([0, 86_400, 172_800], pd.Timedelta(1, "D")),
    ],
    ids=str,
)
def test_times_and_half_lives_may_be_of_any_type_that_is_time(times, half_life):
    np.testing.assert_allclose(recency(3, times, half_life), [0.25, 0.5, 1.0])


@pytest.mark.parametrize("half_life", [0, -1, True, np.inf, np.nan, 1j, "1", pd.Timedelta(0)])
def test_what_is_no_half_life_is_refused(half_life):
    with pytest.raises(DataError, match="expected a positive number, or a length of time"):
        recency(3, [0, 1, 2], half_life)


def test_complex_times_are_refused():
    with pytest.raises(DataError, match="found complex numbers"):
        recency(3, [1j, 2, 3], 1.0)


def test_recent_ratings_count_more(fitted):
    item = HIS[0][0]
    ratings = [(i, 5.0) for i, _ in HIS[:6]] + [(i, 1.0) for i, _ in HIS[6:12]]
    old_then_new = list(range(12))
    plain, recent, reverse = (fitted("LLMTokensSVD") for _ in range(3))
    plain.fold_in("u", ratings)
    recent.fold_in("u", ratings, timestamps=old_then_new, half_life=2.0)
    reverse.fold_in("u", ratings, timestamps=old_then_new[::-1], half_life=2.0)
    low, middle, high = (a.predict("u", item).est for a in (recent, plain, reverse))
    assert low < middle < high
    np.testing.assert_allclose(recency(3, [10, 30, 20], 10), [0.25, 1.0, 0.5])


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "BPMF" not in n])
def test_where_taste_is_forgotten_at_once_only_the_last_rating_counts(name, fitted):
    one, all_ = fitted(name), fitted(name)
    one.fold_in("other", HIS[:11])  # so that the mean of all ratings is the same
    one.fold_in("u", HIS[11:12])
    all_.fold_in("u", HIS[:12], timestamps=range(12), half_life=1e-3)
    pairs = [("u", i) for i in TOKENS.ids]
    np.testing.assert_allclose(estimates(all_, pairs), estimates(one, pairs), atol=1e-5)


def test_weight_of_time_reaches_the_profiles_of_content_too(fitted):
    for name in ("LLMTokensContent", "LLMTokensContent, cosine"):
        plain, recent = fitted(name), fitted(name)
        plain.fold_in("u", HIS[:12])
        recent.fold_in("u", HIS[:12], timestamps=range(12), half_life=1.0)
        row = plain.users_.rows(["u"])
        assert np.abs(plain.model_.rank_scores(row) - recent.model_.rank_scores(row)).max() > 1e-3


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_changes_if_anything_fails(name, fitted, monkeypatch):
    algo = fitted(name)
    before, arrays = dict(algo.__dict__), algo.model_.arrays()
    copies = {key: np.copy(value) for key, value in arrays.items() if value is not None}
    batch = [("new", "new", 5.0), (ROWS[-1][0], "new", 3.0)]
    relearned = type(algo.model_).relearned

    def failing(self, growth):
        relearned(self, growth)
        raise MemoryError

    monkeypatch.setattr(type(algo.model_), "relearned", failing)
    with pytest.raises(MemoryError):
        algo.partial_fit(batch)
    assert algo.__dict__ == before
    for key, value in copies.items():
        np.testing.assert_array_equal(algo.model_.arrays()[key], value)


def test_a_breakdown_of_the_algebra_is_named(fitted, monkeypatch):
    def breaks(*_):
        raise np.linalg.LinAlgError("singular matrix")

    monkeypatch.setattr(FittedSVD, "user_entries", breaks)
    with pytest.raises(DataError, match=r"broke down \(singular matrix\).*extreme size"):
        fitted("LLMTokensSVD").fold_in("new", HIS[:3])


def test_ids_of_numpy_are_plain_ones_in_the_model_and_can_be_saved(fitted, tmp_path):
    algo = fitted("LLMTokensSVD")
    algo.fold_in_item(np.int64(10_001), "a storm at sea", {OLD[0][0]: 3.0})
    algo.partial_fit([(np.str_("somebody"), np.int64(10_002), np.float32(3))])
    assert {type(raw) for raw in algo.items_.ids + algo.item_tokens.ids} == {int}
    assert {type(raw) for raw in algo.users_.ids} == {int, str}
    algo.save(tmp_path / "model.safetensors")


def test_a_row_of_the_frame_may_be_a_series_and_none_is_refused(fitted):
    row = DATA.items.iloc[5]
    dict_, series = fitted("LLMTokensSVD"), fitted("LLMTokensSVD")
    dict_.fold_in_item("new", row.to_dict())
    series.fold_in_item("new", row)
    assert series.predict(OLD[0][0], "new").est == dict_.predict(OLD[0][0], "new").est
    assert series.item_tokens.labels[-1] == row["title"]
    with pytest.raises(DataError, match="content of 0 ids"):
        series.fold_in_item("newer", DATA.items[:0])


def test_an_item_without_a_title_is_called_by_its_id(fitted):
    algo = fitted("LLMTokensSVD")
    algo.fold_in_item("new", {"title": None, "description": "a storm at sea"})
    assert algo.explain(OLD[0][0], "new").sentence.startswith('"new" is expected')
    assert algo.recommend(OLD[0][0], candidates=["new"])["label"].item() == "new"


def test_an_algorithm_without_a_closed_form_says_so(fitted):
    class FittedOther(FittedSVD):
        user_entries = FittedModel.user_entries

    algo = fitted("LLMTokensSVD")
    model = algo.model_
    algo.model_ = FittedOther(**{f.name: getattr(model, f.name) for f in fields(model)})
    with pytest.raises(LLMTokensError, match="FittedOther cannot learn users without a refit"):
        algo.fold_in("new", HIS[:3])


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([], "neither ratings nor content"),
        ([("nothing", 3.0)], "unknown item ids: 'nothing'"),
        ([(TOKENS.ids[0], np.nan)], "NaN"),
        ([(TOKENS.ids[0], 3.0), (TOKENS.ids[0], 4.0)], "duplicate"),
        ([TOKENS.ids[0]], "pairs"),
        ([(TOKENS.ids[0], "good")], "pairs"),
        (3, "pairs"),
    ],
)
def test_ratings_that_cannot_be_used_are_refused(fitted, ratings, message):
    with pytest.raises(DataError, match=message):
        fitted("LLMTokensSVD").fold_in("new", ratings)


def test_ratings_outside_the_scale_are_refused_by_every_way_in(fitted):
    algo, known = fitted("LLMTokensSVD"), TOKENS.ids[20]
    before = algo.ratings_
    for learn in (
        lambda: algo.fold_in("new", {known: 500}),
        lambda: algo.fold_in_item("newest", "a storm", {OLD[0][0]: 500}),
        lambda: algo.partial_fit([("new", known, 500)]),
    ):
        with pytest.raises(DataError, match=r"1 ratings outside the scale from 0.5 to 5.*500\.0"):
            learn()
    assert algo.ratings_ is before


def test_a_scale_that_the_fit_went_beyond_is_no_bound():
    algo = LLMTokensSVD(n_factors=2, n_epochs=1).fit(full([(1, "a", 9.0), (2, "b", 2.0)]))
    algo.fold_in("new", {"a": 8.0})
    with pytest.raises(DataError, match="from 1 to 9"):
        algo.fold_in("new", {"a": 10.0})


def test_an_id_of_another_type_is_the_same_one(fitted):
    user, item = OLD[0][:2]
    for learn in (
        lambda algo: algo.fold_in(str(user), {str(item): 3.0}),
        lambda algo: algo.fold_in_item(str(item), ratings={str(user): 3.0}),
        lambda algo: algo.partial_fit([(str(user), float(item), 3.0)]),
    ):
        algo = learn(copy.copy(fitted("LLMTokensSVD")))
        assert algo.users_.ids == fitted("LLMTokensSVD").users_.ids
        assert algo.items_.ids == fitted("LLMTokensSVD").items_.ids
        assert algo.explain(user, item).basis == "ratings"


def test_ratings_of_somebody_new_may_be_a_series(fitted):
    given = {OLD[0][1]: 4.5, OLD[1][1]: 2.0}
    by_dict, by_series = (
        copy.copy(fitted("LLMTokensSVD")).fold_in("new", ratings)
        for ratings in (given, pd.Series(given))
    )
    assert by_dict.predict("new", OLD[2][1]) == by_series.predict("new", OLD[2][1])


def test_a_choice_of_nothing_is_refused():
    ratings = pd.DataFrame({"user": [1, 1, 2], "item": ["a", "b", "a"]})
    data = load_ratings(ratings, rating=None)
    algo = LLMTokensEASE(implicit=True).fit(data.dataset.build_full_trainset())
    for learn in (
        lambda: algo.fold_in(3, {"a": 0.0}),
        lambda: algo.fold_in_item("c", ratings={1: 0.0}),
        lambda: algo.partial_fit([(3, "a", 0.0)]),
    ):
        with pytest.raises(DataError, match="found 0 for .*leave out what was not chosen"):
            learn()


def test_other_misuse_is_refused(fitted):
    algo = fitted("LLMTokensSVD")
    for given in ({"timestamps": [1.0]}, {"half_life": 3.0}):
        with pytest.raises(DataError, match="go together"):
            algo.fold_in("new", HIS[:1], **given)
    with pytest.raises(DataError, match="half_life"):
        algo.fold_in("new", HIS[:1], timestamps=[1.0], half_life=0)
    with pytest.raises(DataError, match="timestamps of shape"):
        algo.fold_in("new", HIS[:1], timestamps=[1.0, 2.0], half_life=1)
    with pytest.raises(DataError, match="timestamps of type dict; expected a list"):
        algo.fold_in("new", HIS[:1], timestamps={HIS[0][0]: 1.0}, half_life=1)
    with pytest.raises(DataError, match="neither content nor ratings"):
        algo.fold_in_item("new")
    with pytest.raises(DataError, match="unknown user ids"):
        algo.fold_in_item("new", ratings=[("nobody", 3.0)])
    with pytest.raises(DataError, match="rows of"):
        algo.partial_fit([])
    for batch in (5, [1, 2], [([1], 2, 3.0)]):
        with pytest.raises(DataError, match=r"rows of \(user, item, rating\)"):
            algo.partial_fit(batch)
    with pytest.raises(DataError, match="expected some of"):
        algo.fold_in_item("new", {"titel": "a storm"})


def test_fold_in_is_as_good_as_a_refit(ml_small_folder):
    from llmtokens.datasets import load_movielens

    frame = load_movielens(ml_small_folder).ratings[["user", "item", "rating"]]
    held = set(frame["user"].unique()[::12])
    theirs = frame[frame["user"].isin(held)].sample(frac=1, random_state=0)
    count = theirs.groupby("user").cumcount()
    given, test = theirs[count < 20], list(theirs[count >= 20].itertuples(index=False, name=None))
    rest = frame[~frame["user"].isin(held)]
    given = given[given["item"].isin(set(rest["item"]))]
    parameters = {"n_factors": 30, "random_state": 0}
    scale = (0.5, 5)
    folded = LLMTokensSVD(**parameters).fit(full(rest.to_numpy().tolist(), scale))
    refit = LLMTokensSVD(**parameters).fit(
        full(pd.concat([rest, given]).to_numpy().tolist(), scale)
    )
    for uid, rows in given.groupby("user"):
        folded.fold_in(uid, zip(rows["item"], rows["rating"], strict=True))
    ours, theirs = (accuracy.rmse(a.test(test), verbose=False) for a in (folded, refit))
    assert ours < theirs + 0.01


def test_what_a_new_item_leaves_out_says_nothing():
    algo = make("LLMTokensSVD").fit(TRAIN)
    algo.fold_in_item("new", {"title": "Robots in Love", "description": "Robots fall in love."})
    assert np.isfinite(algo.predict(TRAIN.to_raw_uid(0), "new").est)
    assert algo.item_tokens.align(["new"])[0] >= 0


def test_labels_in_another_form_than_those_of_the_fit_are_told():
    data = synthetic(n_users=30, n_items=40, n_ratings=500)
    tokens = LLMTokens.from_frame(data.items, "{title}", categorical=["genres"],
                                  encoder=HashingEncoder())  # fmt: skip
    algo = LLMTokensSVD(tokens, random_state=0).fit(data.dataset.build_full_trainset())
    content = {"title": "a storm at sea", "genres": "Nowhere/Somewhere"}
    with pytest.warns(LLMTokensWarning, match="1 of 1 cells of 'genres' hold no label"):
        algo.fold_in_item("new", content)
