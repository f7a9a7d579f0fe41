"""What a user likes, as a portrait says it."""

import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make

from llmtokens import HashingEncoder, LLMTokens, LLMTokensContent, LLMTokensEASE, LLMTokensSVD
from llmtokens.algorithms.bpmf import LLMTokensBPMF
from llmtokens.controls import shuffled

N_ITEMS = 120
GENRES = np.random.default_rng(1).choice(["Western", "Musical", "Drama"], N_ITEMS)
ITEMS = pd.DataFrame(
    {
        "item": range(N_ITEMS),
        "title": [f"{'saddle' if g == 'Western' else 'lantern'} {k}" for k, g in enumerate(GENRES)],
        "genres": GENRES,
    }
)
PLANTED = LLMTokens.from_frame(ITEMS, "{title}", categorical="genres", encoder=HashingEncoder())
BUILD = {
    "SVD": lambda: LLMTokensSVD(item_tokens=PLANTED, n_factors=8, random_state=0),
    "BPMF": lambda: LLMTokensBPMF(
        item_tokens=PLANTED, n_factors=4, n_samples=40, burn_in=20, random_state=0
    ),
    "Content": lambda: LLMTokensContent(PLANTED),
    "EASE": lambda: LLMTokensEASE(PLANTED),
}


def planted():
    """Even users love westerns and hate musicals, odd ones the other way round."""
    rng, rows = np.random.default_rng(2), []
    for user in range(60):
        sign = 1 if user % 2 == 0 else -1
        for item in rng.choice(N_ITEMS - 20, 40, replace=False):  # the last twenty have no ratings
            of = {"Western": sign, "Musical": -sign, "Drama": 0}[GENRES[item]]
            rows.append((user, int(item), float(np.clip(3 + of + rng.normal(0, 0.5), 1, 5))))
    return rows


@pytest.fixture(scope="module", params=BUILD)
def algo(request):
    return BUILD[request.param]().fit(full(planted()))


def test_a_planted_taste_is_found_by_its_labels_its_words_and_in_its_items(algo):
    clear = 0
    for user in range(20):
        loved, hated = ("Western", "Musical") if user % 2 == 0 else ("Musical", "Western")
        found = algo.portrait(user, n=5).set_index("name")
        liking = found["liking"].drop("Drama", errors="ignore")
        for name, sign in ((loved, 1), (hated, -1)):
            word = "saddle" if name == "Western" else "lantern"
            said = liking[liking.index.intersection([name, word])]
            assert (np.sign(said) == sign).all()
            clear += len(said)
        best = found.index[(found["kind"] == "item") & (found["liking"] > 0)]
        of = ITEMS.set_index("title")["genres"]
        assert (of[best] == loved).mean() >= 0.6
    # to EASE a low rating is a faint choice, and no dislike
    assert clear >= (15 if isinstance(algo, LLMTokensEASE) else 60)


@pytest.mark.parametrize(
    "name", [k for k, (_, given) in ALGORITHMS.items() if "item_tokens" in given]
)
def test_every_algorithm_with_item_tokens_draws_portraits(name):
    algo = make(name).fit(DATA.dataset.build_full_trainset())
    found = algo.portrait(1, n=3)
    told = np.nanstd(np.atleast_2d(algo.model_.taste(algo.model_.users.row(1))).mean(axis=0)) > 1e-9
    assert len(found[found["kind"] == "item"]) == (6 if told else 0)
    assert (found["std"].notna() == ("BPMF" in name)).all()
    clear = found[found["kind"] != "item"]
    assert (clear["liking"].abs() > 2 * clear["chance"]).all()
    for _, part in found.groupby("kind"):
        assert part["liking"].is_monotonic_decreasing
        assert len(part) <= 6


def test_counts_are_of_items_with_the_name_and_of_those_the_user_has_rated():
    algo = make("LLMTokensBPMF").fit(DATA.dataset.build_full_trainset())
    mine = set(DATA.ratings.loc[DATA.ratings["user"] == 1, "item"])
    seen = False
    for user in range(1, 20):
        found = algo.portrait(user)
        for row in found[found["kind"] == "genres"].itertuples():
            having = {i for i, said in zip(TOKENS.ids, TOKENS.columns["genres"], strict=True)
                      if row.name in said}  # fmt: skip
            assert row.items == len(having)
            if user == 1:
                assert row.rated == len(having & mine)
            seen = True
    assert seen


@pytest.mark.parametrize("name", ["SVD", "BPMF"])
def test_taste_is_what_sets_estimates_of_items_without_ratings_apart_from_those_of_others(name):
    """Of these there is nothing but content to go by."""
    model = BUILD[name]().fit(full(planted())).model_
    cold = np.array([model.items.row(item) for item in range(N_ITEMS - 20, N_ITEMS)])
    taste = np.atleast_2d(model.taste(0)).mean(axis=0)[cold]
    mine, usual = (
        model.score(np.full(len(cold), user), cold)[0] - model.newcomer_terms(
            np.full(len(cold), user), cold) * getattr(model, "std", 1.0)
        for user in (0, model.users.unknown)
    )  # fmt: skip
    apart = mine - usual
    assert np.std(apart) > 0.1
    np.testing.assert_allclose(taste - taste.mean(), apart - apart.mean(), atol=2e-3)


def test_who_has_rated_little_is_known_less_surely():
    algo = BUILD["BPMF"]().fit(full(planted()))
    given = {item: 4.0 if GENRES[item] == "Western" else 2.0 for item in range(60)}
    algo.fold_in("much", given).fold_in("little", dict(list(given.items())[:3]))
    samples = {uid: algo.model_.taste(algo.model_.users.row(uid)) for uid in ("much", "little")}
    spread = {uid: np.std(taste - taste.mean(axis=1, keepdims=True), axis=0).mean()
              for uid, taste in samples.items()}  # fmt: skip
    assert spread["little"] > 1.5 * spread["much"]


def test_tokens_that_say_nothing_give_a_portrait_without_words():
    """The control: the same tokens shuffled among the items."""
    algo = LLMTokensSVD(item_tokens=shuffled(PLANTED, random_state=0), random_state=0)
    found = [algo.fit(full(planted())).portrait(user) for user in range(6)]
    assert sum(len(part[part["kind"] != "item"]) for part in found) == 0
