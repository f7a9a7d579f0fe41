"""An encoder without weights, for tests and for machines that can load none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from ..errors import DataError
from ..runtime.arrays import Singles
from ..runtime.memory import require_memory
from .base import check_texts

_CHAR_WEIGHT = 0.5  # of character 3- to 5-grams, beside words at 1
_CHARACTERS = 1_000_000  # hashed at once: bounds memory whatever the lengths of the texts


class HashingEncoder:
    """Signed feature hashing of words and character n-grams, scikit-learn only.

    A text becomes counts ``c`` of its hashed words, and ``c'`` of its hashed character 3- to
    5-grams within words; each is damped to ``sign(c) log(1 + |c|)`` and brought to norm 1, and the
    row is ``words + characters / 2``, again at norm 1. Random signs make the collisions cancel in
    expectation, so that inner products are kept (Weinberger et al., 2009, "Feature hashing for
    large scale multitask learning"). Nothing is learned: a text has the same row on every
    machine, alone or among others. It knows spelling and no meaning.

    Parameters
    ----------
    n_features : int
        Length of a row.
    ngram_range : (int, int)
        Shortest and longest run of words that is a feature.

    Examples
    --------
    >>> encoder = HashingEncoder(n_features=64)
    >>> a, b, c = encoder.encode(["A heist in space", "A heist at sea", "Cooking with herbs"])
    >>> bool(a @ b > a @ c)
    True
    """

    def __init__(self, n_features: int = 1024, ngram_range: tuple[int, int] = (1, 1)) -> None:
        self.n_features = n_features
        self.ngram_range = ngram_range

    def __repr__(self) -> str:
        return f"HashingEncoder(n_features={self.n_features}, ngram_range={self.ngram_range})"

    @property
    def name(self) -> str:
        """``"llmtokens/hashing"``."""
        return "llmtokens/hashing"

    @property
    def revision(self) -> str:
        """The settings that determine the rows, and a version of the recipe."""
        low, high = self.ngram_range
        return f"1-{self.n_features}-words{low}to{high}-chars3to5"

    def encode(self, texts: Sequence[str]) -> Singles:
        """Rows of norm 1, shape ``(len(texts), n_features)``; zeros for a text without letters.

        Raises
        ------
        DataError
            For texts that are not strings, for settings out of range, and for more texts times
            features than there is memory for.
        """
        rows: Singles
        made = self.encode_sparse(texts)
        try:
            what = f"{made.shape[0]:,} texts of n_features={self.n_features:,}"
            require_memory(4 * made.shape[0] * self.n_features, what)
            rows = made.toarray()
        except MemoryError as error:
            raise DataError(
                f"found {error}: lower n_features, or take encode_sparse, as LLMTokens does"
            ) from error
        return rows

    def encode_sparse(self, texts: Sequence[str]) -> sparse.csr_array:
        """The same rows, of which only what is not zero is kept.

        Raises
        ------
        DataError
            For texts that are not strings and for settings out of range.
        """
        texts = check_texts(texts)
        low, high = self.ngram_range
        if self.n_features < 1 or not 1 <= low <= high:
            raise DataError(f"{self!r}: expected n_features >= 1 and 1 <= shortest <= longest run")
        parts = [sparse.csr_array((0, self.n_features), dtype=np.float32)]
        start, size = 0, 0
        for stop, text in enumerate(texts, start=1):
            size += len(text)
            if size >= _CHARACTERS or stop == len(texts):
                parts.append(self._hash(texts[start:stop]))
                start, size = stop, 0
        return sparse.csr_array(sparse.vstack(parts, format="csr"))

    def _hash(self, texts: list[str]) -> sparse.csr_array:
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.preprocessing import normalize

        total = 0.0
        for analyzer, ngrams, weight in (
            ("word", self.ngram_range, 1.0),
            ("char_wb", (3, 5), _CHAR_WEIGHT),
        ):
            counts = HashingVectorizer(
                n_features=self.n_features, analyzer=analyzer, ngram_range=ngrams, norm=None
            ).transform(texts)
            counts.data = np.sign(counts.data) * np.log1p(np.abs(counts.data))
            total = total + weight * normalize(counts)
        return sparse.csr_array(normalize(total).astype(np.float32))
