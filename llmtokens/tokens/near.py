"""How near texts are to others, in the encoder's own space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.arrays import Floats, Singles
from ..runtime.threads import one_blas_thread

_ROWS = 1024  # of half precision that become single at once: they stay in the processor's cache
_TOGETHER = 8  # texts in one product: BLAS rounds by their number, which is therefore always this


def near_to(embeddings: NDArray[Any], texts: Singles) -> Floats:
    """Cosine of embeddings with each of some texts; what is said of one does not depend on others.

    Parameters
    ----------
    embeddings : ndarray of shape (n, dim)
    texts : ndarray of float32, shape (k, dim)
        Unit rows, all of them; rows of zeros, where there is no text, are near to nothing: NaN.

    Returns
    -------
    ndarray of float64, shape (k, n)

    Examples
    --------
    >>> near_to(np.eye(3, 2), np.eye(1, 2, dtype=np.float32))
    array([[ 1.,  0., nan]])
    """
    n, k = len(embeddings), len(texts)
    padded = np.zeros((-(-k // _TOGETHER) * _TOGETHER, embeddings.shape[1]), np.float32)
    padded[:k] = texts
    out = np.empty((n, len(padded)), np.float32)
    with one_blas_thread():
        for start in range(0, n, _ROWS):
            block = embeddings[start : start + _ROWS].astype(np.float32, copy=False)
            for at in range(0, len(padded), _TOGETHER):
                made = block @ padded[at : at + _TOGETHER].T
                out[start : start + _ROWS, at : at + _TOGETHER] = made
    apart = np.flatnonzero(~out.any(axis=1))
    out[apart[~embeddings[apart].any(axis=1)]] = np.nan
    out[:, ~padded.any(axis=1)] = np.nan
    np.clip(out, -1, 1, out=out)  # half precision rounds
    return np.ascontiguousarray(out[:, :k].T, np.float64)
