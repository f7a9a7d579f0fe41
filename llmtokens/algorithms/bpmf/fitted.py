"""A fitted Bayesian model as samples of all rows: everything but how they were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from ...data.entities import EntityIndex
from ...data.ratings import Rated, Ratings
from ...errors import FileFormatError
from ...recommend.interface import Scores, require_finite
from ...runtime.arrays import Floats, Rows, Singles
from ...runtime.locks import cached_property
from ...storage.models import Array, Layout, Scalar
from ..drift import DriftScale, Sequence, smoothed_at
from ..selection import CORRECTED, CorrectedModel
from .cold_start import EVEN_ODDS
from .conditional import antithetic, conditional, influence, pair_moments, products
from .features import LEAD, TextFeatures

Regression = tuple[Floats, Floats, Floats]

_ROUNDS = 5  # in which a newcomer and what they are like just now find each other


class Means(NamedTuple):
    """Posterior means of the rows with ratings."""

    pu: Singles
    qi: Singles
    bu: Singles
    bi: Singles


@dataclass(frozen=True, eq=False)
class FittedBPMF(CorrectedModel):
    r"""Predicts, explains and folds in by the mean over samples of

    .. math:: \mu + \sigma (a_u^T x_i + p_u^T q_i + b_u + b_i) + w_i \sigma D_u^T [x_i - \bar x, 1]

    In each sample a row is Gaussian given the other side. A new user's ``[a_u, p_u, b_u]`` is drawn
    from that conditional; of a new item's ``[q_i, b_i]`` its mean is kept. Influences are on its
    mean, in closed form.

    Attributes
    ----------
    mean, std : float
        Of the ratings.
    user_samples : ndarray of float32, shape (n_user_rows, samples, n_content + n_factors + 1)
        ``[a_u, p_u, b_u]``.
    item_samples : ndarray of float32, shape (n_item_rows, samples, n_factors + 1)
        ``[q_i, b_i]``.
    user_open, item_open : ndarray of float32, shape (n_rows, open)
        ``user_open[u] @ item_open[i]`` is the variance that averaging over samples leaves out.
    user_map, item_map : ndarray of float32, shape (samples, n_features + 1, width)
        Turn ``[features, 1]`` into rows without ratings.
    user_spread, item_spread : ndarray of float32, shape (samples, width, width)
        Roots of the covariances of rows before their ratings.
    drift_variance, drift_tau : float
        What users are like just now: variance (where ratings have variance 1) and time scale of
        :mod:`.drift`; 0 where the ratings have no times. Its states follow from the ratings.
    user_centre, user_scale, lead_scale, centre, unit, middle, scale
        What turns tokens into features.
    """

    mean: float
    std: float
    user_samples: Singles
    item_samples: Singles
    user_open: Singles
    item_open: Singles
    user_map: Singles
    item_map: Singles
    user_spread: Singles
    item_spread: Singles
    drift_variance: float
    drift_tau: float
    user_centre: Singles
    user_scale: float
    lead_scale: float
    centre: Singles
    unit: Singles
    middle: Singles
    scale: Singles

    layout: ClassVar[Layout] = {
        "mean": Scalar(float),
        "std": Scalar(float),
        "user_samples": Array(("user_rows", "samples", "user_width + 1")),
        "item_samples": Array(("item_rows", "samples", "factors + 1")),
        **CORRECTED,
        "user_open": Array(("user_rows", "open")),
        "item_open": Array(("item_rows", "open")),
        "user_map": Array(("samples", "user_features + 1", "user_width + 1")),
        "item_map": Array(("samples", "text + 1", "factors + 1")),
        "user_spread": Array(("samples", "user_width + 1", "user_width + 1")),
        "item_spread": Array(("samples", "factors + 1", "factors + 1")),
        "drift_variance": Scalar(float),
        "drift_tau": Scalar(float),
        "user_centre": Array(("user_features",)),
        "user_scale": Scalar(float),
        "lead_scale": Scalar(float),
        "centre": Array(("text_dims",)),
        "unit": Array(("leading",)),
        "middle": Array(("products",)),
        "scale": Array(("text",)),
    }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], ratings: Ratings, users: EntityIndex, items: EntityIndex
    ) -> Self:
        _check_widths(arrays, users, items)
        return super().from_arrays(arrays, ratings, users, items)

    def require_finite(self) -> None:
        require_finite(self.means._asdict())

    @cached_property
    def means(self) -> Means:
        """Worked out when first asked for: a pass over all samples, which learning one row must not
        wait for."""
        c, k = self.lead.shape[1], self.item_samples.shape[2] - 1
        of_users = self.std * self.user_samples[: self.users.n_warm].mean(axis=1)
        of_items = self.item_samples[: self.items.n_warm].mean(axis=1)
        return Means(
            of_users[:, c : c + k], of_items[:, :k], of_users[:, c + k], self.std * of_items[:, k]
        )

    # -- predicting ----------------------------------------------------------------------------

    def score(self, users: Rows, items: Rows) -> Scores:
        mean, variance = pair_moments(users, self.user_samples, items, self.item_samples, self.lead)
        mean += self.corrections(users, items) + self.newcomer_terms(users, items)
        variance += np.einsum("nk,nk->n", self.user_open[users], self.item_open[items])
        return self.mean + self.std * mean, {"std": self.std * np.sqrt(variance)}

    def score_at(self, users: Rows, items: Rows, times: Floats) -> Scores:
        est, details = self.score(users, items)
        mean, variance = self.drift_at(users, times)
        variance += (details["std"] / self.std) ** 2
        return est + self.std * mean, {"std": self.std * np.sqrt(variance)}

    def drift_at(self, users: Rows, times: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of what users are like at some times, given their ratings, where these
        have variance 1; zeros where a time is NaN, or the user has no ratings.

        The processes are smoothed given what the samples on average leave of the ratings: who asks
        for another time is a rating that says nothing.
        """
        mean, variance = np.zeros(len(users)), np.zeros(len(users))
        asked = np.flatnonzero(np.isfinite(times) & (users < self.users.n_warm))
        if self.timestamps is None or not self.drift_variance or not len(asked):
            return mean, variance
        known, who = np.unique(users[asked], return_inverse=True)
        ratings = self.ratings.only(known)
        rated = known[ratings.user], ratings.item.astype(np.int64)
        left = (ratings.value - self.score(*rated)[0]) / self.std
        precision = 1.0 / (self.user_open[rated[0], 0] * self.item_open[rated[1], 0])
        mean[asked], variance[asked] = smoothed_at(
            ratings.user, self.timestamps.of_ratings(ratings), left, precision,
            DriftScale(self.drift_variance, self.drift_tau), who, times[asked],
        )  # fmt: skip
        return mean, variance

    def rank_scores(self, users: Rows) -> Floats:
        c, n = self.lead.shape[1], self.item_samples.shape[1]
        samples = self.user_samples[users]
        tastes = samples[:, :, c:].copy()
        tastes[:, :, -1] = 1.0  # what multiplies b_i
        flat = self.item_samples.reshape(len(self.item_samples), -1)
        out: Floats = (tastes.reshape(len(samples), -1) @ flat.T).astype(np.float64) / n
        out += samples[:, :, :c].mean(axis=1) @ self.lead.T
        out += samples[:, :, -1].mean(axis=1)[:, None]
        out += self.all_corrections(users)
        out *= self.std
        out += self.mean
        return out

    def taste(self, user: int) -> Floats:
        """In every sample, of items as their texts say they are, as if nobody had rated them."""
        c = self.lead.shape[1]
        apart = self.user_samples[user] - self.user_samples[self.users.unknown]
        along = np.einsum("sfk,sk->sf", self.item_map[:, :-1, :-1], apart[:, c:-1])
        told = TextFeatures(self.centre, self.unit, self.middle, self.scale)(self.items.tokens)
        made = along @ told.T + apart[:, :c] @ self.lead.T + self.taste_selected(user)
        out: Floats = self.std * made
        return out

    def terms(self, user: int, item: int) -> dict[str, float]:
        c = self.lead.shape[1]
        of_user, of_item = (
            samples.astype(np.float64)
            for samples in (self.user_samples[user], self.item_samples[item])
        )
        terms = {
            "user bias": of_user[:, -1],
            "item bias": of_item[:, -1],
            "factors": np.sum(of_user[:, c:-1] * of_item[:, :-1], axis=1),
        }
        if c:
            terms["content"] = of_user[:, :c] @ self.lead[item]
        if self.text_share.any():
            terms["selection correction"] = self.corrections(np.array([user]), np.array([item]))
        if self.newcomers.any():
            terms["new user"] = self.newcomer_terms(np.array([user]), np.array([item]))
        return {"mean": self.mean} | {
            name: self.std * float(np.mean(term)) for name, term in terms.items()
        }

    def influence(self, user: int, item: int) -> Floats:
        """On the mean of the user's conditional given the items, as in fold-in."""
        prior = self.prior("user", np.array([user]))[:, 0]
        n = len(prior)
        of_item = self.item_samples[item].astype(np.float64)
        lead = np.broadcast_to(self.lead[item].astype(np.float64), (n, self.lead.shape[1]))
        query = np.hstack([lead, of_item[:, :-1], np.ones((n, 1))])
        items, values, weights = self.ratings.of_user(user)
        if self.timestamps is not None:
            uid, iids = self.users.ids[user], [self.items.ids[k] for k in items]
            times = self.timestamps.of_pairs([uid] * len(items), iids)
            values = values - self.std * self.drift_at(np.full(len(items), user), times)[0]
        regression = self._user_regression(user, items, values, weights)
        blur = self._blur(items, regression[2])
        found = influence(*regression, prior, self.user_spread, query, blur)
        out: Floats = self.std * found.mean(axis=0)
        return out

    # -- learning newcomers --------------------------------------------------------------------

    def prior(self, side: str, rows: Rows) -> Floats:
        """What every sample says of rows without ratings, shape (samples, n, width)."""
        entities, samples, map_ = self.items, self.item_samples, self.item_map
        if side == "user":
            entities, samples, map_ = self.users, self.user_samples, self.user_map
        tokens, map_ = entities.tokens[rows], map_.astype(np.float64)
        if side == "user":
            features = (tokens - self.user_centre) * self.user_scale
        else:
            features = TextFeatures(self.centre, self.unit, self.middle, self.scale)(tokens)
        made: Floats = features @ map_[:, :-1] + map_[:, -1:]
        of_unknown = samples[entities.unknown][:, None]
        return np.where(entities.has_token[rows][:, None], made, of_unknown)

    def _user_regression(
        self, row: int, items: Rows, values: Floats, weights: Floats
    ) -> Regression:
        """What a user's ratings say in every sample: design, what is open, and precisions."""
        n, c = self.user_samples.shape[1], self.lead.shape[1]
        q = self.item_samples[items].astype(np.float64).transpose(1, 0, 2)
        x = np.broadcast_to(self.lead[items], (n, len(items), c))
        design = np.concatenate([x, q[:, :, :-1], np.ones((n, len(items), 1))], axis=2)
        usual = self.corrections(np.full(len(items), self.users.unknown), items)
        usual = usual + self.newcomer_terms(np.full(len(items), row), items)
        open_ = (values - self.mean) / self.std - q[:, :, -1] - usual
        precision = weights / (self.user_open[row, 0] * self.item_open[items, 0])
        return design, open_, precision

    def _blur(self, items: Rows, precision: Floats) -> tuple[Floats, Floats]:
        """What the covariances of rated items' rows, kept as means, add to a user's precision."""
        c, k = self.lead.shape[1], self.item_samples.shape[2] - 1
        total = precision @ self.item_open[items, 1:-2].astype(np.float64)
        square = np.zeros((k + 1, k + 1))
        square[np.triu_indices(k + 1)] = total
        square = square + np.triu(square, 1).T
        added, taken = np.zeros((c + k + 1, c + k + 1)), np.zeros(c + k + 1)
        added[c:-1, c:-1], taken[c:-1] = square[:-1, :-1], square[:-1, -1]
        return added, taken

    def user_entries(self, row: int, rated: Rated, changes: Rated) -> dict[str, Any]:
        items, values, weights = rated
        prior = self.prior("user", np.array([row]))[:, 0]
        n, c = len(prior), self.lead.shape[1]
        if not len(items):
            return {"user_samples": prior, "user_open": self._user_open(row, prior)}
        design, open_, precision = self._user_regression(row, items, values, weights)
        known = prior, self.user_spread, antithetic(*prior.shape)
        blur = self._blur(items, precision)
        drawn, _ = conditional(design, open_, precision, *known, blur)
        if self.timestamps is not None and self.drift_variance:
            uid, iids = self.users.ids[row], [self.items.ids[k] for k in items]
            s = Sequence.of(
                np.zeros(len(items), int), self.timestamps.of_pairs([uid] * len(items), iids), 1
            )
            for _ in range(_ROUNDS):  # coordinate ascent to the mode of both, which is their mean
                left = open_.mean(axis=0) - np.einsum("snk,sk->n", design, drawn) / n
                drift = np.zeros(len(items))
                drift[s.at] = s.smoothed(
                    left[s.at], precision[s.at], DriftScale(self.drift_variance, self.drift_tau)
                )[0]
                drawn, _ = conditional(design, open_ - drift, precision, *known, blur)
            values = values - self.std * drift
        taste = np.column_stack([drawn[:, c:-1], np.ones(n)])
        learned = np.einsum("snk,sk->sn", design, drawn).mean(axis=0)
        q = self.item_samples[items].astype(np.float64).transpose(1, 0, 2)
        gap = np.einsum("snk,sk->sn", q - self.prior("item", items), taste).mean(axis=0)
        rest = (values - self.mean) / self.std - self.newcomer_terms(
            np.full(len(items), row), items
        )
        rest = rest - learned - q[:, :, -1].mean(axis=0) + gap
        opened = self._user_open(row, drawn)
        opened[-1] = 0
        selection = self.correction.row(self.lead[items], gap, rest, weights)
        return {"user_samples": drawn, "user_open": opened, "selection": selection}

    def _user_open(self, row: int, samples: Floats) -> Singles:
        """What samples of a user leave open, as they do of one without ratings."""
        opened = self.user_open[row].copy()
        taste = np.column_stack([samples[:, self.lead.shape[1] : -1], np.ones(len(samples))])
        opened[1:-2] = products(taste, True).mean(axis=0)
        opened[-2] = np.mean(np.sum((taste[:, None] @ self.item_spread)[:, 0] * taste, axis=1))
        return opened

    def item_entries(self, row: int, rated: Rated, changes: Rated) -> dict[str, Any]:
        users, values, weights = rated
        prior = self.prior("item", np.array([row]))[:, 0]
        n, c = len(prior), self.lead.shape[1]
        lead = self.lead[row]
        if self.items.has_token[row] and c:
            lead = (self.items.tokens[row, :c] - self.centre[:c]) * self.lead_scale
        v = self.user_samples[users].astype(np.float64).transpose(1, 0, 2)
        design = np.concatenate([v[:, :, c:-1], np.ones((n, len(users), 1))], axis=2)
        known = self.newcomer_terms(users, np.full(len(users), row))
        open_ = (values - self.mean) / self.std - known - v[:, :, :c] @ lead - v[:, :, -1]
        precision = weights / (self.item_open[row, 0] * self.user_open[users, 0])
        mean, covariance = conditional(design, open_, precision, prior, self.item_spread, None)
        opened, warm = self.item_open[row].copy(), len(users) > 0
        share = 1.0
        if warm:
            sure = 1 + self.item_spread[:, -1, -1] * precision.sum()
            share = float(np.mean(EVEN_ODDS / sure))
            opened[1:-2] = covariance.mean(axis=0)[np.triu_indices(covariance.shape[1])]
            opened[-2] = 0
        if not self.text_share.any():
            share = 0.0
        return {"item_samples": mean, "text_share": share, "item_open": opened, "lead": lead}


def _check_widths(arrays: Mapping[str, Any], users: EntityIndex, items: EntityIndex) -> None:
    """Lengths that depend on each other: kernels rely on them, and a file may lie."""
    leading, products = len(arrays["unit"]), len(arrays["middle"])
    dims, content = len(arrays["centre"]), arrays["lead"].shape[1]
    of_users, of_items = arrays["user_samples"].shape, arrays["item_samples"].shape
    right = {
        "user_samples": of_users[2] == content + of_items[2] and of_users[1] > 0,
        "centre": dims == items.tokens.shape[1],
        "unit": leading == min(LEAD, dims),
        "middle": products == leading * (leading + 1) // 2,
        "scale": len(arrays["scale"]) == dims + products,
        "user_centre": len(arrays["user_centre"]) == users.tokens.shape[1],
    }
    if not all(right.values()):
        wrong = [name for name, well in right.items() if not well]
        raise FileFormatError(f"{wrong} are not as long as the other parts ask for")
