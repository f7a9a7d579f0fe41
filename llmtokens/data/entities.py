"""One side of the data, users or items: who can be predicted, and from what."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import AlignmentError, DataError, LLMTokensWarning, sample
from ..runtime.arrays import Mask, Rows, Singles
from ..runtime.locks import cached_property
from .ids import IdIndex, as_written


class TokenTable(Protocol):
    """What is asked of tokens: ids, their vectors, and where ids of another spelling are."""

    @property
    def ids(self) -> list[Hashable]: ...

    @property
    def vectors(self) -> Singles: ...

    @property
    def history(self) -> Rows | None:
        """Of how many ratings each row is made, None where it is of none."""

    def __len__(self) -> int: ...

    def is_like(self, other: Any) -> bool:
        """Whether the vectors of both tables are of one space."""
        ...

    def align(self, raw_ids: Iterable[Hashable]) -> Rows:
        """Rows of ids, -1 where there is none, shape (n,)."""
        ...


@dataclass(frozen=True, eq=False)
class EntityIndex:
    """Every id that can be predicted has a row.

    First come the ids of the trainset (*warm*; the row is Surprise's inner id), then those that
    only have a token (*cold*), last one row for everybody else, the *unknown*.

    Attributes
    ----------
    side : {"user", "item"}
    ids : list
        Raw ids of the warm and the cold rows.
    n_warm : int
    tokens : ndarray of float32, shape (n_rows, d)
        A row's token, zeros (the mean token) where it has none; d is 0 without tokens.
    has_token : ndarray of bool, shape (n_rows,)
    table : TokenTable, optional
        Where the tokens are from.
    """

    side: str
    ids: list[Hashable]
    n_warm: int
    tokens: Singles
    has_token: Mask
    table: TokenTable | None = None

    @classmethod
    def build(cls, side: str, warm_ids: list[Hashable], tokens: TokenTable | None) -> EntityIndex:
        """Align the trainset's ids with the tokens'.

        Raises
        ------
        AlignmentError
            If no id of the trainset has a token.

        Warns
        -----
        LLMTokensWarning
            If fewer than half of them have one.
        """
        if tokens is None:
            return cls.of(side, warm_ids, None)
        _check_overlap(side, warm_ids, tokens, tokens.align(warm_ids))
        return cls.of(side, warm_ids, tokens)

    @classmethod
    def of(cls, side: str, warm_ids: list[Hashable], tokens: TokenTable | None) -> EntityIndex:
        """The same, however few of the ids have a token."""
        n_warm = len(warm_ids)
        if tokens is None:
            rows = n_warm + 1
            return cls(
                side, warm_ids, n_warm, np.zeros((rows, 0), np.float32), np.zeros(rows, bool)
            )
        at = tokens.align(warm_ids)
        cold = np.setdiff1d(np.arange(len(tokens)), at)
        source = np.concatenate([at, cold, [-1]])
        vectors = tokens.vectors[source] * (source >= 0)[:, None]
        ids = warm_ids + as_written([tokens.ids[k] for k in cold], warm_ids)
        return cls(side, ids, n_warm, vectors.astype(np.float32, copy=False), source >= 0, tokens)

    @property
    def n_rows(self) -> int:
        return len(self.tokens)

    @property
    def from_history(self) -> bool:
        """Whether the tokens are made of ratings, and so say what these say, once more."""
        return self.table is not None and self.table.history is not None

    def in_space_of(self, other: EntityIndex) -> bool:
        """Whether the tokens of both sides are texts in one space."""
        if self.table is None or other.table is None or self.from_history:
            return False
        return self.table.is_like(other.table)

    @property
    def unknown(self) -> int:
        """The row of an id without ratings and without a token."""
        return self.n_rows - 1

    @cached_property
    def _warm(self) -> IdIndex:
        return IdIndex(self.ids[: self.n_warm])

    @cached_property
    def _cold(self) -> IdIndex:
        return IdIndex(self.ids[self.n_warm :])

    def rows(self, raw_ids: Iterable[Hashable]) -> Rows:
        """Rows of raw ids, shape (n,).

        An id of the trainset matches exactly, as in Surprise; a cold one also through ``str(id)``.

        Raises
        ------
        DataError
            For what cannot be an id: a list, say.

        Warns
        -----
        LLMTokensWarning
            If ids are unknown as they are but known as another type, say "1" and 1.
        """
        exact = self._warm.exact
        try:
            found = np.fromiter((exact.get(raw, -1) for raw in raw_ids), np.int64)
        except TypeError as error:
            raise DataError(
                f"found a {self.side} id that is none ({error}); expected raw ids as in the "
                "trainset, such as str or int"
            ) from error
        missing = np.flatnonzero(found < 0)
        if len(missing):
            raw_ids = list(raw_ids)
            unknown = [raw_ids[k] for k in missing]
            cold = self._cold.rows(unknown)
            found[missing] = np.where(cold >= 0, cold + self.n_warm, self.unknown)
            self._warn_of_types([raw for raw, row in zip(unknown, cold, strict=True) if row < 0])
        return found

    def row(self, raw: Hashable) -> int:
        """The row of one id, without a warning."""
        row = self._warm.exact.get(raw)
        if row is None:
            cold = self._cold.row(raw)
            row = self.unknown if cold < 0 else cold + self.n_warm
        return row

    def as_known(self, raw: Hashable) -> Hashable:
        """The known id that reads like this; of an unknown one, itself."""
        row = self.row(raw)
        if row == self.unknown:
            row = self._warm.row(raw)
        return raw if row in (-1, self.unknown) else self.ids[row]

    def is_warm(self, raw: Hashable) -> bool:
        """Whether an id has ratings."""
        return raw in self._warm.exact

    def warmed(self, raw_ids: Iterable[Hashable]) -> tuple[EntityIndex, Rows | None]:
        """With these ids among the warm ones, as :meth:`of` would place them.

        Returns
        -------
        EntityIndex
        ndarray of int64, shape (n_rows,), or None
            For each row the old one it continues (for an unknown id: the unknown row); None where
            nothing changed.
        """
        new = [raw for raw in dict.fromkeys(raw_ids) if not self.is_warm(raw)]
        if not new:
            return self, None
        tokens = self.table
        at = np.full(len(new), -1) if tokens is None else tokens.align(new)
        ids = [None if k < 0 or tokens is None else tokens.ids[k] for k in at]
        from_cold = np.array([-1 if raw is None else self._cold.row(raw) for raw in ids], np.int64)
        source = np.where(from_cold >= 0, from_cold + self.n_warm, self.unknown)
        rest = np.setdiff1d(np.arange(self.n_warm, self.unknown), source)
        rows = np.concatenate([np.arange(self.n_warm), source, rest, [self.unknown]])
        vectors, has_token = self.tokens[rows], self.has_token[rows]
        if tokens is not None:
            vectors[self.n_warm : self.n_warm + len(new)] = tokens.vectors[at] * (at >= 0)[:, None]
            has_token[self.n_warm : self.n_warm + len(new)] = at >= 0
        names = self.ids[: self.n_warm] + new + [self.ids[row] for row in rest]
        n_warm = self.n_warm + len(new)
        return EntityIndex(self.side, names, n_warm, vectors, has_token, tokens), rows

    def with_token(
        self, raw: Hashable, vector: Singles, table: TokenTable
    ) -> tuple[EntityIndex, Rows]:
        """With a new token for one id, cold if it was unknown; and the old row of each new one.

        ``table`` holds the new token beside the others.
        """
        row = self.row(raw)
        source, names = np.arange(self.n_rows), self.ids
        if row == self.unknown:
            source = np.append(source, self.unknown)
            names = self.ids + as_written([raw], self.ids[: self.n_warm])
        tokens, has_token = self.tokens[source], self.has_token[source]
        tokens[row], has_token[row] = vector, True
        return EntityIndex(self.side, names, self.n_warm, tokens, has_token, table), source

    def _warn_of_types(self, unknown: list[Hashable]) -> None:
        alike = [raw for raw in unknown if self._warm.row(raw) >= 0]
        if alike:
            known = self.ids[int(self._warm.row(alike[0]))]
            warnings.warn(
                f"{len(alike)} {self.side} ids are not in the trainset as they are, such as "
                f"{alike[0]!r} ({type(alike[0]).__name__}), but it has {known!r} "
                f"({type(known).__name__}); they are treated as unknown: use the trainset's type",
                LLMTokensWarning,
                stacklevel=4,
            )


def _check_overlap(side: str, warm_ids: list[Hashable], tokens: TokenTable, at: Rows) -> None:
    share = float(np.mean(at >= 0))
    if share >= 0.5:
        return
    found = (
        f"{int((at >= 0).sum())} of {len(at)} {side} ids of the trainset have a token; "
        f"the trainset has {sample(warm_ids)} and the tokens have {sample(tokens.ids)}"
    )
    if share == 0:
        raise AlignmentError(f"{found}; build the tokens from the same {side} ids as the ratings")
    warnings.warn(f"only {found}", LLMTokensWarning, stacklevel=6)
