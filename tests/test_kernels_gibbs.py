import numba
import numpy as np
import pytest

from llmtokens.algorithms.bpmf.shards import ShardRatings
from llmtokens.kernels import gibbs, links
from llmtokens.runtime.threads import over_rows

N, M, C, K = 40, 60, 2, 5


WIDTH = (K + 2) * (K + 3) // 2


@pytest.fixture
def case():
    """Ratings of 40 users with 60 items, and everything the users' conditional needs."""
    rng = np.random.default_rng(0)
    met = rng.random((N, M)) < 0.1
    met[3] = False  # a row without ratings
    met[5, 3:] = True  # and one with many
    spread = rng.standard_normal((C + K, 50))
    return {
        "ptr": np.concatenate([[0], np.cumsum(met.sum(1))]).astype(np.int64),
        "idx": np.nonzero(met)[1].astype(np.int32),
        "y": rng.standard_normal(met.sum()).astype(np.float32),
        "design": rng.standard_normal((M, C + K)),
        "offset": rng.standard_normal(M),
        "row_prec": rng.gamma(3, 1, N),
        "other_prec": rng.gamma(3, 1, M),
        "prior_mean": rng.standard_normal((N, C + K)),
        "prior_prec": spread @ spread.T / 50 + np.eye(C + K),
        "normals": rng.standard_normal((N, C + K)),
    }


def drawn(case):
    out = np.zeros((len(case["ptr"]) - 1, C + K))
    over_rows(len(out), gibbs.sample_users, *case.values(), out, few=1)
    return out


def solved(case, r):
    """Row r's precision, conditional mean and draw, by the textbook."""
    at = slice(case["ptr"][r], case["ptr"][r + 1])
    others = case["idx"][at]
    d = case["design"][others]
    w = case["row_prec"][r] * case["other_prec"][others]
    residual = case["y"][at] - case["offset"][others]
    precision = case["prior_prec"] + d.T @ (w[:, None] * d)
    mean = np.linalg.solve(
        precision, case["prior_prec"] @ case["prior_mean"][r] + d.T @ (w * residual)
    )
    root = np.linalg.cholesky(precision)
    return precision, mean, mean + np.linalg.solve(root.T, case["normals"][r])


def test_a_user_is_drawn_as_np_linalg_solve_would(case):
    out = drawn(case)
    for r in range(N):
        np.testing.assert_allclose(out[r], solved(case, r)[2], atol=1e-12)


def test_many_draws_have_the_exact_mean_and_covariance_of_the_posterior(case):
    rng, n = np.random.default_rng(1), 20_000
    same = case | {
        "ptr": np.arange(n + 1) * 7,
        "idx": np.tile(case["idx"][:7], n),
        "y": np.tile(case["y"][:7], n),
        "normals": rng.standard_normal((n, C + K)),
    }
    for name in ("row_prec", "prior_mean"):
        same[name] = np.repeat(case[name][:1], n, axis=0)
    out = drawn(same)
    precision, centre, _ = solved(same, 0)
    covariance = np.linalg.inv(precision)
    error = np.sqrt(np.diag(covariance) / n)
    np.testing.assert_array_less(abs(out.mean(0) - centre), 4.5 * error)
    np.testing.assert_allclose(np.cov(out.T), covariance, atol=0.05 * covariance.max())


@pytest.fixture
def turned(case):
    """The same ratings from the items' side: what their products are made of."""
    rng = np.random.default_rng(1)
    rated = ShardRatings.of(case["ptr"], case["idx"], case["y"], M)
    users, precision = rng.standard_normal((N, C + K)), rng.gamma(3, 1, N)
    lead = rng.standard_normal((M, C))
    return rated.item_ptr, rated.user, rated.item_y, users, precision, lead


def products_of(turned):
    out = np.full((M, WIDTH), np.nan)
    over_rows(len(out), gibbs.item_products, *turned, out, few=1)
    return out


def textbook_products(turned, i):
    ptr, user, y, users, precision, lead = turned
    at = slice(ptr[i], ptr[i + 1])
    v = users[user[at]]
    x = v[:, :C] @ lead[i]
    z = np.column_stack([v[:, C:-1], np.ones(len(v)), x, y[at] - v[:, -1] - x])
    return z.T @ (precision[user[at]][:, None] * z)


def test_products_of_items_are_those_over_their_ratings(turned):
    out = products_of(turned)
    for i in range(M):
        made = textbook_products(turned, i)
        np.testing.assert_allclose(out[i], made[np.tril_indices(K + 2)], atol=1e-12)


def test_an_item_is_drawn_as_np_linalg_solve_would(turned):
    rng = np.random.default_rng(4)
    alpha, prior = rng.gamma(3, 1, M), rng.standard_normal((M, K))
    spread = rng.standard_normal((K, 50))
    precision = spread @ spread.T / 50 + np.eye(K)
    normals, out, mean = rng.standard_normal((M, K)), np.zeros((M, K)), np.zeros((M, K))
    given = products_of(turned), alpha, prior, precision, normals, out, mean
    gibbs.sample_items((0, M), *given)
    for i in range(M):
        z = textbook_products(turned, i)
        a = precision + alpha[i] * z[:K, :K]
        centre = np.linalg.solve(a, precision @ prior[i] + alpha[i] * z[:K, -1])
        np.testing.assert_allclose(mean[i], centre, atol=1e-12)
        draw = centre + np.linalg.solve(np.linalg.cholesky(a).T, normals[i])
        np.testing.assert_allclose(out[i], draw, atol=1e-12)


