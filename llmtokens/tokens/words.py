"""What the ids of a table are said to be, in words and labels, and which of these go with numbers.

A word goes with numbers where those of the ids it is said of lie higher, or lower, than they would
if it were said of as many ids by chance.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ..errors import DataError
from ..runtime.arrays import Floats, Rows

WORD = "word"  # the kind of what is no label of a column
_FEWEST = 5  # ids that a word must be said of
_CHANCE = 0.05  # that any one word of a table seems to go with numbers it does not go with
_WORDS = re.compile(r"[^\W_]{2,}")


@dataclass(frozen=True, eq=False)
class Words:
    """The words in the texts of ids, and the labels in their columns.

    Attributes
    ----------
    names : list of str, length m
        Labels as they are, words in lower case.
    kinds : list of str, length m
        The column of a label, or "word".
    said : csr_array of float64, shape (n, m)
        1 where a name is said of an id.
    """

    names: list[str]
    kinds: list[str]
    said: sparse.csr_array

    @classmethod
    def of(
        cls, n: int, texts: Sequence[str] | None, columns: Mapping[str, Sequence[Any]] | None
    ) -> Words:
        """Those said of at least five ids; English words that say nothing are left out, and words
        that are labels.

        Parameters
        ----------
        n : int
            How many ids there are.
        texts : sequence of str, length n, optional
        columns : mapping of str to sequences of length n, optional
            As ``LLMTokens.columns``; numbers are not read.

        Raises
        ------
        DataError
            Unless there is one text per id.

        Examples
        --------
        >>> texts = ["a red house"] * 5 + ["a red car"] * 5
        >>> words = Words.of(10, texts, {"kind": [["House"]] * 5 + [["Car"]] * 5})
        >>> words.names, words.kinds
        (['House', 'red', 'Car'], ['kind', 'word', 'kind'])
        """
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        if texts is not None and len(texts) != n:
            raise DataError(f"found {len(texts)} texts for {n} ids; expected one per id, in the "
                            "order of the ids")  # fmt: skip
        every: list[list[tuple[str, str]]] = [[] for _ in range(n)]
        for column, cells in (columns or {}).items():
            for found, cell in zip(every, cells, strict=True):
                found += [(column, label) for label in cell] if isinstance(cell, list) else []
        without = ENGLISH_STOP_WORDS | {name.lower() for found in every for _, name in found}
        for found, text in zip(every, texts or [], strict=False):
            words = dict.fromkeys(_WORDS.findall(text.lower()))
            found += [(WORD, word) for word in words if word not in without]
        counts = Counter(key for found in every for key in found)
        kept = {key: k for k, key in enumerate(key for key, c in counts.items() if c >= _FEWEST)}
        at = [sorted(kept[key] for key in found if key in kept) for found in every]
        ptr = np.cumsum([0, *map(len, at)])
        flat = np.array([k for row in at for k in row], np.int64)
        said = sparse.csr_array((np.ones(len(flat)), flat, ptr), shape=(n, len(kept)))
        return cls([name for _, name in kept], [kind for kind, _ in kept], said)

    def of_rows(self, rows: Rows) -> Words:
        """Those said of at least five of some ids."""
        said = self.said[rows]
        kept = np.flatnonzero(said.sum(axis=0) >= _FEWEST)
        names, kinds = ([x[k] for k in kept.tolist()] for x in (self.names, self.kinds))
        return Words(names, kinds, said[:, kept])

    @property
    def counts(self) -> Floats:
        """Of how many ids each name is said, shape (m,)."""
        return np.asarray(self.said.sum(axis=0), np.float64)

    def means(self, numbers: Floats) -> Floats:
        """Mean over the ids that each name is said of, less that over all: (n, k) -> (m, k)."""
        centred = numbers - numbers.mean(axis=0)
        return np.asarray(self.said.T @ centred) / self.counts[:, None]

    def by_chance(self, numbers: Floats) -> Floats:
        """Standard deviation that :meth:`means` have if names are said of ids drawn at random,
        shape (m, k)."""
        n, counts = len(numbers), self.counts
        share = (n - counts) / (counts * max(n - 1, 1))
        return np.sqrt(share)[:, None] * numbers.std(axis=0)

    @property
    def least(self) -> float:
        """How many of these standard deviations a mean must lie from 0 for one to say that a name
        goes with numbers: further than, with 95 %, any of the names would by chance."""
        from scipy.special import ndtri

        return float(-ndtri(_CHANCE / 2 / max(len(self.names), 1)))

    def telling(self, numbers: Iterable[float], n: int) -> list[str]:
        """Up to n names that go with the highest of some numbers, of which there is one per id, the
        clearest first."""
        column = np.asarray(list(numbers), np.float64)[:, None]
        means, chance = self.means(column)[:, 0], self.by_chance(column)[:, 0]
        far = np.divide(means, chance, out=np.zeros(len(means)), where=chance > 0)
        order = np.argsort(-far, kind="stable")[:n]
        return [self.names[k] for k in order if far[k] > self.least]
