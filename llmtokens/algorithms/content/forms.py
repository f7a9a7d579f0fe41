"""The two classical forms of content: from ratings, as much as they still say, and tokens to levels
and tastes; a user's by a ridge regression each, one strength for all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.entities import EntityIndex
from ...data.ratings import Ratings
from ...data.times import checked_half_life, decayed
from ...data.timestamps import Timestamps
from ...errors import DataError
from ...runtime.arrays import Floats, Rows, Singles, unit_rows
from ..rating_scale import SHRINK, line, user_means
from ..ridge import TokenRidge, apply_map
from ..user_text import UserText

_STRENGTHS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_JUDGES = 500  # users on whom the strength is chosen


def learn_ridge(
    ratings: Ratings, users: EntityIndex, items: EntityIndex, content: Singles
) -> dict[str, Any]:
    warm = content[: ratings.n_items].astype(np.float64)
    residual = ratings.value - _ageless_means(ratings)[ratings.user]
    item_map = _from_text(content, ratings.item, residual, ratings.item_counts)
    item_map[-1] += ratings.global_mean
    level = apply_map(item_map, content)[:, 0]
    residual = ratings.value - level[ratings.item]
    user_map = _of_users(ratings, users, items, residual)
    base = apply_map(user_map, users.tokens)
    taste, user_level = base[:, :-1].astype(np.float32), base[:, -1].copy()
    residual -= base[ratings.user, -1]
    if taste.any():
        residual -= np.einsum("nd,nd->n", taste[ratings.user], content[ratings.item])

    weights = np.ones(ratings.n) if ratings.weight is None else ratings.weight
    strength = choose_strength(ratings, warm, residual, weights)
    for u in range(ratings.n_users):
        mine = slice(ratings.user_ptr[u], ratings.user_ptr[u + 1])
        solution = user_ridge(warm[ratings.item[mine]], residual[mine], strength, weights[mine])
        taste[u] += solution[:-1]
        user_level[u] += solution[-1]
    return {
        "item_level": level,
        "user_level": user_level,
        "user_base": base[:, -1],
        "item_content": content,
        "user_taste": taste,
        "strength": strength,
        "item_map": item_map,
        "user_map": user_map,
    }


def _of_users(ratings: Ratings, users: EntityIndex, items: EntityIndex, residual: Floats) -> Floats:
    """Turns ``[s_u, 1]`` into what the text of users says of ``[v_u, b_u]``, (d_u + 1, d + 1)."""
    told = users.table is not None and not users.from_history
    about = users.tokens if told else np.zeros_like(users.tokens)  # or what these very ratings say
    level = _from_text(about, ratings.user, residual, ratings.user_counts)
    out = np.hstack([np.zeros((len(level), items.tokens.shape[1])), level])
    if not told:
        return out
    residual = residual - apply_map(level, users.tokens)[ratings.user, 0]
    taste = UserText.learn(ratings, users, items, residual, items.tokens.shape[1], 1.0)
    if taste is not None:
        out[:, :-1] = taste.user_map @ taste.item_map[:-1].T / unit(items)[1]
        out[:, -1] += taste.user_map @ taste.item_map[-1]
    return out


def learn_cosine(
    ratings: Ratings, users: EntityIndex, items: EntityIndex, content: Singles
) -> dict[str, Any]:
    content = unit_rows(content)
    weight = ratings.stars(ratings.value)
    if ratings.weight is not None:
        weight = weight * ratings.weight
    profile = np.zeros((users.n_rows, content.shape[1]))
    cosine = np.zeros(ratings.n)
    for u in range(ratings.n_users):
        mine = slice(ratings.user_ptr[u], ratings.user_ptr[u + 1])
        x = content[ratings.item[mine]].astype(np.float64)
        profile[u] = weight[mine] @ x
        others = profile[u] - weight[mine, None] * x
        length = np.linalg.norm(others, axis=1)
        cosine[mine] = np.einsum("nd,nd->n", others, x) / np.where(length > 1e-9, length, np.inf)
    means = user_means(ratings)
    residual = ratings.value - _ageless_means(ratings)[ratings.user]
    slope, centre = line(cosine, residual)
    offset = float(residual.mean()) - slope * centre
    return {
        "item_level": np.zeros(len(content)),
        "user_base": np.full(users.n_rows, offset),
        "item_map": np.zeros((content.shape[1] + 1, 1)),
        "user_map": np.zeros((users.tokens.shape[1] + 1, content.shape[1] + 1)),
        "user_level": np.concatenate(
            [means, np.full(users.n_rows - len(means), ratings.global_mean)]
        )
        + offset,
        "item_content": content,
        "user_taste": (slope * unit_rows(profile)).astype(np.float32),
        "strength": slope,
    }


def _ageless_means(ratings: Ratings) -> Floats:
    """Of all ratings alike: what all users share is learned from these."""
    return user_means(replace(ratings, weight=None))


def unit(side: EntityIndex) -> tuple[Singles, float]:
    """Tokens of all rows, scaled to mean square norm 1 over those that have one; and the scale."""
    tokens = side.tokens
    if not side.has_token.any() or not tokens.any():
        return tokens, 1.0
    energy = np.mean(np.sum(np.square(tokens[side.has_token]), axis=1))
    return (tokens / np.sqrt(energy)).astype(np.float32), float(1 / np.sqrt(energy))


def _from_text(
    tokens: Singles,
    at: NDArray[np.int32],
    residual: Floats,
    counts: Rows,
) -> Floats:
    """Turns [token, 1] into the mean residual of a row, shape (d + 1, 1)."""
    means = np.bincount(at, residual, minlength=len(counts)) / np.maximum(counts, 1)
    return TokenRidge(tokens, counts).learn(means[:, None])


def choose_strength(ratings: Ratings, x: Floats, residual: Floats, weights: Floats) -> float:
    """The prior variance of a user's weights, relative to the noise, by leave-one-rating-out.

    ``weights`` (n,): how much each rating counts, also when it is left out.
    """
    several = np.flatnonzero(ratings.user_counts > 1)
    if len(several) == 0:
        return 0.0
    judges = several[np.unique(np.linspace(0, len(several) - 1, _JUDGES).astype(int))]
    losses = np.zeros(len(_STRENGTHS))
    for u in judges:
        mine = slice(ratings.user_ptr[u], ratings.user_ptr[u + 1])
        features, target = x[ratings.item[mine]], residual[mine]
        counts = weights[mine]
        losses += [left_out_loss(features, target, strength, counts) for strength in _STRENGTHS]
    return _STRENGTHS[int(np.argmin(losses))]


def _with_level(x: Floats, strength: float) -> Floats:
    """Features of unit prior: scaled tokens, and the constant that carries ``b_u``."""
    return np.column_stack([np.sqrt(strength) * x, np.full(len(x), SHRINK**-0.5)])


def left_out_loss(x: Floats, target: Floats, strength: float, weights: Floats) -> float:
    """Weighted squared error of each rating, predicted from the user's others."""
    root = np.sqrt(weights)
    z, target = root[:, None] * _with_level(x, strength), root * target
    if len(z) <= z.shape[1]:  # 1 - leverage is the diagonal of (Z Z' + I)^-1
        inverse = np.linalg.inv(z @ z.T + np.eye(len(z)))
        return float(np.sum((inverse @ target / np.diag(inverse)) ** 2))
    inverse = np.linalg.inv(z.T @ z + np.eye(z.shape[1]))
    leverage = np.einsum("nd,nd->n", z @ inverse, z)
    return float(np.sum(((target - z @ (inverse @ (z.T @ target))) / (1 - leverage)) ** 2))


