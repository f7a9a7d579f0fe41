"""Fitted algorithms as files, and back: no pickle, no code, everything checked before use.

The file is one of :mod:`llmtokens.storage.container`, its kind the name of the class; what is in it
is the algorithm's own to say, by ``to_parts`` and ``from_parts``.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, LLMTokensError
from . import container

# the only names a file can make this library import
_ALGORITHMS = {
    "LLMTokensSVD": "svd",
    "LLMTokensBPMF": "bpmf",
    "LLMTokensEASE": "ease",
    "LLMTokensContent": "content",
}


def save(algo: Any, path: str | Path) -> None:
    """See :meth:`~llmtokens.recommend.Serving.save`."""
    name = type(algo).__name__
    if name not in _ALGORITHMS:
        raise LLMTokensError(f"{name} cannot be saved; expected one of {sorted(_ALGORITHMS)}")
    container.write(path, name, *algo.to_parts())


def load(path: str | Path, *, encoder: Any = None, mmap: bool = False) -> Any:
    """Read an algorithm written by its ``save``, ready to predict, recommend, ask and fold in.

    It answers as the saved one did, to the last bit. Surprise's ``trainset`` is not part of it;
    the ratings are, as ``ratings_``.

    Parameters
    ----------
    path : str or Path
    encoder : Encoder, optional
        For ``ask`` and new texts, where the tokens were made with another encoder than the
        library's own; see :meth:`LLMTokens.load`.
    mmap : bool, default=False
        Leave the arrays on disk, where all processes that load this file share them. Then it may be
        replaced by another, as ``save`` does, but not overwritten in place (as by ``cp``): that
        would change the model, or end the process. By default the model is read into memory.

    Raises
    ------
    StorageError
        If there is no such file, or it cannot be opened.
    FileFormatError
        If it is damaged, cut short, newer than this library, or not an algorithm.

    Examples
    --------
    >>> import llmtokens, tempfile
    >>> from llmtokens import LLMTokensSVD
    >>> from llmtokens.datasets import synthetic
    >>> trainset = synthetic(n_users=20, n_items=30, n_ratings=200).dataset.build_full_trainset()
    >>> algo = LLMTokensSVD(n_factors=3).fit(trainset)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     algo.save(f"{folder}/model.safetensors")
    ...     again = llmtokens.load(f"{folder}/model.safetensors")
    >>> again.predict(1, 1) == algo.predict(1, 1)
    True
    """
    kind, payload, arrays = container.read(path, mmap=mmap)
    if kind not in _ALGORITHMS:
        raise FileFormatError(
            f"{str(path)!r} holds {kind!r:.60}; expected one of {sorted(_ALGORITHMS)}"
        )
    try:
        module = importlib.import_module(f"llmtokens.algorithms.{_ALGORITHMS[kind]}")
        return getattr(module, kind).from_parts(payload, arrays, encoder)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} does not hold a whole {kind}: {error}") from error
    except (LLMTokensError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"{str(path)!r} does not hold a whole {kind}: {type(error).__name__}: {error!s:.200}"
        ) from error
