"""Embeddings -> tokens: PCA with reproducible signs, optional whitening and row norm."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted, validate_data

from ..errors import DataError
from ..runtime.arrays import Floats, unit_rows
from .centred import Centred, column_sums


class TokenReducer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Reduce embeddings to short vectors whose leading entries say most.

    A row ``x`` becomes :math:`z = D^{-p/2} C (x - m)`, with ``m`` the mean, ``C`` the principal
    components, ``D`` the explained variances relative to the first one and ``p`` the whitening
    power: 0 keeps PCA's decreasing variances, 1 makes them equal.

    Parameters
    ----------
    n_components : int, default=128
        Upper bound on the length of a token; fewer are kept where rows or features are fewer.
    whiten : float in [0, 1], default=0.0
        The whitening power ``p``.
    row_norm : bool, default=False
        Scale every reduced row to Euclidean norm 1.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
    components_ : ndarray of shape (n_kept, n_features)
        Principal axes with the whitening folded in: ``(X - mean_) @ components_.T``. In each, the
        entry largest in size is positive, so the signs do not depend on the linear algebra library.
    explained_variance_ratio_ : ndarray of shape (n_kept,)
        Share of the total variance along each axis, before whitening.
    n_components_ : int

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 8)) * np.arange(8, 0, -1)
    >>> Z = TokenReducer(n_components=3).fit_transform(X)
    >>> Z.shape, bool(Z[:, 0].var() > Z[:, 1].var() > Z[:, 2].var())
    ((50, 3), True)
    """

    def __init__(
        self, n_components: int = 128, whiten: float = 0.0, row_norm: bool = False
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.row_norm = row_norm

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any = None) -> TokenReducer:
        """Find the axes of ``X`` (n_samples, n_features), dense or sparse.

        Raises
        ------
        DataError
            If ``whiten`` is outside [0, 1] or ``n_components`` is not positive.
        """
        require_reduction(self.n_components, self.whiten)
        X = validate_data(self, X, dtype=np.float64, accept_sparse="csr", ensure_min_samples=2)
        if sparse.issparse(X):
            mean = column_sums(X) / X.shape[0]
            return self.fit_centred(Centred([X], [mean], [np.ones(X.shape[0], bool)]), mean)
        n, d = X.shape
        with np.errstate(divide="ignore", invalid="ignore"):  # constant X has no shares
            pca = PCA(
                n_components=min(self.n_components, n, d),
                svd_solver="covariance_eigh" if n >= d else "full",
            ).fit(X)
        shares = np.nan_to_num(pca.explained_variance_ratio_)
        return self._set(pca.mean_, pca.components_, pca.explained_variance_, shares)

    def fit_centred(self, X: Centred, mean: Floats) -> TokenReducer:
        """Find the axes of rows that are centred already, as ``mean`` says, and need not be dense.

        Raises
        ------
        DataError
            As :meth:`fit`.
        """
        require_reduction(self.n_components, self.whiten)
        variances, axes = X.principal(min(self.n_components, *X.shape))
        total = X.energy() / (X.shape[0] - 1)
        shares = variances / total if total > 0 else np.zeros(len(variances))
        self.n_features_in_ = X.shape[1]
        return self._set(mean, axes, variances, shares)

    def _set(self, mean: Floats, axes: Floats, variances: Floats, shares: Floats) -> TokenReducer:
        largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
        axes = axes * np.where(largest < 0, -1.0, 1.0)[:, None]
        self.mean_ = mean
        self.components_ = axes * whitening(variances, self.whiten)[:, None]
        self.explained_variance_ratio_ = shares
        self.n_components_ = len(axes)
        self._n_features_out = len(axes)
        return self

    def transform(self, X: Any) -> Floats:
        """Project rows, also ones not seen in ``fit``: (n_samples, n_kept)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, accept_sparse="csr", reset=False)
        if sparse.issparse(X):
            Z: Floats = np.asarray(X @ self.components_.T) - self.mean_ @ self.components_.T
        else:
            Z = (X - self.mean_) @ self.components_.T
        return unit_rows(Z) if self.row_norm else Z


def require_reduction(n_components: int, whiten: float) -> None:
    """Raise DataError unless tokens can be made like that."""
    if not 0.0 <= whiten <= 1.0:
        raise DataError(f"found whiten={whiten!r}; expected a number from 0 to 1")
    if n_components < 1:
        raise DataError(f"found n_components={n_components!r}; expected at least 1")


def whitening(variance: Floats, power: float) -> Floats:
    """Factor per axis; axes of (numerically) no variance are noise and are switched off."""
    if len(variance) == 0 or not variance[0] > 0:
        return np.zeros(len(variance))
    relative = variance / variance[0]
    carries = relative > 1e-12
    factor: Floats = np.where(carries, np.where(carries, relative, 1.0) ** (-power / 2), 0.0)
    return factor
