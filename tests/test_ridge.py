import numpy as np
import pytest
from sklearn.linear_model import Ridge

from llmtokens.algorithms.ridge import TokenRidge


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(60, 5))
    counts = rng.integers(0, 30, 50)
    targets = tokens[:50] @ rng.normal(size=(5, 3)) + rng.normal(size=(50, 3))
    return tokens, counts, targets


def by_hand(tokens, counts, targets, strength, rows):
    """Fit on some of the rated rows with scikit-learn."""
    weight = counts / (1 + counts / 200)
    model = Ridge(alpha=strength).fit(tokens[rows], targets[rows], sample_weight=weight[rows])
    return model.predict(tokens)


def test_it_predicts_as_a_weighted_ridge_of_the_best_leave_one_out_strength(problem):
    tokens, counts, targets = problem
    rated = np.flatnonzero(counts)
    weight = counts / (1 + counts / 200)
    centre = weight[rated] @ tokens[rated] / weight[rated].sum()
    scaled = (tokens[rated] - centre) * np.sqrt(weight[rated])[:, None]
    grid = np.linalg.eigvalsh(scaled.T @ scaled).mean() * 10.0 ** np.arange(-3, 5.01, 0.5)
    losses = []
    for strength in grid:
        loss = 0.0
        for row in rated:
            others = rated[rated != row]
            error = targets[row] - by_hand(tokens, counts, targets, strength, others)[row]
            loss += weight[row] * (error**2).sum()
        losses.append(loss)
    best = grid[int(np.argmin(losses))]
    expected = by_hand(tokens, counts, targets, best, rated)
    np.testing.assert_allclose(TokenRidge(tokens, counts).predict(targets), expected, atol=1e-8)


def test_tokens_that_say_nothing_give_the_weighted_mean():
    rng = np.random.default_rng(3)
    tokens, counts, targets = rng.normal(size=(200, 40)), np.full(200, 9), rng.normal(size=(200, 1))
    assert np.ptp(TokenRidge(tokens, counts).predict(targets)) < 0.2 * np.std(targets)


def test_without_tokens_everybody_gets_the_weighted_mean(problem):
    _, counts, targets = problem
    weight = counts / (1 + counts / 200)
    predicted = TokenRidge(np.zeros((60, 0)), counts).predict(targets)
    np.testing.assert_allclose(predicted, np.tile(weight @ targets / weight.sum(), (60, 1)))


def test_the_judge_decides_which_errors_count(problem):
    tokens, counts, targets = problem
    noise = np.random.default_rng(1).normal(size=(50, 1)) * 100
    both = np.hstack([targets, noise])
    judged = TokenRidge(tokens, counts).predict(both, judge=np.eye(4)[:, :3])[:, :3]
    alone = TokenRidge(tokens, counts).predict(targets)
    np.testing.assert_allclose(judged, alone, atol=1e-8)
