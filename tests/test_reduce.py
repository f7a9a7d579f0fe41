import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from llmtokens import TokenReducer
from llmtokens.errors import DataError


@parametrize_with_checks([TokenReducer(), TokenReducer(n_components=2, whiten=0.5, row_norm=True)])
def test_it_is_a_scikit_learn_transformer(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12))


def test_without_whitening_it_is_pca_up_to_signs(data):
    ours, theirs = TokenReducer(5).fit_transform(data), PCA(5).fit_transform(data)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)


def test_the_largest_entry_of_each_axis_is_positive(data):
    axes = TokenReducer(12).fit(data).components_
    assert (axes[np.arange(12), np.abs(axes).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_whitening_takes_variances_to_the_power_that_is_left(data, power):
    plain = TokenReducer(6).fit_transform(data).var(axis=0)
    whitened = TokenReducer(6, whiten=power).fit_transform(data).var(axis=0)
    np.testing.assert_allclose(whitened / whitened[0], (plain / plain[0]) ** (1 - power), rtol=1e-8)


def test_row_norm_makes_every_row_a_unit_vector(data):
    norms = np.linalg.norm(TokenReducer(4, row_norm=True).fit_transform(data), axis=1)
    np.testing.assert_allclose(norms, 1)


def test_whitening_leaves_out_axes_without_variance():
    rng = np.random.default_rng(1)
    flat = np.outer(rng.normal(size=50), rng.normal(size=6))  # rank 1
    tokens = TokenReducer(6, whiten=1.0).fit_transform(flat)
    assert np.abs(tokens[:, 1:]).max() < 1e-9


def test_fewer_rows_than_components_keeps_what_there_is():
    assert TokenReducer(128).fit_transform(np.eye(3, 10)).shape == (3, 3)


@pytest.mark.parametrize("bad", [{"whiten": 1.5}, {"whiten": -0.1}, {"n_components": 0}])
def test_parameters_out_of_range_are_refused(data, bad):
    with pytest.raises(DataError, match=next(iter(bad))):
        TokenReducer(**bad).fit(data)


def test_a_sparse_matrix_is_reduced_as_the_dense_one(data):
    from scipy import sparse

    rows = np.where(np.abs(data) > 4, data, 0)
    dense, thin = TokenReducer(5, 0.2).fit(rows), TokenReducer(5, 0.2).fit(sparse.csr_array(rows))
    np.testing.assert_allclose(thin.components_, dense.components_, atol=1e-9)
    np.testing.assert_allclose(thin.mean_, dense.mean_, atol=1e-12)
    np.testing.assert_allclose(
        thin.transform(sparse.csr_array(rows)), dense.transform(rows), atol=1e-9
    )