def test_rows_do_not_depend_on_the_number_of_threads(case, turned):
    before, results = numba.get_num_threads(), []
    try:
        for n in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(n)
            results.append((drawn(case), products_of(turned)))
    finally:
        numba.set_num_threads(before)
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)


def plainly(monkeypatch):
    """Every kernel as it was written, not as it was compiled."""
    for module in (gibbs, links):
        for name, kernel in vars(module).items():
            if hasattr(kernel, "py_func"):
                monkeypatch.setattr(module, name, kernel.py_func)


@pytest.mark.parametrize("of", [drawn, products_of])
def test_compiled_kernels_do_what_is_written(of, case, turned, monkeypatch):
    given = case if of is drawn else turned
    compiled = of(given)
    plainly(monkeypatch)
    np.testing.assert_allclose(of(given), compiled, atol=1e-12)


@pytest.mark.parametrize(
    "test",
    [
        "test_an_item_is_drawn_as_np_linalg_solve_would",
        "test_squared_errors_and_their_sums",
        "test_moments_of_pairs_are_those_over_the_samples",
        "test_links_are_sampled_as_with_the_dense_matrix",
    ],
)
def test_what_is_written_does_the_same(test, request, monkeypatch):
    plainly(monkeypatch)
    function = globals()[test]
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    function(*(request.getfixturevalue(name) for name in names))


def test_squared_errors_and_their_sums(case):
    rng = np.random.default_rng(2)
    users, squares, of_users = (
        rng.standard_normal((N, C + K)),
        np.zeros(len(case["y"])),
        np.zeros(N),
    )
    at = [case[name] for name in ("ptr", "idx", "y")]
    given = users, case["design"], case["offset"], case["other_prec"], squares, of_users
    gibbs.squared_errors((0, N), *at, *given)
    row, other = np.repeat(np.arange(N), np.diff(case["ptr"])), case["idx"]
    error = case["y"] - case["offset"][other] - np.sum(users[row] * case["design"][other], axis=1)
    np.testing.assert_allclose(squares, error**2)
    np.testing.assert_allclose(of_users, np.bincount(row, error**2 * case["other_prec"][other], N))
    of_items = np.full((3, M), np.nan)
    gibbs.item_sums((0, 3), *at[:2], squares, case["row_prec"], 16, of_items)
    expected = np.bincount(other, error**2 * case["row_prec"][row], M)
    np.testing.assert_allclose(of_items.sum(axis=0), expected)


def test_moments_of_pairs_are_those_over_the_samples():
    rng = np.random.default_rng(3)
    users = rng.standard_normal((6, 9, C + K + 1)).astype(np.float32)
    items = (rng.standard_normal((7, 9, K + 1)) + 30).astype(np.float32)
    lead = rng.standard_normal((7, C)).astype(np.float32)
    u, i = rng.integers(0, 6, 50), rng.integers(0, 7, 50)
    mean, variance = np.zeros(50), np.zeros(50)
    gibbs.pair_moments((0, 50), u, i, users, items, lead, mean, variance)
    v, q, x = users[u].astype(float), items[i].astype(float), lead[i].astype(float)
    f = np.einsum("nsc,nc->ns", v[:, :, :C], x) + v[:, :, -1] + q[:, :, -1]
    f += np.sum(v[:, :, C:-1] * q[:, :, :-1], axis=2)
    np.testing.assert_allclose(mean, f.mean(axis=1), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(variance, f.var(axis=1), rtol=1e-3)


def test_links_are_sampled_as_with_the_dense_matrix(case):
    rng = np.random.default_rng(4)
    met = np.zeros((N, M))
    met[np.repeat(np.arange(N), np.diff(case["ptr"])), case["idx"]] = 1
    count, share = met.sum(axis=0), met.sum(axis=1) / met.sum()
    scale = 1 / (count + 20)
    dense = scale[:, None] * (met.T - np.outer(count, share))
    sparse = (case["ptr"], case["idx"], scale, count, share)
    norms, along = links.link_norms(*sparse)
    dense_direction = scale * count
    np.testing.assert_allclose(norms, (dense**2).sum(axis=0))
    np.testing.assert_allclose(along, dense.T @ dense_direction)

    target, coef = rng.standard_normal((M, K)), rng.standard_normal((N, K))
    normals, left, expected = rng.standard_normal((N, K)), target - dense @ coef, coef.copy()
    open_ = left.copy()
    for f in range(N):
        h = dense[:, f]
        precision = 3.0 + h @ h
        new = (h @ open_ + (h @ h) * expected[f]) / precision
        new += normals[f] / np.sqrt(precision)
        open_ -= np.outer(h, new - expected[f])
        expected[f] = new
    shift, along_it = np.zeros(K), dense_direction @ left
    for part in (slice(0, 17), slice(17, N)):  # shard after shard
        ptr = case["ptr"][part.start : part.stop + 1]
        links.sample_links(
            (0, 2), ptr, case["idx"], scale, share[part], norms[part], along[part],
            dense_direction @ dense_direction, 3.0, normals[part], left, shift, along_it,
            coef[part],
        )  # fmt: skip
    left += np.outer(dense_direction, shift)
    np.testing.assert_allclose(coef, expected, atol=1e-12)
    np.testing.assert_allclose(left, open_, atol=1e-12)
    np.testing.assert_allclose(along_it, dense_direction @ left, atol=1e-12)