def user_ridge(x: Floats, target: Floats, strength: float, weights: Floats) -> Floats:
    """``[v_u, b_u]``, shape (d + 1,), from ratings that count by their weights."""
    root = np.sqrt(weights)
    z, target = root[:, None] * _with_level(x, strength), root * target
    if len(z) <= z.shape[1]:
        solution = z.T @ np.linalg.solve(z @ z.T + np.eye(len(z)), target)
    else:
        solution = np.linalg.solve(z.T @ z + np.eye(z.shape[1]), z.T @ target)
    scale = np.full(z.shape[1], np.sqrt(strength))
    scale[-1] = SHRINK**-0.5
    return np.asarray(solution * scale)


def recent(ratings: Ratings, timestamps: Any, half_life: float | None) -> Floats:
    """Weights of ratings that halve with every ``half_life`` before their user's newest, (n,).

    ``timestamps`` is what :meth:`~llmtokens.data.timestamps.Timestamps.of` takes.

    Raises
    ------
    DataError
        If only one of the two is given, they are of another form, or a rating has no timestamp.
    """
    if timestamps is None or half_life is None:
        missing = "timestamps" if timestamps is None else "half_life"
        raise DataError(
            f"found {missing}=None; timestamps and half_life go together (a saved model keeps "
            "neither the trainset nor the timestamps: set the attribute before fitting it again)"
        )
    half_life = checked_half_life(half_life)
    times = Timestamps.of(timestamps).of_all_ratings(ratings)
    newest = np.maximum.reduceat(times, ratings.user_ptr[:-1])
    return decayed(newest[ratings.user] - times, half_life)
