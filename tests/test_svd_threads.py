"""Ratings in blocks: every rating once, and the same bits for any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from algorithms import DATA, TOKENS

from llmtokens import LLMTokensSVD
from llmtokens.algorithms.svd import visits
from llmtokens.algorithms.svd.visits import Visits
from llmtokens.data.ratings import Ratings


@pytest.fixture(scope="module")
def trainset():
    return DATA.dataset.build_full_trainset()


@pytest.fixture
def divided(monkeypatch):
    """Few ratings are many, and few of a user worth a visit."""
    monkeypatch.setattr(visits, "_WORTH_DIVIDING", 100)
    monkeypatch.setattr(visits, "_A_VISIT", 2)


def test_users_meet_blocks_in_the_same_order_one_by_one_and_at_once(divided, trainset):
    ratings = Ratings.from_trainset(trainset)
    plan = Visits.of(ratings, ratings.value, as_they_come=False)
    assert plan.n_blocks == 4
    order = np.random.default_rng(0).permutation(ratings.n_users)

    def seen(threads):
        met = []
        plan.run(lambda *cell: met.append(cell), order, threads)
        of_users = {u: [] for u in range(ratings.n_users)}
        of_items = {i: [] for i in range(ratings.n_items)}
        for users, (first, end) in met:
            for u in users:
                for e in range(plan.ends[u, first], plan.ends[u, end]):
                    of_users[u].append(e)
                    of_items[plan.item[e]].append(u)
        return of_users, of_items

    alone = seen(None)
    with ThreadPoolExecutor(1) as pool:
        assert seen(pool) == alone
    assert sum(map(len, alone[0].values())) == ratings.n
    assert sorted(e for mine in alone[0].values() for e in mine) == list(range(ratings.n))


def test_what_runs_at_once_shares_neither_users_nor_items(divided, trainset):
    ratings = Ratings.from_trainset(trainset)
    plan = Visits.of(ratings, ratings.value, as_they_come=False)

    class Rounds:
        def map(self, call, *cells):
            users, items = [], []
            for mine, (first, end) in zip(*cells, strict=True):
                users.append(set(mine.tolist()))
                at = plan.ends[:, [first, end]]
                items.append({i for u in mine for i in plan.item[slice(*at[u])].tolist()})
            for groups in (users, items):
                assert sum(map(len, groups)) == len(set().union(*groups))
            return []

    plan.run(lambda *_: None, np.arange(ratings.n_users), Rounds())


@pytest.mark.parametrize("tokens", [TOKENS, None])
def test_any_number_of_threads_gives_the_same_bits(divided, trainset, tokens):
    before, made = numba.get_num_threads(), []
    try:
        for n in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(n)
            algo = LLMTokensSVD(item_tokens=tokens, n_epochs=3, random_state=0)
            made.append(algo.fit(trainset).model_)
    finally:
        numba.set_num_threads(before)
    for name in ("pu", "qi", "bu", "bi", "selection"):
        np.testing.assert_array_equal(getattr(made[0], name), getattr(made[1], name))


def test_visits_in_blocks_learn_as_much_as_visits_user_by_user(divided, trainset, monkeypatch):
    def error():
        algo = LLMTokensSVD(item_tokens=TOKENS, random_state=0).fit(trainset)
        found = algo.test(trainset.build_testset())
        return np.sqrt(np.mean([(p.r_ui - p.est) ** 2 for p in found]))

    in_blocks = error()
    monkeypatch.setattr(visits, "_WORTH_DIVIDING", 10**9)
    assert in_blocks == pytest.approx(error(), rel=0.01)


def test_without_shuffling_users_are_visited_as_surprise_visits_them(divided, trainset):
    from surprise import SVD

    ours = LLMTokensSVD(n_epochs=2, shuffle=False, dtype="float64", random_state=0).fit(trainset)
    theirs = SVD(n_epochs=2, random_state=0).fit(trainset)
    for name in ("bu", "bi", "pu", "qi"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("n_factors", [1, 2])
def test_one_factor_is_enough(trainset, n_factors):
    algo = LLMTokensSVD(item_tokens=TOKENS, n_factors=n_factors, n_epochs=1, random_state=0)
    assert algo.fit(trainset).qi.shape[1] == n_factors
