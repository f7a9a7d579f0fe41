"""What the text of users says of what they choose: for those who have not chosen anything yet.

Rows of X, brought to one length, for how much somebody chooses is no matter of taste, are foretold
in their leading directions, ``V``, from the user's token by a ridge regression
(:class:`~llmtokens.algorithms.ridge.TokenRidge`), its strength by leaving users out. Somebody
without ratings is scored by the mean row of X, and what the token adds:

``s_u = popularity + (t_u - mean) M V``

Tokens that do not beat the mean by two standard errors add nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy import sparse

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...runtime.arrays import Floats, Singles
from ..ridge import TokenRidge, apply_map

_DIRECTIONS = 32  # more are noise to a token


@dataclass(frozen=True, eq=False)
class UserText:
    """What a token adds to the scores of a user without ratings.

    Attributes
    ----------
    map : ndarray of float64, shape (d_u + 1, k)
        Turns ``[token, 1]`` into weights of the directions.
    directions : ndarray of float32, shape (k, n_items)
    """

    map: Floats
    directions: Singles

    @classmethod
    def learn(cls, ratings: Ratings, users: EntityIndex, rows: sparse.csr_array) -> Self | None:
        """None where tokens of users say nothing, or are made of these very ratings.

        Parameters
        ----------
        rows : sparse array, shape (n_users, n_items)
            X.
        """
        if users.table is None or users.from_history:
            return None
        k = min(_DIRECTIONS, min(rows.shape) - 1)
        if k < 1:
            return None
        from scipy.sparse.linalg import norm
        from sklearn.utils.extmath import randomized_svd

        norms = np.maximum(norm(rows, axis=1), 1e-12)
        shares = sparse.csr_array(sparse.diags_array(norms.mean() / norms) @ rows)
        _, _, directions = randomized_svd(shares, k, random_state=0)
        tastes = shares @ directions.T.astype(np.float64)
        learned = TokenRidge(users.tokens, ratings.user_counts).learn(tastes)
        if not learned[:-1].any():
            return None
        learned[-1] -= np.mean(apply_map(learned, users.tokens[: users.n_warm]), axis=0)
        return cls(learned, directions.astype(np.float32))

    def scores(self, tokens: Singles) -> Singles:
        """What tokens add to the scores of items with ratings, shape (n, n_items)."""
        out: Singles = apply_map(self.map, tokens).astype(np.float32) @ self.directions
        return out

    def with_items(self, n_items: int) -> Self:
        """The same with further items, of which it says nothing."""
        new = n_items - self.directions.shape[1]
        return replace(self, directions=np.pad(self.directions, ((0, 0), (0, new))))
