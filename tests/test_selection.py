"""The selection correction, against slow derivations and planted users."""

from __future__ import annotations

import numpy as np
import pytest
from surprise import Dataset, Reader

from llmtokens.algorithms import selection
from llmtokens.algorithms.selection import Correction
from llmtokens.data.ratings import Ratings
from llmtokens.kernels import selection as kernels

N_USERS, N_ITEMS, C = 300, 80, 3


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    rows = [
        (u, i, float(rng.integers(1, 6)))
        for u in range(N_USERS)
        for i in rng.choice(N_ITEMS, rng.integers(5, 40), replace=False)
    ]
    data = Dataset(Reader(rating_scale=(1, 5)))
    return Ratings.from_trainset(data.construct_trainset([(*row, None) for row in rows]))


def planted(ratings, seed=1, spread=0.5, noise=0.7):
    """Leading dims, users' rows in both regressions, and what they make of the ratings."""
    rng = np.random.default_rng(seed)
    lead = rng.standard_normal((ratings.n_items, C)).astype(np.float32)
    rows = spread * rng.standard_normal((2, ratings.n_users, C + 1)) + [0, 0, 0, 0.4]
    centre = ratings.item_counts @ lead.astype(float) / ratings.n
    x = np.column_stack([lead - centre, np.ones(len(lead))])[ratings.item]
    means = np.einsum("nd,snd->sn", x, rows[:, ratings.user])
    gap = means[0] + noise * rng.standard_normal(ratings.n)
    rest = means.sum(axis=0) + noise * rng.standard_normal(ratings.n)
    return lead, rows, x, gap, rest


def learn(ratings, lead, gap, rest):
    return Correction.learn(ratings, lead, lambda at: (ratings.item[at], gap[at], rest[at]))


def test_the_rows_of_users_and_their_prior_are_found(ratings):
    lead, rows, _, gap, rest = planted(ratings)
    made, found = learn(ratings, lead, gap, rest)
    many = ratings.user_counts > 25
    assert np.corrcoef(found[many].ravel(), rows.sum(axis=0)[many].ravel())[0, 1] > 0.9
    assert made.noise[0] == pytest.approx(0.49, rel=0.1)
    assert np.diag(made.spread[0]) == pytest.approx(np.full(C + 1, 0.25), rel=0.3)
    assert made.mean.sum(axis=0)[-1] == pytest.approx(0.8, abs=0.15)


def test_a_step_of_em_expects_what_the_posterior_of_every_user_says(ratings):
    lead, _, _, gap, _ = planted(ratings)
    rng, n, d = np.random.default_rng(2), ratings.n_users, C + 1
    square, along, size = np.empty((n, d, d)), np.empty((n, 1, d)), np.empty((n, 1))
    design = np.column_stack([lead, np.ones(len(lead))])
    kernels.user_products(
        (0, n), ratings.user_ptr, ratings.item, design.astype(float), gap[None], square, along, size
    )
    mean, root = rng.standard_normal(d), rng.standard_normal((d, d))
    precision, noise = root @ root.T + np.eye(d), 0.6
    prior = mean, np.linalg.inv(precision), noise
    rows, spread, errors = selection._expectation(square, along[:, 0], size[:, 0], *prior)
    total, open_ = 0.0, np.zeros((d, d))
    for u in range(n):
        mine = ratings.user == u
        xu, y = design[ratings.item[mine]].astype(float), gap[mine]
        covariance = np.linalg.inv(precision + xu.T @ xu / noise)
        row = covariance @ (precision @ mean + xu.T @ y / noise)
        np.testing.assert_allclose(rows[u], row, rtol=1e-8, atol=1e-10)
        total += np.sum((y - xu @ row) ** 2) + np.trace(xu @ covariance @ xu.T)
        open_ += covariance
    np.testing.assert_allclose(spread, open_, rtol=1e-8)
    assert errors == pytest.approx(total, rel=1e-8)


def test_a_user_alone_gets_the_same_row(ratings):
    lead, _, _, gap, rest = planted(ratings)
    made, rows = learn(ratings, lead, gap, rest)
    for u in (0, 17, ratings.n_users - 1):
        mine = slice(ratings.user_ptr[u], ratings.user_ptr[u + 1])
        args = lead[ratings.item[mine]], gap[mine], rest[mine]
        alone = made.row(*args, np.ones(len(args[1])))
        np.testing.assert_allclose(alone, rows[u], rtol=1e-8, atol=1e-10)
    nothing = made.row(lead[:0], np.zeros(0), np.zeros(0), np.zeros(0))
    np.testing.assert_allclose(nothing, [0, 0, 0, made.mean[:, -1].sum()], atol=1e-12)


def test_users_beyond_the_judges_get_their_rows_too(ratings, monkeypatch):
    lead, rows, _, gap, rest = planted(ratings)
    monkeypatch.setattr(selection, "_JUDGES", 70)
    some = learn(ratings, lead, gap, rest)[1]
    assert np.corrcoef(some.ravel(), learn_all(ratings, lead, gap, rest).ravel())[0, 1] > 0.98
    assert np.corrcoef(some.ravel(), rows.sum(axis=0).ravel())[0, 1] > 0.8


def learn_all(ratings, lead, gap, rest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_JUDGES", 10_000)
        return learn(ratings, lead, gap, rest)[1]


def test_what_all_users_share_is_left_to_the_text(ratings):
    lead, _, x, gap, rest = planted(ratings, spread=0.0)
    common = x[:, :C] @ [1.0, -2.0, 0.5]
    _, rows = learn(ratings, lead, gap + common, rest + common)
    assert np.abs(rows[:, :C]).max() < 0.2
    assert np.abs(rows[:, :C]).mean() < 0.05


def test_a_user_without_ratings_gets_what_a_rating_is_corrected_by_on_average(ratings):
    lead, _, x, gap, rest = planted(ratings)
    made, rows = learn(ratings, lead, gap, rest)
    usual = np.mean(np.sum(x * rows[ratings.user], axis=1))
    picks = made.selection(rows, ratings.n_users + 2)
    np.testing.assert_allclose(picks[-2:], [[0, 0, 0, usual]] * 2, atol=1e-6)
    np.testing.assert_allclose(picks[:-2], rows, atol=1e-6)


def test_ratings_of_another_size_have_corrections_of_that_size(ratings):
    lead, _, _, gap, rest = planted(ratings)
    made, _ = learn(ratings, lead, gap, rest)
    args = lead[ratings.item[:9]], gap[:9], rest[:9], np.ones(9)
    ten = made.times(10.0).row(args[0], args[1] * 10, args[2] * 10, args[3])
    np.testing.assert_allclose(ten, 10 * made.row(*args), rtol=1e-9)
