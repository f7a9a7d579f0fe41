"""The mathematics of every kernel of SVD agrees with another derivation."""

import numpy as np
import pytest

from llmtokens.kernels import sgd


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    counts = np.array([3, 0, 5, 2])
    n = counts.sum()
    return {
        "ptr": np.concatenate([[0], np.cumsum(counts)]),
        "user": np.repeat(np.arange(4), counts),
        "item": rng.integers(0, 6, n).astype(np.int32),
        "value": rng.normal(size=n),
        "pu": rng.normal(size=(4, 3)),
        "qi": rng.normal(size=(6, 3)),
        "bu": rng.normal(size=4),
        "bi": rng.normal(size=6),
    }


def epoch(kernel, d, dtype):
    state = [d[x].astype(dtype) for x in ("bu", "bi", "pu", "qi")]
    lr, reg = np.full(4, 0.05, dtype), np.full(4, 0.02, dtype)
    kernel(
        np.array([2, 0, 3, 1]), d["ptr"], d["item"], d["value"].astype(dtype), dtype(0.3),
        (state[0], state[1]), (state[2], state[3]), lr, reg,
    )  # fmt: skip
    return state


def test_the_exact_epoch_is_its_plain_python_to_the_last_bit(data):
    for a, b in zip(
        epoch(sgd.sgd_epoch.py_func, data, np.float64),
        epoch(sgd.sgd_epoch_exact, data, np.float64),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_the_fast_epoch_is_the_exact_one_up_to_rounding(data):
    for a, b in zip(
        epoch(sgd.sgd_epoch_exact, data, np.float64),
        epoch(sgd.sgd_epoch, data, np.float32),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_step_is_the_gradient_of_the_loss(data):
    def loss(x):
        p, q, bu, bi = x[:3], x[3:6], x[6], x[7]
        return 0.5 * (1.5 - (0.3 + bu + bi + p @ q)) ** 2 + 0.01 * x @ x

    x = np.random.default_rng(1).normal(size=8)
    numeric = [(loss(x + h) - loss(x - h)) / 2e-6 for h in np.eye(8) * 1e-6]
    state = [x[6:7].copy(), x[7:8].copy(), x[None, :3].copy(), x[None, 3:6].copy()]
    sgd.sgd_epoch_exact(
        np.array([0]), np.array([0, 1]), np.array([0], np.int32), np.array([1.5]), 0.3,
        (state[0], state[1]), (state[2], state[3]), np.full(4, 0.1), np.full(4, 0.02),
    )  # fmt: skip
    after = np.concatenate([state[2][0], state[3][0], state[0], state[1]])
    np.testing.assert_allclose((x - after) / 0.1, numeric, atol=1e-6)


def test_baselines_minimise_the_penalised_squares(data):
    bu, bi = np.zeros(4), np.zeros(6)
    sgd.als_baselines(data["ptr"], data["item"], data["value"], bu, bi, 2.0, 3.0, 500)
    design = np.zeros((len(data["item"]), 10))
    design[np.arange(len(design)), data["user"]] = 1
    design[np.arange(len(design)), 4 + data["item"]] = 1
    penalty = np.diag([2.0] * 4 + [3.0] * 6)
    exact = np.linalg.solve(design.T @ design + penalty, design.T @ data["value"])
    np.testing.assert_allclose(np.concatenate([bu, bi]), exact, atol=1e-10)


def test_profiles_and_their_leave_one_out_scores_are_as_defined(data):
    pu, moments = np.zeros((4, 3)), np.zeros((2, 2))
    sgd.user_profiles(data["ptr"], data["item"], data["value"], data["qi"], 2, 10.0, pu, moments)
    expected = np.zeros((2, 2))
    for u in range(4):
        mine = np.flatnonzero(data["user"] == u)
        total = data["value"][mine] @ data["qi"][data["item"][mine]]
        np.testing.assert_allclose(pu[u], total / (len(mine) + 10))
        for e in mine:
            t = data["qi"][data["item"][e]]
            rest = (total - data["value"][e] * t) / (len(mine) + 10)
            for k, part in enumerate((slice(0, 2), slice(2, 3))):
                score = rest[part] @ t[part]
                expected[k] += score * data["value"][e], score**2
    np.testing.assert_allclose(moments, expected)


def test_sums_over_either_side_are_products_with_the_pattern(data):
    pattern = np.zeros((4, 6))
    np.add.at(pattern, (data["user"], data["item"]), 1)
    items, users = np.zeros((6, 3)), np.zeros((4, 3))
    sgd.sum_over_users(data["ptr"], data["item"], data["pu"], items)
    sgd.sum_over_items(data["ptr"], data["item"], data["qi"], users)
    np.testing.assert_allclose(items, pattern.T @ data["pu"])
    np.testing.assert_allclose(users, pattern @ data["qi"])


def test_pair_dots_are_inner_products(data):
    out = np.zeros(len(data["item"]))
    sgd.pair_dots(data["user"], data["item"].astype(np.int64), data["pu"], data["qi"], out)
    np.testing.assert_allclose(out, (data["pu"][data["user"]] * data["qi"][data["item"]]).sum(1))
