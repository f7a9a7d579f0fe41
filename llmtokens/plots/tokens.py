"""The map of tokens: what texts are about, in two dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, sample
from ..runtime.arrays import Floats, Rows, unit_rows
from ..runtime.progress import progress
from ..tokens.words import Words
from .style import GRID, INK, PALETTE, finish, new_axes, plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..tokens import LLMTokens

_MOST = 3000  # ids that are placed: t-SNE takes some ten seconds
_DIMS, _PERPLEXITY = 50, 30
_CLUSTERS, _IN_CLUSTER = 12, 15  # at most so many, of so many ids on average at least
_NEAREST = 5  # ids that a user is placed among
_NAME = (0.22, 0.06)  # width and height of a name, as shares of the map
_HUES = "viridis"


def token_map(
    tokens: LLMTokens,
    ax: Axes | None = None,
    *,
    by: str | None = None,
    users: LLMTokens | None = None,
    texts: Sequence[str] | None = None,
) -> Axes:
    """What is alike in its text lies close together; groups bear the words that tell them apart.

    Points are placed by t-SNE (van der Maaten and Hinton 2008), begun from the first two principal
    components, on ``tokens.embeddings``: text alone, while in the tokens' first dimensions years or
    categories may drown it. Where there are no embeddings, on the tokens. Distances between groups
    mean little, and axes nothing. Of more than 3,000 ids, evenly spread rows are shown. Groups are
    found on the map (k-means) and named by up to two words or labels, as in
    :meth:`~llmtokens.LLMTokens.describe`; one for which there are none, by the id in its middle.

    Parameters
    ----------
    tokens : LLMTokens
    ax : Axes, optional
    by : str, optional
        A column of ``tokens.columns`` that colours the points: numbers by a scale; of labels the
        five that most points have, a point with several in that which fewest have.
    users : LLMTokens, optional
        Users in the space of the items, as of ``LLMTokens.from_history``: each is drawn in the
        middle (median) of the five points whose texts are nearest, both seen from their own means.
    texts : sequence of str, length len(tokens), optional
        Where words are looked for; by default the labels.

    Raises
    ------
    DataError
        For tokens of one dimension or fewer than three ids, an unknown column, users in another
        space, or unless there is one text per id.
    MissingExtraError
        Without matplotlib.
    """
    ax, own = new_axes(ax, height=5.6, grid=False)
    where_users = None if users is None else _of_users(tokens, users)
    rows, places, named = place(tokens, texts)
    dots: dict[str, Any] = {"s": 7, "lw": 0, "alpha": 0.6, "rasterized": len(rows) > 2000}
    if by is None:
        ax.scatter(places[:, 0], places[:, 1], color=PALETTE[0], **dots)
    else:
        _coloured(ax, places, by, _column(tokens, by, rows), dots)
    if where_users is not None:
        at = _among(places, _space(tokens)[rows].astype(np.float64), where_users)
        look: dict[str, Any] = {"s": 16, "marker": "^", "fc": INK, "ec": "white", "lw": 0.4}
        ax.scatter(at[:, 0], at[:, 1], **look, label="users")
    for (x, y), name in named:
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}
        ax.annotate(
            plain_text(name, 18), (x, y), fontsize=8, ha="center", va="center", color=INK, bbox=box
        )
    shown = f"{len(rows):,}" if len(rows) == len(tokens) else f"{len(rows):,} of {len(tokens):,}"
    what = "tokens" if tokens.embeddings is None else "texts"
    ax.set(xticks=[], yticks=[], xlabel=f"{shown} {what}: the nearer, the more alike (t-SNE)")
    finish(ax, own)
    for legend in [*ax.get_figure(root=True).legends] if own else []:  # type: ignore[union-attr]
        for handle in legend.legend_handles:
            handle.set_sizes([30])
    return ax


class Places(NamedTuple):
    """Where things stand on the map.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Of the table: those that are shown.
    places : ndarray of float64, shape (n, 2)
    groups : list of (place, name)
    """

    rows: Rows
    places: Floats
    groups: list[tuple[Floats, str]]


def place(tokens: LLMTokens, texts: Sequence[str] | None = None) -> Places:
    """Where ids and the names of groups stand; see :func:`token_map`.

    Raises
    ------
    DataError
        For tokens of one dimension or fewer than three ids, or unless there is one text per id.
    """
    words = Words.of(len(tokens), tokens.labels if texts is None else list(texts), tokens.columns)
    space = _space(tokens)
    rows = np.flatnonzero(space.any(axis=1))
    if tokens.n_dims < 2 or len(rows) < 3:
        raise DataError(
            f"found tokens of {tokens.n_dims} dimension(s) and {len(rows)} ids with content; a map "
            "needs two dimensions and three ids at least"
        )
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, _MOST).astype(int))]
    places = _places(space[rows].astype(np.float64))
    names = tokens.labels or [str(raw) for raw in tokens.ids]
    groups = _named(places, words.of_rows(rows), [names[row] for row in rows])
    return Places(rows, places, groups)


def _space(tokens: LLMTokens) -> NDArray[np.floating]:
    return tokens.vectors if tokens.embeddings is None else tokens.embeddings


def _places(space: Floats) -> Floats:
    """Rows in two dimensions, shape (n, 2); the same for any number of threads."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n = len(space)
    with threadpool_limits(1), progress("placing tokens on a map"):
        reduced = PCA(min(_DIMS, n, space.shape[1]), svd_solver="full").fit_transform(space)
        perplexity = min(_PERPLEXITY, (n - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", method="exact" if n < 100 else "barnes_hut",
                    random_state=0)  # fmt: skip
        return np.asarray(tsne.fit_transform(reduced), np.float64)


def _named(places: Floats, words: Words, names: list[str]) -> list[tuple[Floats, str]]:
    """Where each group's name stands, its middle or below another name there, and the name."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    k = min(_CLUSTERS, -(-len(places) // _IN_CLUSTER))
    with threadpool_limits(1):
        group = KMeans(k, n_init=3, random_state=0).fit_predict(places)
    room = np.ptp(places, axis=0) * _NAME
    found = list[tuple[Floats, str]]()
    for g in np.argsort([-np.median(places[group == g, 1]) for g in range(k)]):
        inside = np.flatnonzero(group == g)
        middle = np.median(places[inside], axis=0)
        central = inside[np.argmin(((places[inside] - middle) ** 2).sum(axis=1))]
        telling = words.telling(group == g, 2) if words.names and k > 1 else []
        while any((np.abs(middle - other) < room).all() for other, _ in found):
            middle = middle - [0, room[1] / 4]
        found.append((middle, ", ".join(telling) or _short(names[central])))
    return found


def _of_users(tokens: LLMTokens, users: LLMTokens) -> Floats:
    """What stands for users in the space of the map."""
    found: NDArray[np.floating] | None = users.vectors
    same = users.n_dims == tokens.n_dims
    if tokens.embeddings is not None:
        found, same = users.embeddings, users.text_space == tokens.text_space
    if found is None or not same:
        raise DataError(
            f"found users in the space {users.text_space!r} of {users.n_dims} dims; expected that "
            f"of the items, {tokens.text_space!r} of {tokens.n_dims} dims: make them with "
            "LLMTokens.from_history, or from_frame(..., like=items)"
        )
    return np.asarray(found[found.any(axis=1)], np.float64)


def _among(places: Floats, space: Floats, users: Floats) -> Floats:
    """Where users lie: in the middle of the points that are nearest to them."""
    mean = users.mean(axis=0) if len(users) > 1 else space.mean(axis=0)
    near = unit_rows(users - mean) @ unit_rows(space - space.mean(axis=0)).T
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :_NEAREST]
    return np.asarray(np.median(places[nearest], axis=1), np.float64)


def _column(tokens: LLMTokens, by: str, rows: Rows) -> list[Any]:
    columns = tokens.columns or {}
    if by not in columns:
        raise DataError(
            f"found by={by!r:.60}; expected one of the columns that the tokens were made from: "
            f"{sample(columns) or 'none'}"
        )
    return [columns[by][row] for row in rows]


def _coloured(ax: Axes, places: Floats, by: str, cells: list[Any], dots: dict[str, Any]) -> None:
    if not any(isinstance(cell, list) for cell in cells):
        values = np.array(cells, np.float64)
        known = np.isfinite(values)
        ax.scatter(*places[~known].T, color=GRID, **dots)
        low, high = np.quantile(values[known], [0.02, 0.98]) if known.any() else (0.0, 1.0)
        x, y = places[known].T
        drawn = ax.scatter(x, y, c=values[known], cmap=_HUES, vmin=low, vmax=high, **dots)
        figure = ax.get_figure(root=True)
        assert figure is not None
        bar = figure.colorbar(drawn, ax=ax, label=plain_text(by), shrink=0.7, extend="both")
        bar.solids.set_alpha(1)  # type: ignore[union-attr]
        return
    common, chosen = common_labels(cells)
    for k, label in enumerate(common):
        mine = np.array([x == label for x in chosen])
        ax.scatter(*places[mine].T, color=PALETTE[k], **dots, label=plain_text(label))
    others = np.array([label is None for label in chosen])
    if others.any():
        ax.scatter(*places[others].T, color=GRID, **dots, label="others")


def common_labels(cells: Sequence[list[str]]) -> tuple[list[str], list[str | None]]:
    """The labels that most cells have, one for each colour but the last, and which of them stands
    for each cell: of several that which fewest have."""
    counts = Counter(label for cell in cells for label in cell)
    common = dict(counts.most_common(len(PALETTE) - 1))
    chosen = [min((x for x in cell if x in common), key=lambda x: common[x], default=None)
              for cell in cells]  # fmt: skip
    return list(common), chosen


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"
