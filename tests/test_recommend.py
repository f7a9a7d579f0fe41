import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make
from scipy.stats import norm

from llmtokens import LLMTokensSVD
from llmtokens.errors import DataError, LLMTokensWarning, NotFittedError
from llmtokens.recommend.ranking import diversified, popularity, top_rows

ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN = full([row for k, row in enumerate(ROWS) if k % 5])
USERS = sorted({u for u, _, _ in ROWS})[:5]


def seen(uid):
    return {TRAIN.to_raw_iid(i) for i, _ in TRAIN.ur[TRAIN.to_inner_uid(uid)]}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_list_is_the_best_unseen_items_by_score(name, fitted):
    algo = fitted(name)
    for uid in USERS:
        frame = algo.recommend(uid, n=7)
        row = algo.users_.rows([uid])
        scores = algo.model_.list_scores(row)[0]
        unseen = [k for k, raw in enumerate(algo.items_.ids) if raw not in seen(uid)]
        best = sorted(unseen, key=lambda k: (-scores[k], k))[:7]
        assert frame["item"].tolist() == [algo.items_.ids[k] for k in best]
        np.testing.assert_allclose(frame["score"], scores[best])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_est_is_what_predict_says(name, fitted):
    frame = fitted(name).recommend(USERS[0], n=5)
    for line in frame.itertuples():
        prediction = fitted(name).predict(USERS[0], line.item)
        assert line.est == pytest.approx(prediction.est, abs=1e-9)
        if "std" in prediction.details:
            assert line.std == pytest.approx(prediction.details["std"], rel=1e-6)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_dense_scores_order_items_as_estimates_do_for_models_of_ratings(name, fitted):
    algo = fitted(name)
    rows = algo.users_.rows(USERS)
    dense = algo.model_.rank_scores(rows)
    assert dense.shape == (len(USERS), algo.items_.n_rows)
    if "EASE" in name:
        return
    for row, scores in zip(rows, dense, strict=True):
        items = np.arange(algo.items_.n_rows)
        est = algo.model_.score(np.full(len(items), row), items)[0]
        np.testing.assert_allclose(scores - scores.mean(), est - est.mean(), atol=1e-5)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_lists_of_all_are_the_lists_of_each_whatever_the_threads(name, fitted, monkeypatch):
    from llmtokens.recommend import ranking

    algo = fitted(name)
    monkeypatch.setattr(ranking, "CELLS", 7 * algo.items_.n_rows)
    everyone = algo.recommend_all(n=4, n_jobs=2)
    pd.testing.assert_frame_equal(everyone, algo.recommend_all(n=4))
    assert set(everyone["user"]) == set(algo.users_.ids)
    for uid in USERS:
        mine = everyone[everyone["user"] == uid].drop(columns="user").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, algo.recommend(uid, n=4), rtol=1e-4, check_dtype=False)


def test_the_frame_says_how_the_user_is_known(fitted):
    algo = fitted("LLMTokensSVD")
    assert set(algo.recommend(USERS[0])["basis"]) == {"ratings"}
    assert set(algo.recommend("nobody")["basis"]) == {"popular"}
    few = full([row for row in ROWS if row[0] != USERS[0]])
    known = make("LLMTokensBPMF, users").fit(few)
    assert set(known.recommend(USERS[0])["basis"]) == {"text"}


def test_items_carry_their_labels(fitted):
    frame = fitted("LLMTokensSVD").recommend(USERS[0], n=3)
    titles = DATA.items.set_index("item")["title"]
    assert frame["label"].tolist() == [titles[i] for i in frame["item"]]
    assert "label" not in fitted("LLMTokensSVD, no tokens").recommend(USERS[0])


