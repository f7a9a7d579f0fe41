"""One model that some threads learn on and others read: every answer is that of a serial order."""

import copy
import os
import sys
import threading
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from algorithms import DATA, TOKENS, full, make

from llmtokens.runtime.threads import one_blas_thread

ROUNDS = int(os.environ.get("LLMTOKENS_ROUNDS", 6))  # of each thread that learns
ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN = full(ROWS)
USERS, ITEMS = sorted({row[0] for row in ROWS}), sorted({row[1] for row in ROWS})
NEW_USERS = [[f"user {k} of {t}" for k in range(ROUNDS)] for t in range(2)]
NEW_ITEMS = [[f"item {k} of {t}" for k in range(ROUNDS)] for t in range(2)]


@pytest.fixture(autouse=True)
def threads_take_turns_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def taste(uid):
    """Some ratings of known items that a new user gives, each user others."""
    rng = np.random.default_rng(sum(map(ord, uid)))
    return {int(i): float(rng.integers(1, 6)) for i in rng.choice(ITEMS, 8, replace=False)}


def welcome(iid):
    """Some ratings by known users that a new item gets."""
    rng = np.random.default_rng(sum(map(ord, iid)))
    return {int(u): float(rng.integers(1, 6)) for u in rng.choice(USERS, 5, replace=False)}


def run(jobs, readers):
    """Each of ``jobs`` once, beside them ``readers`` again and again until these have ended."""
    ended, failures, rounds = threading.Event(), [], [0] * len(readers)

    def guarded(work):
        try:
            work()
        except BaseException as error:
            failures.append(error)

    def reading(k):
        while not ended.is_set() and not failures:
            readers[k]()
            rounds[k] += 1

    at_work = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    beside = [
        threading.Thread(target=guarded, args=(lambda k=k: reading(k),))
        for k in range(len(readers))
    ]
    for thread in beside + at_work:
        thread.start()
    for thread in at_work:
        thread.join()
    ended.set()
    for thread in beside:
        thread.join()
    if failures:
        raise failures[0]
    assert all(rounds)


@pytest.mark.parametrize(
    "name", ["LLMTokensSVD", "LLMTokensBPMF", "LLMTokensContent", "LLMTokensEASE"]
)
def test_four_threads_learn_while_four_read(name):
    """New users rate old items and old users rate new ones, so that what is learned of each does
    not depend on the order, and is compared to the last bit. (Items change what EASE says of all
    others: there only users come, and their means, which know of others, play no part.)"""
    algo = make(name, **({"implicit": True} if name == "LLMTokensEASE" else {})).fit(TRAIN)
    new_items = [] if name == "LLMTokensEASE" else NEW_ITEMS
    serial, all_users, all_items = copy.copy(algo), [*chain(*NEW_USERS)], [*chain(*new_items)]
    cold = serial.predict("nobody", ITEMS[0]).est
    known = [(u, i) for u in USERS[:5] for i in ITEMS[:8]]
    old = [serial.predict(u, i).est for u, i in known]
    for uid in all_users:
        serial.fold_in(uid, taste(uid))
    for iid in all_items:
        serial.fold_in_item(iid, f"about {iid}", welcome(iid))
    warm = {uid: serial.predict(uid, ITEMS[0]).est for uid in all_users}
    text = {iid: serial.predict(USERS[0], iid).est for iid in all_items}

    def users(theirs):
        for uid in theirs:
            algo.fold_in(uid, taste(uid))
            assert algo.predict(uid, ITEMS[0]).est == warm[uid]

    def items(theirs):
        for iid in theirs:
            algo.fold_in_item(iid, f"about {iid}", welcome(iid))
            assert algo.predict(USERS[0], iid).est == text[iid]

    def lists_keep_to_the_candidates():
        found = algo.recommend(USERS[3], n=5, candidates=ITEMS[:20], exclude_seen=False)
        assert set(found["item"]) <= set(ITEMS[:20])
        np.testing.assert_array_equal(found["est"], algo.model_.estimates(*rows(found))[0])

    def rows(found):
        model = algo.model_
        return model.users.rows([USERS[3]] * len(found)), model.items.rows(found["item"])

    def what_is_old_stays_and_what_is_new_comes_in_order():
        pairs = known + [(uid, ITEMS[0]) for uid in all_users]
        est = [p.est for p in algo.test([(*pair, None) for pair in pairs])]
        assert est[: len(known)] == old
        for theirs, found in zip(NEW_USERS, np.split(np.array(est[len(known) :]), 2), strict=True):
            come = [value == warm[uid] for uid, value in zip(theirs, found, strict=True)]
            assert all(value == cold for value, here in zip(found, come, strict=True) if not here)
            assert come == sorted(come, reverse=True)

    def reasons_add_up():
        why = algo.explain(USERS[1], ITEMS[2])
        assert sum(why.terms.values()) == pytest.approx(why.est, abs=1e-9)
        assert len(why.rated) == sum(row[0] == USERS[1] for row in ROWS) + sum(
            USERS[1] in welcome(iid) for iid in all_items if iid in set(why.rated["item"])
        )

    def questions_name_what_there_is():
        assert set(algo.ask("a storm at sea", n=3)["item"]) <= set(TOKENS.ids) | set(text)

    run(
        [lambda mine=mine: users(mine) for mine in NEW_USERS]
        + [lambda mine=mine: items(mine) for mine in new_items],
        [
            lists_keep_to_the_candidates, what_is_old_stays_and_what_is_new_comes_in_order,
            reasons_add_up, questions_name_what_there_is,
        ],
    )  # fmt: skip
    assert set(algo.users_.ids) == set(serial.users_.ids)
    assert set(algo.items_.ids) == set(serial.items_.ids)
    assert algo.ratings_.n == serial.ratings_.n
    for uid in algo.users_.ids:
        for iid in (ITEMS[0], *text):
            assert algo.predict(uid, iid).est == serial.predict(uid, iid).est


def test_a_fit_waits_for_what_is_being_learned_and_then_stands():
    algo = make("LLMTokensSVD").fit(TRAIN)
    again = make("LLMTokensSVD").fit(TRAIN).predict("user 0 of 0", ITEMS[0]).est
    run(
        [lambda: [algo.fold_in(uid, taste(uid)) for uid in NEW_USERS[0]], lambda: algo.fit(TRAIN)],
        [lambda: algo.recommend(USERS[0])],
    )
    come = [uid in algo.users_.ids for uid in NEW_USERS[0]]
    assert come == sorted(come)  # those before the fit are forgotten, those after it are not
    if not come[0]:
        assert algo.predict("user 0 of 0", ITEMS[0]).est == again


def test_copies_of_a_model_do_not_wait_for_each_other_nor_know_what_the_other_learned():
    one = make("LLMTokensSVD").fit(TRAIN)
    other = copy.deepcopy(one)
    run(
        [lambda: one.fold_in("a", taste("a")), lambda: other.fold_in("b", taste("b"))],
        [lambda: one.predict("a", ITEMS[0])],
    )
    assert ("a" in one.users_.ids, "b" in one.users_.ids) == (True, False)
    assert ("a" in other.users_.ids, "b" in other.users_.ids) == (False, True)


def test_an_interrupt_cannot_come_between_a_lock_and_its_opening():
    """No line of ours runs there: Python's own lock is entered and left as a whole."""
    met = []

    def note(frame, event, argument):
        if event == "line":
            met.append(Path(frame.f_code.co_filename).name)
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        with one_blas_thread():
            pass
    finally:
        sys.settrace(before)
    assert "threads.py" in met
    assert "locks.py" not in met
