import numba
import numpy as np
import pytest

from llmtokens.kernels import gibbs, links

N, M, C, K = 40, 60, 2, 5


@pytest.fixture
def case():
    """Ratings of 40 rows with 60 others, and everything their conditional needs."""
    rng = np.random.default_rng(0)
    met = rng.random((N, M)) < 0.1
    met[3] = False  # a row without ratings
    spread = rng.standard_normal((K, 50))
    return {
        "ptr": np.concatenate([[0], np.cumsum(met.sum(1))]).astype(np.int64),
        "idx": np.nonzero(met)[1].astype(np.int32),
        "y": rng.standard_normal(met.sum()),
        "design": rng.standard_normal((M, C + K)),
        "lead": rng.standard_normal((N, C)),
        "row_prec": rng.gamma(3, 1, N),
        "other_prec": rng.gamma(3, 1, M),
        "prior_mean": rng.standard_normal((N, K)),
        "prior_prec": spread @ spread.T / 50 + np.eye(K),
        "normals": rng.standard_normal((N, K)),
    }


def drawn(case):
    out, mean = np.zeros((N, K)), np.zeros((N, K))
    gibbs.sample_rows(*case.values(), out, mean)
    return out, mean


def solved(case, r):
    """Row r's precision, conditional mean and draw, by the textbook."""
    at = slice(case["ptr"][r], case["ptr"][r + 1])
    others = case["idx"][at]
    d = case["design"][others, C:]
    w = case["row_prec"][r] * case["other_prec"][others]
    residual = case["y"][at] - case["design"][others, :C] @ case["lead"][r]
    precision = case["prior_prec"] + d.T @ (w[:, None] * d)
    mean = np.linalg.solve(
        precision, case["prior_prec"] @ case["prior_mean"][r] + d.T @ (w * residual)
    )
    root = np.linalg.cholesky(precision)
    return precision, mean, mean + np.linalg.solve(root.T, case["normals"][r])


def test_a_row_is_drawn_as_np_linalg_solve_would(case):
    out, mean = drawn(case)
    for r in range(N):
        _, centre, draw = solved(case, r)
        np.testing.assert_allclose(mean[r], centre, atol=1e-12)
        np.testing.assert_allclose(out[r], draw, atol=1e-12)


def test_many_draws_have_the_exact_mean_and_covariance_of_the_posterior(case):
    rng, n = np.random.default_rng(1), 20_000
    same = case | {
        "ptr": np.arange(n + 1) * 7,
        "idx": np.tile(case["idx"][:7], n),
        "y": np.tile(case["y"][:7], n),
        "normals": rng.standard_normal((n, K)),
    }
    for name in ("lead", "row_prec", "prior_mean"):
        same[name] = np.repeat(case[name][:1], n, axis=0)
    out, mean = np.zeros((n, K)), np.zeros((n, K))
    gibbs.sample_rows(*same.values(), out, mean)
    precision, centre, _ = solved(same, 0)
    covariance = np.linalg.inv(precision)
    error = np.sqrt(np.diag(covariance) / n)
    np.testing.assert_array_less(abs(out.mean(0) - centre), 4.5 * error)
    np.testing.assert_allclose(np.cov(out.T), covariance, atol=0.05 * covariance.max())


def test_rows_do_not_depend_on_the_number_of_threads(case):
    before, results = numba.get_num_threads(), []
    try:
        for n in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(n)
            results.append(drawn(case))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])


def test_residuals_and_what_the_fit_has_part_in(case):
    rng = np.random.default_rng(2)
    rows, others = rng.standard_normal((N, C + K + 1)), rng.standard_normal((M, C + K + 1))
    fit = rng.standard_normal((N, K))
    error, lead, along = np.zeros((3, len(case["y"])))
    gibbs.residuals(case["ptr"], case["idx"], case["y"], rows, others, fit, error, lead, along)
    row, other = np.repeat(np.arange(N), np.diff(case["ptr"])), case["idx"]
    np.testing.assert_allclose(error, case["y"] - np.sum(rows[row] * others[other], axis=1))
    np.testing.assert_allclose(lead, np.sum((rows[row] * others[other])[:, :C], axis=1))
    np.testing.assert_allclose(along, np.sum(fit[row] * others[other, C : C + K], axis=1))


def test_row_sums(case):
    rng = np.random.default_rng(2)
    rows, others, out = rng.standard_normal((N, K)), rng.standard_normal((M, K)), np.zeros(N)
    gibbs.row_sums(case["ptr"], case["idx"], rows, others, out)
    for r in range(N):
        met = case["idx"][case["ptr"][r] : case["ptr"][r + 1]]
        assert out[r] == pytest.approx((others[met] @ rows[r]).sum(), abs=1e-12)


def test_moments_of_pairs_are_those_over_the_samples():
    rng = np.random.default_rng(3)
    users = rng.standard_normal((6, 9, C + K + 2)).astype(np.float32)
    items = (rng.standard_normal((7, 9, K + 2)) + 30).astype(np.float32)
    lead = rng.standard_normal((7, C)).astype(np.float32)
    u, i = rng.integers(0, 6, 50), rng.integers(0, 7, 50)
    mean, variance = np.zeros(50), np.zeros(50)
    gibbs.pair_moments(u, i, users, items, lead, mean, variance)
    v, q, x = users[u].astype(float), items[i].astype(float), lead[i].astype(float)
    f = np.einsum("nsc,nc->ns", v[:, :, :C], x) + v[:, :, -2] + q[:, :, -2]
    f += np.sum(v[:, :, C:-2] * q[:, :, :-2], axis=2) + v[:, :, -1] * q[:, :, -1]
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
    np.testing.assert_allclose(norms, (dense**2).sum(axis=0))
    np.testing.assert_allclose(along, dense.T @ (scale * count))

    target, coef = rng.standard_normal((K, M)), rng.standard_normal((K, N))
    normals, left, expected = rng.standard_normal((K, N)), target - coef @ dense.T, coef.copy()
    open_ = left.copy()
    for f in range(N):
        h = dense[:, f]
        precision = 3.0 + h @ h
        new = (open_ @ h + (h @ h) * expected[:, f]) / precision
        new += normals[:, f] / np.sqrt(precision)
        open_ -= np.outer(new - expected[:, f], h)
        expected[:, f] = new
    links.sample_links(*sparse, norms, along, 3.0, normals, left, coef)
    np.testing.assert_allclose(coef, expected, atol=1e-12)
    np.testing.assert_allclose(left, open_, atol=1e-12)
