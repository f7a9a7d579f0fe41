"""A generated shop: visitors look, fill a cart, and buy what goes with what they have."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError

_DAY = 86_400  # seconds
_FIRST_DAY = 1_704_067_200  # 2024-01-01
_GOODS = {  # a kind, and the kinds that people need next
    "tent": ["sleeping bag"],
    "sleeping bag": ["sleeping mat"],
    "sleeping mat": ["camping stove"],
    "camping stove": ["gas cartridge", "cooking pot"],
    "gas cartridge": ["gas cartridge", "water filter"],
    "cooking pot": ["cutlery"],
    "cutlery": ["water filter"],
    "water filter": ["hiking map"],
    "hiking map": ["hiking boots"],
    "hiking boots": ["wool socks"],
    "wool socks": ["gaiters", "boot wax"],
    "boot wax": ["hiking poles"],
    "gaiters": ["hiking poles"],
    "hiking poles": ["rucksack"],
    "rucksack": ["rain cover"],
    "rain cover": ["rain jacket"],
    "rain jacket": ["fleece"],
    "fleece": ["running shoes"],
    "running shoes": ["running socks"],
    "running socks": ["running shorts"],
    "running shorts": ["heart rate strap"],
    "heart rate strap": ["bike computer"],
    "bike computer": ["road bike"],
    "road bike": ["bike helmet"],
    "bike helmet": ["cycling gloves"],
    "cycling gloves": ["bike pump"],
    "bike pump": ["inner tube"],
    "inner tube": ["inner tube", "bike lock"],
    "bike lock": ["bike lights"],
    "bike lights": ["tent"],
}
_MAKERS = ["Alder", "Birk", "Cairn", "Drift", "Esker", "Fjell", "Glen", "Heath", "Inlet", "Juniper"]
_FEATURES = ["light", "warm", "sturdy", "cheap", "compact"]
_GOES_ON = 0.8  # how often the next need follows from the last purchase
_LOYAL = 0.5  # how often a visitor looks at the maker they bought from


def shop_events(
    n_users: int = 400, per_kind: int = 8, n_journeys: int = 8, random_state: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events of a shop for the outdoors, and its goods.

    A visitor has a need, looks at two to six products of that kind (``view``), puts some into the
    cart (``cart``) and mostly buys one (``buy``). A few days later comes the next need, which
    mostly follows from what was bought: a sleeping bag after a tent, gas again after gas. Between
    journeys they look at what is popular.

    Parameters
    ----------
    n_users : int
    per_kind : int
        Products of each of 30 kinds.
    n_journeys : int
        Of each visitor.
    random_state : int
        Equal numbers give equal frames, on every platform.

    Returns
    -------
    events : DataFrame
        ``user item event timestamp``, in order of time: what :func:`load_events` reads.
    items : DataFrame
        ``item title kind description``.

    Raises
    ------
    DataError
        If a number is not at least 1.

    Examples
    --------
    >>> from llmtokens.datasets import load_events, shop_events
    >>> events, items = shop_events(n_users=20)
    >>> sorted(events["event"].unique())
    ['buy', 'cart', 'view']
    """
    for name, value in (("n_users", n_users), ("per_kind", per_kind), ("n_journeys", n_journeys)):
        if value < 1:
            raise DataError(f"found {name}={value!r}; expected at least 1")
    rng = np.random.Generator(np.random.PCG64(random_state))
    kinds = list(_GOODS)
    kind = np.repeat(np.arange(len(kinds)), per_kind)
    maker = rng.integers(0, len(_MAKERS), len(kind))
    appeal = np.exp(rng.standard_normal(len(kind)))
    rows = []
    for user in range(1, n_users + 1):
        now = _FIRST_DAY + 60.0 * _DAY * rng.random()
        need, liked = int(rng.integers(len(kinds))), int(rng.integers(len(_MAKERS)))
        for _ in range(n_journeys):
            for item in rng.choice(len(kind), rng.integers(1, 4), p=appeal / appeal.sum()):
                now += 60 * rng.exponential()
                rows.append((user, int(item), "view", now))
            bought = _journey(rng, user, np.flatnonzero(kind == need), maker == liked, appeal, now)
            rows += bought
            last = bought[-1]
            now = last[3] + _DAY * (1 + 5 * rng.exponential())
            if last[2] == "buy":
                liked = int(maker[last[1]])
            need = int(rng.integers(len(kinds)))
            if rng.random() < _GOES_ON:
                goes_with = _GOODS[kinds[kind[last[1]]]]
                need = kinds.index(goes_with[int(rng.integers(len(goes_with)))])
    events = pd.DataFrame(rows, columns=["user", "item", "event", "timestamp"])
    events["item"] += 1
    events["timestamp"] = events["timestamp"].astype(np.int64)
    feature = rng.integers(0, len(_FEATURES), len(kind))
    items = pd.DataFrame(
        {
            "item": np.arange(1, len(kind) + 1),
            "title": [f"{_MAKERS[m]} {kinds[k]}" for m, k in zip(maker, kind, strict=True)],
            "kind": [kinds[k] for k in kind],
            "description": [
                f"A {_FEATURES[f]} {kinds[k]} by {_MAKERS[m]}."
                for f, k, m in zip(feature, kind, maker, strict=True)
            ],
        }
    )
    return events.sort_values("timestamp", kind="stable", ignore_index=True), items


def _journey(
    rng: np.random.Generator,
    user: int,
    goods: np.ndarray,
    favoured: np.ndarray,
    appeal: np.ndarray,
    now: float,
) -> list[tuple[int, int, str, float]]:
    """Views, carts and perhaps a purchase of one kind of goods; favoured ones attract."""
    weight = appeal[goods] * np.where(favoured[goods] & (rng.random() < _LOYAL), 8.0, 1.0)
    n = min(len(goods), int(rng.integers(2, 7)))
    viewed = rng.choice(goods, n, replace=False, p=weight / weight.sum())
    rows = []
    for item in viewed.tolist():
        now += 60 * rng.exponential()
        rows.append((user, item, "view", now))
    carted = rng.permutation(viewed)[: int(rng.integers(1, 3))].tolist()
    for item in carted:
        now += 30 * rng.exponential()
        rows.append((user, item, "cart", now))
    if rng.random() < 0.8:
        rows.append((user, carted[0], "buy", now + 60))
    return rows
