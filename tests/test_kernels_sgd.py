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
        "item": np.concatenate([rng.permutation(6)[:k] for k in counts]).astype(np.int32),
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
        (state[0], state[1]), (state[2], state[3]), 3, lr, reg,
    )  # fmt: skip
    return state


def test_the_exact_epoch_is_its_plain_python_to_the_last_bit(data):
    for a, b in zip(
        epoch(sgd.sgd_epoch_exact.py_func, data, np.float64),
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
        (state[0], state[1]), (state[2], state[3]), 3, np.full(4, 0.1), np.full(4, 0.02),
    )  # fmt: skip
    after = np.concatenate([state[2][0], state[3][0], state[0], state[1]])
    np.testing.assert_allclose((x - after) / 0.1, numeric, atol=1e-6)


def test_a_step_when_an_item_follows_itself_knows_the_new_factors():
    """Surprise takes a pair twice where a data set has it twice."""
    rng = np.random.default_rng(2)
    p, q = rng.normal(size=(1, 8)), rng.normal(size=(2, 8))
    pu, qi, bu, bi = p.copy(), q.copy(), np.zeros(1), np.zeros(2)
    sgd.sgd_epoch_exact(
        np.array([0]), np.array([0, 3]), np.array([1, 1, 0], np.int32), np.array([1.0, -2.0, 3.0]),
        0.3, (bu, bi), (pu, qi), 8, np.full(4, 0.1), np.full(4, 0.02),
    )  # fmt: skip
    x, y, b, c = p[0].copy(), q.copy(), 0.0, np.zeros(2)
    for i, r in ((1, 1.0), (1, -2.0), (0, 3.0)):
        err = r - (0.3 + b + c[i] + x @ y[i])
        b, c[i] = b + 0.1 * (err - 0.02 * b), c[i] + 0.1 * (err - 0.02 * c[i])
        x, y[i] = x + 0.1 * (err * y[i] - 0.02 * x), y[i] + 0.1 * (err * x - 0.02 * y[i])
    found = np.concatenate([pu[0], qi.ravel(), bu, bi])
    np.testing.assert_allclose(found, np.concatenate([x, y.ravel(), [b], c]), rtol=1e-12)


def test_totals_and_rests_are_as_defined(data):
    item, user, y, bu, bi = (data[x] for x in ("item", "user", "value", "bu", "bi"))
    of_items, of_users, rests = np.empty(6), np.empty(4), np.empty(len(y))
    rated, slope = (data["ptr"], item, y), np.arange(6.0)
    sgd.item_totals(*rated, bu, of_items)
    sgd.user_totals((0, 4), *rated, slope, bi, of_users)
    sgd.without_baselines((0, 4), *rated, bu, bi, rests)
    np.testing.assert_allclose(of_items, np.bincount(item, y - bu[user], 6))
    np.testing.assert_allclose(of_users, np.bincount(user, slope[item] * y - bi[item], 4))
    np.testing.assert_allclose(rests, y - bu[user] - bi[item])


def test_profiles_and_their_leave_one_out_scores_are_as_defined(data):
    pu, moments = np.empty((4, 3)), np.empty((4, 2, 2))
    rated = data["ptr"], data["item"], data["value"]
    sgd.user_profiles((0, 4), *rated, data["qi"], 2, 10.0, pu, moments)
    expected = np.zeros((4, 2, 2))
    for u in range(4):
        mine = np.flatnonzero(data["user"] == u)
        total = data["value"][mine] @ data["qi"][data["item"][mine]]
        np.testing.assert_allclose(pu[u], total / (len(mine) + 10))
        for e in mine:
            t = data["qi"][data["item"][e]]
            rest = (total - data["value"][e] * t) / (len(mine) + 10)
            for k, part in enumerate((slice(0, 2), slice(2, 3))):
                score = rest[part] @ t[part]
                expected[u, k] += score * data["value"][e], score**2
    np.testing.assert_allclose(moments, expected)


def test_sums_over_either_side_are_products_with_the_pattern(data):
    pattern = np.zeros((4, 6))
    np.add.at(pattern, (data["user"], data["item"]), 1)
    items, users = np.zeros((6, 3)), np.zeros((4, 3))
    sgd.sum_over_users(data["ptr"], data["item"], data["pu"], items)
    sgd.sum_over_items((0, 4), data["ptr"], data["item"], data["qi"], users)
    np.testing.assert_allclose(items, pattern.T @ data["pu"])
    np.testing.assert_allclose(users, pattern @ data["qi"])


def test_pair_dots_are_inner_products(data):
    out = np.zeros(len(data["item"]))
    sgd.pair_dots(data["user"], data["item"].astype(np.int64), data["pu"], data["qi"], out)
    np.testing.assert_allclose(out, (data["pu"][data["user"]] * data["qi"][data["item"]]).sum(1))
