"""What users say of themselves: newcomers in words, lists for nobody known, and tokens of history
that know the training ratings alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from algorithms import dataset
from surprise import Dataset, Reader
from surprise.model_selection import GridSearchCV, KFold, cross_validate

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensContent, LLMTokensEASE, LLMTokensSVD
from llmtokens.algorithms.bpmf import LLMTokensBPMF
from llmtokens.controls import shuffled
from llmtokens.datasets import synthetic
from llmtokens.errors import DataError
from llmtokens.metrics import ndcg_at_k, rank_all
from llmtokens.model_selection import ColdUserKFold, FewShotUserKFold

DATA = synthetic(n_users=300, n_items=90, n_ratings=9000, random_state=3)
WORDS = "I like slow and quiet stories of the sea."
ITEMS = LLMTokens.from_frame(
    DATA.items, "{title}. {description}", encoder=HashingEncoder(), n_components=24
)
USERS = LLMTokens.from_frame(DATA.users, "{profile}", encoder=HashingEncoder(), n_components=16)
LAST = set(DATA.users["user"].tail(10))
TRAIN = DATA.dataset.construct_trainset([r for r in DATA.dataset.raw_ratings if r[0] not in LAST])
PAIRS = [("new", item) for item in ITEMS.ids[:40]]

KINDS = {
    "LLMTokensSVD": lambda users: LLMTokensSVD(ITEMS, users, n_factors=8, random_state=0),
    "LLMTokensBPMF": lambda users: LLMTokensBPMF(
        ITEMS, users, n_factors=3, n_content=4, n_samples=20, burn_in=10, random_state=0
    ),
    "LLMTokensEASE": lambda users: LLMTokensEASE(ITEMS, user_tokens=users),
    "LLMTokensContent": lambda users: LLMTokensContent(ITEMS, user_tokens=users),
}


@pytest.fixture(params=KINDS, scope="module")
def told(request):
    """How to make an algorithm, and one that was fitted."""
    return KINDS[request.param], KINDS[request.param](USERS).fit(TRAIN)


def answers(algo, uid="new"):
    found = [algo.predict(uid, item) for _, item in PAIRS]
    return np.array([(p.est, p.details.get("std", 0.0)) for p in found])


def test_a_newcomer_in_words_is_as_in_a_fit_that_knows_the_token(told, tmp_path):
    make, algo = told
    algo.save(tmp_path / "model")
    loaded = llmtokens.load(tmp_path / "model")
    unknown = answers(loaded)
    loaded.fold_in("new", content=WORDS)
    again = make(USERS.with_content("new", WORDS)).fit(TRAIN)
    np.testing.assert_allclose(answers(loaded), answers(again), atol=2e-6)
    assert np.ptp(answers(loaded) - unknown) > 0
    assert loaded.recommend("new", n=1)["basis"].item() == "text"
    assert loaded.user_tokens.ids == [*USERS.ids, "new"]
    assert len(algo.user_tokens) == len(USERS)


def test_a_list_in_words_is_that_of_a_newcomer_and_nothing_is_kept(told, tmp_path):
    _, algo = told
    before = algo.model_
    listed = algo.recommend(content=WORDS, n=5)
    assert algo.model_ is before
    algo.save(tmp_path / "model")
    learned = llmtokens.load(tmp_path / "model").fold_in("new", content=WORDS)
    pd.testing.assert_frame_equal(listed, learned.recommend("new", n=5))


def test_words_and_ratings_count_both(told, tmp_path):
    """Ratings move what words say, less so than without words, and a list leaves them out."""
    _, algo = told
    algo.save(tmp_path / "model")
    rated = {item: 5.0 if k % 2 else 1.0 for k, item in enumerate(ITEMS.ids[:6])}
    words, both, ratings = (llmtokens.load(tmp_path / "model") for _ in range(3))
    words.fold_in("new", content=WORDS)
    both.fold_in("new", rated, content=WORDS)
    ratings.fold_in("new", rated)
    assert np.ptp(answers(words) - answers(both)) > 0
    assert not both.predict("new", ITEMS.ids[0]).details["cold_user"]
    assert not set(both.recommend("new", n=90)["item"]) & set(rated)
    step = words.fold_in("new", rated)  # first the words, then the ratings
    np.testing.assert_allclose(answers(step), answers(both), atol=1e-5)


def test_words_of_a_known_user_join_what_was_rated(told):
    _, algo = told
    known = DATA.users["user"].iloc[0]
    listed = algo.recommend(known, content=WORDS, n=90)
    seen = {item for user, item, *_ in DATA.dataset.raw_ratings if user == known}
    assert not set(listed["item"]) & seen
    assert set(listed["basis"]) == {"ratings"}


def test_without_tokens_of_users_words_say_nothing_and_that_is_said(told):
    make, _ = told
    plain = make(None).fit(TRAIN)
    for ask in (plain.recommend, lambda content: plain.fold_in("new", content=content)):
        with pytest.raises(DataError, match="no user_tokens.*fit with user_tokens"):
            ask(content=WORDS)
    with pytest.raises(DataError, match="neither uid nor content"):
        plain.recommend()


def test_tokens_of_history_take_words_in_the_space_of_the_items():
    algo = LLMTokensSVD(ITEMS, "history", n_factors=8, random_state=0).fit(TRAIN)
    algo.fold_in("new", content=DATA.items["description"].iloc[0])
    assert algo.user_tokens == "history"  # the next fit makes its own
    similar = algo.model_.user_tokens["new"] @ ITEMS.vectors.T
    assert np.argmax(similar / np.linalg.norm(ITEMS.vectors, axis=1)) == 0


@pytest.mark.parametrize("cls", [LLMTokensBPMF, LLMTokensEASE, LLMTokensContent])
def test_tokens_of_history_tell_nothing_that_the_ratings_do_not(cls):
    """Users with three ratings have tokens far from the mean, and were once taken at their word."""
    seed = {"n_samples": 5, "random_state": 0} if cls is LLMTokensBPMF else {}
    train, test = next(FewShotUserKFold(4, n_given=3, random_state=0).split(DATA.dataset))
    with_, without = (
        [p.est for p in cls(ITEMS, user_tokens=users, **seed).fit(train).test(test)]
        for users in ("history", None)
    )
    np.testing.assert_allclose(with_, without, atol=1e-5)


def test_lists_for_users_without_ratings_follow_their_text_and_not_that_of_others():
    """LLMTokensEASE, on users it has never seen: text helps, shuffled text is no text."""
    gains = {name: [] for name in ("none", "text", "shuffled")}
    for train, test in ColdUserKFold(3, random_state=0).split(DATA.dataset):
        for name, users in (("none", None), ("text", USERS), ("shuffled", shuffled(USERS))):
            algo = LLMTokensEASE(ITEMS, user_tokens=users).fit(train)
            gains[name].append(ndcg_at_k(rank_all(algo, test, n=10), k=10, relevant=4.0))
    none, text, mixed = (np.mean(found) for found in gains.values())
    assert text > none + 0.005
    assert mixed == pytest.approx(none, abs=0.005)


# -- tokens of what users did


def with_a_secret() -> tuple[Dataset, KFold]:
    """Every user rates at random, and half of them rate one fold, and it alone, by a secret that
    only tokens made of that fold could tell."""
    cv = KFold(3, random_state=0)
    frame = DATA.ratings[["user", "item", "rating"]]
    raw = list(frame.itertuples(index=False, name=None))
    values = np.random.default_rng(1).choice([2.0, 3.0, 4.0], len(raw))
    noise = dataset([(u, i, v) for (u, i, _), v in zip(raw, values, strict=True)], (0.5, 5.0))
    _, test = next(cv.split(noise))
    held = {(u, i) for u, i, _ in test}
    likes = {u: ITEMS.vectors[k % len(ITEMS.ids), 0] > 0 for k, u in enumerate(DATA.users["user"])}
    first = dict(zip(ITEMS.ids, ITEMS.vectors[:, 0] > 0, strict=True))
    rows = [
        (u, i, (4.5 if first[i] == likes[u] else 1.0) if (u, i) in held else v)
        for (u, i, _), v in zip(raw, values, strict=True)
    ]
    return Dataset.load_from_df(
        pd.DataFrame(rows, columns=["user", "item", "rating"]), Reader(rating_scale=(0.5, 5))
    ), cv


@pytest.mark.parametrize("cls", [LLMTokensSVD, LLMTokensBPMF, LLMTokensContent])
def test_a_secret_of_the_test_fold_is_not_found_by_cross_validation_or_searches(cls):
    """What a model with tokens of history foretells of the held-out fold is what one without
    foretells; tokens made of all ratings would know it (the control below)."""
    data, cv = with_a_secret()
    short = {"n_samples": 8, "burn_in": 4, "n_factors": 3, "n_content": 4, "random_state": 0}
    given = {LLMTokensSVD: {"random_state": 0, "n_factors": 8}, LLMTokensBPMF: short}.get(cls, {})

    class Algorithm(cls):
        """With parameters that a grid can hold."""

        def __init__(self, user_tokens=None):
            super().__init__(item_tokens=ITEMS, user_tokens=user_tokens, **given)

    def first_fold(users):
        return cross_validate(Algorithm(users), data, ["rmse"], cv)["test_rmse"][0]

    with_, without = first_fold("history"), first_fold(None)
    assert with_ > without - 0.02
    grid = GridSearchCV(Algorithm, {"user_tokens": ["history", None]}, ["rmse"], cv)
    grid.fit(data)
    found = grid.cv_results["split0_test_rmse"]
    assert found == pytest.approx([with_, without])


def test_tokens_of_history_made_of_all_ratings_would_give_the_secret_away():
    """The control: the secret is there to be found, by a model that sees the fold."""
    data, cv = with_a_secret()
    train, test = next(cv.split(data))
    frame = pd.DataFrame([row[:3] for row in data.raw_ratings], columns=["user", "item", "rating"])
    seen = LLMTokens.from_history(frame, ITEMS)
    with pytest.raises(DataError, match="seen other ratings"):
        LLMTokensContent(ITEMS, user_tokens=seen).fit(train)
    same = LLMTokens.from_embeddings(seen.ids, seen.vectors)  # the table, not knowing what it saw
    told, honest = (
        np.corrcoef(
            [p.est for p in LLMTokensContent(ITEMS, user_tokens=users).fit(train).test(test)],
            [r for *_, r in test],
        )[0, 1]
        for users in (same, "history")
    )
    assert told > honest + 0.1
