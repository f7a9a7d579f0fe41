"""Blocks of features side by side, centred and scaled without becoming dense, and their axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import eigh

from ..runtime.arrays import Floats, Mask
from ..runtime.threads import one_blas_thread

_COVARIANCE = 4096  # features up to which their covariance is made: 128 MB
_CHUNK = 1 << 22  # numbers that are dense at once: 32 MB


class Centred:
    """Rows ``scale * present * (values - mean)`` of all blocks, one after the other.

    Parameters
    ----------
    values : sequence of ndarray or csr_array, each of shape (n, width)
    means : sequence of ndarray of float64, shape (width,)
    present : sequence of ndarray of bool, shape (n,)
        The rows that a block says something of; the others are zeros, and values are zeros there.
    scales : sequence of float, optional
    """

    def __init__(
        self,
        values: Sequence[Any],
        means: Sequence[Floats],
        present: Sequence[Mask],
        scales: Sequence[float] | None = None,
    ) -> None:
        self.values = list(values)
        self.means = list(means)
        self.present = list(present)
        self.scales = [1.0] * len(self.values) if scales is None else list(scales)
        self.widths = [len(mean) for mean in self.means]
        self.shape = (len(self.present[0]), sum(self.widths))

    def energy(self) -> float:
        """The sum of all squares."""
        blocks = zip(self.values, self.means, self.present, self.scales, strict=True)
        return sum(scale**2 * energy(*block) for *block, scale in blocks)

    def principal(self, k: int) -> tuple[Floats, Floats]:
        """The ``k`` largest variances, and the axes they lie along: (k,) and (k, n_features).

        By the covariance where features are few, else by Lanczos iterations on the blocks as they
        are (ARPACK), begun from a vector of ones.
        """
        n, d = self.shape
        with one_blas_thread():
            if d <= _COVARIANCE:
                covariance = sum(rows.T @ rows for rows in self._dense()) / (n - 1)
                found, vectors = eigh(covariance, subset_by_index=(d - k, d - 1))
                return np.maximum(found[::-1], 0.0), np.ascontiguousarray(vectors[:, ::-1].T)
            from scipy.sparse.linalg import LinearOperator, svds

            doubles = [x.astype(np.float64) for x in self.values]  # once, not in every product
            lifted = Centred(doubles, self.means, self.present, self.scales)
            operator = LinearOperator(
                self.shape, matvec=lifted._times, rmatvec=lifted._transposed_times, dtype=np.float64
            )
            k = min(k, min(n, d) - 1)  # of centred rows the last axis has no variance
            _, sizes, axes = svds(
                operator, k=k, v0=np.ones(min(n, d)), return_singular_vectors="vh"
            )
        order = np.argsort(-sizes, kind="stable")
        return sizes[order] ** 2 / (n - 1), np.ascontiguousarray(axes[order])

    def _dense(self) -> Iterator[Floats]:
        """All features of some rows at a time."""
        n, d = self.shape
        step = max(_CHUNK // d, 1)
        blocks = list(zip(self.values, self.means, self.present, self.scales, strict=True))
        for start in range(0, n, step):
            at = slice(start, start + step)
            yield np.hstack(
                [
                    scale * (dense(values[at]) - mean) * present[at, None]
                    for values, mean, present, scale in blocks
                ]
            )

    def _times(self, x: Floats) -> Floats:
        out = np.zeros(self.shape[0])
        parts = np.split(x.ravel(), np.cumsum(self.widths)[:-1])
        blocks = zip(self.values, self.means, self.present, self.scales, parts, strict=True)
        for values, mean, present, scale, part in blocks:
            out += scale * (values @ part - present * (mean @ part))
        return out

    def _transposed_times(self, y: Floats) -> Floats:
        y = y.ravel()
        blocks = zip(self.values, self.means, self.present, self.scales, strict=True)
        return np.concatenate(
            [
                scale * (values.T @ y - mean * (present @ y))
                for values, mean, present, scale in blocks
            ]
        )


def dense(values: Any) -> Floats:
    """The values as an array of float64."""
    array: NDArray[Any] = values.toarray() if sparse.issparse(values) else values
    return array.astype(np.float64, copy=False)


def column_sums(values: Any) -> Floats:
    """The sum of each column, added in float64 also where the values are not."""
    if sparse.issparse(values):
        return np.bincount(values.indices, values.data, values.shape[1]).astype(np.float64)
    sums: Floats = values.sum(axis=0, dtype=np.float64)
    return sums


def energy(values: Any, mean: Floats, present: Mask) -> float:
    """The sum of squares of the present rows less their mean."""
    data = values.data if sparse.issparse(values) else values
    squares = float(np.sum(np.square(data, dtype=np.float64)))
    return max(squares - float(present.sum()) * float(mean @ mean), 0.0)
