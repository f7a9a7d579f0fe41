"""What every text encoder is, the check of texts, and encoding each text at most once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DataError, sample
from ..runtime.arrays import Singles

if TYPE_CHECKING:
    from .cache import EmbeddingCache

_BLOCK = 256  # texts between two writes, for encoders that do not say when a batch is done


class Encoder(Protocol):
    """Text in, one row of float32 out. Any object with these three members will do."""

    @property
    def name(self) -> str:
        """The encoder, as a reader would look it up."""

    @property
    def revision(self) -> str:
        """The exact weights and settings: equal revisions give equal rows."""

    def encode(self, texts: Sequence[str]) -> Singles:
        """Rows in the order of ``texts``, shape ``(len(texts), dim)``."""


def check_texts(texts: Iterable[str]) -> list[str]:
    """Texts as a list of plain strings that can be written as UTF-8.

    Empty strings pass. Half of a surrogate pair, which no encoding can hold, becomes ``"?"``.

    Raises
    ------
    DataError
        For one string where a list is expected, and for anything in the list that is not a
        string (None, NaN, numbers, bytes); the message names the first offenders by position.

    Examples
    --------
    >>> check_texts(["Alien", "half an emoji: \\ud83d"])
    ['Alien', 'half an emoji: ?']
    """
    if isinstance(texts, (str, bytes)):
        raise DataError(f"expected a list of texts, got one {type(texts).__name__}: pass [text]")
    try:
        given = list(texts)
    except TypeError:
        raise DataError(f"expected a list of texts, got {type(texts).__name__}") from None
    wrong = [k for k, text in enumerate(given) if not isinstance(text, str)]
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(given)} texts are not strings: "
            f"{sample([given[k] for k in wrong])} at position {sample(wrong)}; "
            "fill in a text or leave these items out"
        )
    return [text.encode("utf-8", "replace").decode("utf-8") for text in given]


def cached(encoder: Encoder, texts: Sequence[str], cache: EmbeddingCache | None = None) -> Singles:
    """Encode ``texts``, each distinct text at most once, and none that the cache already has.

    Parameters
    ----------
    encoder : Encoder
        Where it has a method ``batches(texts)`` that yields ``(positions, rows)``, every batch
        is kept as soon as it is done; otherwise ``encode`` is called on 256 texts at a time.
    texts : sequence of str
    cache : EmbeddingCache, optional
        None: each distinct text is encoded once, and nothing is kept.

    Returns
    -------
    ndarray of float32, shape (len(texts), dim)
        In the order of ``texts``.

    Raises
    ------
    DataError
        For texts that are not strings, and for an encoder that returns the wrong number of
        rows, or NaN or infinite values.
    """
    texts = check_texts(texts)
    if not texts:
        return cached(encoder, [""], cache)[:0]
    return by_key(encoder, texts, [hashlib.sha256(text.encode()).digest() for text in texts], cache)


def by_key(
    encoder: Encoder, given: Sequence[str], keys: Sequence[bytes], cache: EmbeddingCache | None
) -> Singles:
    """:func:`cached` of texts, or of paths of images, that are known by these digests."""
    position: dict[bytes, int] = {}
    inverse = [position.setdefault(key, len(position)) for key in keys]
    one_of = dict(zip(keys, given, strict=True))
    keys = list(position)
    distinct = [one_of[key] for key in keys]
    label = f"{encoder.name}@{encoder.revision}"
    known = cache.read(label, keys) if cache else {}
    todo = [k for k, key in enumerate(keys) if key not in known]
    for positions, rows in _fresh(encoder, [distinct[k] for k in todo]):
        new = {keys[todo[p]]: row for p, row in zip(positions, rows, strict=True)}
        if cache:
            cache.write(label, new)
        known.update(new)
    if len({row.size for row in known.values()}) > 1:
        if cache is None:
            raise DataError(f"{encoder.name} gave rows of different lengths")
        rows = by_key(encoder, distinct, keys, None)  # those in the cache are not ours
        return rows[inverse]
    return np.stack([known[key] for key in keys])[inverse]


def _fresh(encoder: Encoder, texts: list[str]) -> Iterator[tuple[Sequence[int], Singles]]:
    if not texts:
        return
    batches = getattr(encoder, "batches", None)
    if batches is None:
        starts = range(0, len(texts), _BLOCK)
        steps: Iterator[tuple[Sequence[int], npt.ArrayLike]] = (
            (range(s, min(s + _BLOCK, len(texts))), encoder.encode(texts[s : s + _BLOCK]))
            for s in starts
        )
    else:
        steps = batches(texts)
    for positions, given in steps:
        rows = np.ascontiguousarray(given, dtype=np.float32)
        if rows.ndim != 2 or len(rows) != len(positions):
            raise DataError(
                f"{encoder.name} gave an array of shape {rows.shape} for {len(positions)} texts"
            )
        if not np.isfinite(rows).all():
            raise DataError(f"{encoder.name} gave NaN or infinite values; try another device")
        yield positions, rows