def test_only_candidates_are_listed_and_unknown_ones_are_named(fitted):
    algo = fitted("LLMTokensSVD")
    some = list(TOKENS.ids[:20])
    frame = algo.recommend(USERS[0], n=50, candidates=some)
    assert set(frame["item"]) == set(some) - seen(USERS[0])
    with pytest.warns(LLMTokensWarning, match="1 of 21 candidates.*'nothing'"):
        algo.recommend(USERS[0], candidates=[*some, "nothing"])
    with pytest.raises(DataError, match="none of the 1 candidates"):
        algo.recommend(USERS[0], candidates=["nothing"])


def test_seen_items_come_back_on_request(fitted):
    algo = fitted("LLMTokensSVD")
    frame = algo.recommend(USERS[0], n=1000, exclude_seen=False)
    assert set(frame["item"]) == set(algo.items_.ids)


def test_a_stranger_is_told_what_is_liked_where_the_model_knows_nothing():
    algo = LLMTokensSVD(biased=False, n_factors=2, n_epochs=2, random_state=0).fit(
        full([(u, i, r) for u in range(20) for i, r in (("good", 5), ("bad", 1), ("fair", 3))])
    )
    frame = algo.recommend("nobody")
    assert frame["item"].tolist() == ["good", "fair", "bad"]
    assert set(frame["basis"]) == {"popular"}


def test_a_penalty_moves_lists_to_the_less_known_and_back(fitted):
    algo = fitted("LLMTokensSVD")
    common = dict(zip(algo.items_.ids, popularity(algo.model_), strict=False))
    means = [
        np.mean([common[i] for i in algo.recommend(USERS[0], popularity_penalty=p)["item"]])
        for p in (-5, -1, 0, 1, 5)
    ]
    assert (np.diff(means) < 1e-9).all()
    assert means[0] > means[-1] + 0.5


def test_diversity_spreads_a_list(fitted):
    algo = fitted("LLMTokensSVD")

    def likeness(diversity):
        frame = algo.recommend(USERS[0], n=8, diversity=diversity)
        unit = TOKENS.vectors[TOKENS.align(frame["item"])]
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        return float(np.mean((unit @ unit.T)[np.triu_indices(8, 1)]))

    plain, half, most = (likeness(d) for d in (0.0, 0.5, 0.9))
    assert most < half < plain


def test_marginal_relevance_is_the_greedy_choice_of_its_definition():
    rng = np.random.default_rng(0)
    relevance, tokens = rng.random(12), rng.normal(size=(12, 3))
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    scaled = (relevance - relevance.min()) / np.ptp(relevance)
    chosen = [int(np.argmax(scaled))]
    while len(chosen) < 5:
        rest = [k for k in range(12) if k not in chosen]
        gains = [0.6 * scaled[k] - 0.4 * max(unit[k] @ unit[j] for j in chosen) for k in rest]
        chosen.append(rest[int(np.argmax(gains))])
    assert diversified(relevance, tokens, 5, 0.4).tolist() == chosen


def test_ties_go_to_the_first_item_and_what_is_unknown_is_never_listed():
    scores = np.array([2.0, 1.0, 2.0, -np.inf, 1.0, 1.0])
    assert top_rows(scores, 3).tolist() == [0, 2, 1]
    assert top_rows(scores, 10).tolist() == [0, 2, 1, 4, 5]


@pytest.mark.parametrize(
    "wish",
    [
        {"n": 0}, {"n": 2.5}, {"n": "x"}, {"diversity": 1.5}, {"diversity": "x"},
        {"popularity_penalty": np.nan}, {"popularity_penalty": "x"}, {"candidates": []},
        {"candidates": 5},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(fitted, wish):
    with pytest.raises(DataError, match=f"found (no )?{next(iter(wish))}.*expected"):
        fitted("LLMTokensSVD").recommend(USERS[0], **wish)


@pytest.mark.parametrize("n_jobs", [0, "x", 1.5])
def test_a_number_of_workers_that_is_none_is_refused(fitted, n_jobs):
    with pytest.raises(DataError, match="found n_jobs=.*expected a number of workers"):
        fitted("LLMTokensSVD").recommend_all(n_jobs=n_jobs)


def test_an_id_that_cannot_be_one_is_refused_by_every_question(fitted):
    algo = fitted("LLMTokensSVD")
    for ask in (algo.recommend, lambda uid: algo.explain(uid, 1), lambda uid: algo.predict(uid, 1)):
        with pytest.raises(DataError, match="found a user id that is none .*expected raw ids"):
            ask({"a": "dict"})
    with pytest.raises(DataError, match="found an id that is none .*expected raw ids"):
        algo.fold_in(["a list"], {1: 3.0})


def test_diversity_without_tokens_is_refused(fitted):
    with pytest.raises(DataError, match="item_tokens"):
        fitted("LLMTokensSVD, no tokens").recommend(USERS[0], diversity=0.5)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_before_fit_there_is_a_clear_error(name):
    with pytest.raises(NotFittedError, match="call fit first"):
        make(name).recommend(1)


def test_a_user_who_has_seen_everything_gets_an_empty_list():
    algo = LLMTokensSVD(n_factors=2, n_epochs=1).fit(full([(1, "a", 3), (2, "b", 4), (2, "a", 1)]))
    frame = algo.recommend(2)
    assert len(frame) == 0
    assert list(frame.columns) == ["item", "score", "est", "basis"]


def test_a_list_of_users_gets_the_list_of_each(fitted):
    algo = fitted("LLMTokensSVD")
    several = [*USERS, "nobody"]
    frame = algo.recommend(several, n=4)
    assert list(dict.fromkeys(frame["user"])) == several
    for uid in several:
        mine = frame[frame["user"] == uid].drop(columns="user").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, algo.recommend(uid, n=4), rtol=1e-4, check_dtype=False)
    pd.testing.assert_frame_equal(frame, algo.recommend(np.array(several, object), n=4))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_stranger_is_served_what_most_have_rated(name, fitted):
    algo = fitted(name)
    frame = algo.recommend("nobody", n=10)
    counts = {TRAIN.to_raw_iid(i): len(ratings) for i, ratings in TRAIN.ir.items()}
    assert [counts[i] for i in frame["item"]] == sorted(counts.values(), reverse=True)[:10]
    assert set(frame["basis"]) == {"popular"}


def test_a_token_that_says_nothing_to_the_algorithm_is_no_basis():
    few = full([row for row in ROWS if row[0] != USERS[0]])
    algo = make("LLMTokensSVD, users").fit(few)  # noise: its weights have faded to nothing
    assert algo.users_.has_token[algo.users_.rows([USERS[0]])[0]]
    assert (
        algo.recommend(USERS[0])
        .drop(columns="basis")
        .equals(algo.recommend("nobody").drop(columns="basis"))
    )
    assert set(algo.recommend(USERS[0])["basis"]) == {"popular"}


@pytest.mark.parametrize("name", ["LLMTokensSVD", "LLMTokensBPMF"])
def test_models_of_ratings_do_not_lead_with_what_a_single_user_has_rated_high(name):
    rare = [(u, f"rare {u}", 5.0) for u in range(20)]
    usual = [(u, i, 3.0 + (u + i) % 3) for u in range(40) for i in range(12) if (u + i) % 4]
    algo = make(name, item_tokens=None).fit(full(rare + usual))
    for uid in (0, 7, 39):
        assert not any(str(i).startswith("rare") for i in algo.recommend(uid, n=3)["item"])


@pytest.mark.parametrize("name", ["LLMTokensSVD", "LLMTokensBPMF"])
def test_the_score_of_a_model_of_ratings_is_that_of_being_chosen_and_liked(name, fitted):
    algo = fitted(name)
    values = np.array([r for _, _, r in TRAIN.all_ratings()])
    frame = algo.recommend(USERS[0], n=8)
    for line in frame.itertuples():
        count = len(TRAIN.ir[TRAIN.to_inner_iid(line.item)])
        est = algo.predict(USERS[0], line.item, clip=False).est
        liked = norm.cdf((est - values.mean()) / values.std())
        assert line.score == pytest.approx(np.log((count + 0.5) * liked), abs=1e-4)
