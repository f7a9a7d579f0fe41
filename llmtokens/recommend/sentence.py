"""An explanation in one sentence, in which nothing is said that is not so."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .interface import FittedModel
from .ranking import labels

WRITTEN = 0.05  # what is less is 0 as it is written
SPEAKS = 0.005  # influence, as a share of the rating scale, that is worth a word
SOME = 5  # ratings by others, from which an item's level is theirs more than its text's
_NAMED = 2  # ratings that raise, and that lower
_BASES = {"mean", "lowest rating", "estimate"}  # terms from which the others lead away


class Case(NamedTuple):
    """Whom and what an explanation is about.

    Attributes
    ----------
    model : FittedModel
    user, item : int
        Rows.
    iid : raw id
    est : float
    terms : dict of str to float
    basis : str
        How the user is known, see :func:`~llmtokens.recommend.ranking.basis`.
    rated : DataFrame
        The user's ratings by their influence.
    """

    model: FittedModel
    user: int
    item: int
    iid: Hashable
    est: float
    terms: dict[str, float]
    basis: str
    rated: pd.DataFrame


def sentence(case: Case) -> str:
    """What is expected, the largest terms either way, what is known, and which ratings speak."""
    return "; ".join([_expected(case) + _mostly(case), *_known(case), *_because(case)]) + "."


def quoted(model: FittedModel, iid: Hashable) -> str:
    """The label of an item in quotation marks; its id, where it has none."""
    tokens = model.item_tokens
    named = tokens is not None and tokens.labels is not None and iid in tokens
    return f'"{(labels(model, [iid]) or [""])[0]}"' if named else f"item {iid}"


def _expected(case: Case) -> str:
    model, (low, high) = case.model, case.model.ratings.scale
    name = quoted(model, case.iid)
    name = name[0].upper() + name[1:]
    if not model.has_opinions:
        return f"{name} has a score of {case.est:.2f} on a scale from {low:g} to {high:g}"
    usual = model.ratings.global_mean
    distance = case.est - usual
    beside = "about"
    if abs(distance) >= WRITTEN:
        beside = f"{abs(distance):.1f} {'above' if distance > 0 else 'below'}"
    return (
        f"{name} is expected to get {case.est:.1f} on a scale from {low:g} to {high:g}, "
        f"{beside} the average rating of {usual:.1f}"
    )


def _mostly(case: Case) -> str:
    """The largest term in either direction, the one first that leads where the estimate is."""
    low, usual = case.model.ratings.scale[0], case.model.ratings.global_mean
    start = usual if case.model.has_opinions else low
    if abs(sum(x for name, x in case.terms.items() if name in _BASES) - start) >= WRITTEN:
        return ""  # terms that do not lead away from the average
    parts = {name: x for name, x in case.terms.items() if name not in _BASES}
    distance = case.est - start
    said = []
    for sign in (1, -1) if distance > 0 else (-1, 1):
        side = {name: abs(x) for name, x in parts.items() if sign * x >= WRITTEN}
        if side:
            name = max(side, key=lambda name: side[name])
            said.append((sign, f"{_words(case, name)} ({parts[name]:+.1f})"))
    if not said:
        return ""
    if abs(distance) < WRITTEN:
        return ", with " + " and ".join(words for _, words in said)
    first = ", mostly for " if said[0][0] * distance > 0 else ", in spite of "
    return first + ", in spite of ".join(words for _, words in said)


def _words(case: Case, term: str) -> str:
    """What a term is about, for this user and this item."""
    known = case.basis == "ratings"
    whose = {
        "ratings": "this user's taste",
        "text": "what this user's description says",
        "popular": "users in general",
    }[case.basis]
    text = _has_a_say(case)
    rating = {
        "ratings": "how this user rates in general",
        "text": "how users of such a description rate",
        "popular": "how users rate who are not known",
    }
    if term == "item bias":
        return _level(case, text)
    if term == "factors":
        warm = case.item < case.model.items.n_warm
        return f"how {'it' if warm or not text else 'its text'} suits {whose}"
    return {
        "user bias": rating[case.basis],
        "content": f"how its text suits {whose}" if text else f"how it suits {whose}",
        "text": "how well texts like its are liked" if text else "how items without a text are",
        "choices": "what this user has chosen" if known else "what is chosen in general",
        "popularity": "how often it is chosen",
        "selection correction": "how what is picked differs from what its text says",
        "new user": "how new users rate what is rated as often",
        "moment": "what this user was like at that time",
        "end of the rating scale": "the end of the rating scale",
    }.get(term, term)


def _has_a_say(case: Case) -> bool:
    """Whether the item has a text, and for one without ratings, whether it changes anything."""
    model, item = case.model, case.item
    if item < model.items.n_warm or not model.items.has_token[item]:
        return bool(model.items.has_token[item])
    rows = np.array([item, model.items.unknown])
    of_text, of_unknown = model.estimates(np.full(2, case.user), rows, False)[0]
    return bool(of_text != of_unknown)


def _level(case: Case, text: bool) -> str:
    """Whether it is others' ratings or its text that an item's level is from."""
    others = np.sum(case.model.ratings.of_item(case.item)[0] != case.user)
    if others >= SOME or (others and not text):
        return "how others rate it"
    if others:
        return "how others rate it and what its text says"
    return "what its text says" if text else "how items are rated of which nothing is known"


def _known(case: Case) -> list[str]:
    """What is not known of user or item, and what the user has said of it already."""
    model, opinions = case.model, case.model.has_opinions
    said = []
    if case.basis == "text":
        said.append("the user is known by a description alone")
    elif case.basis == "popular" and model.users.has_token[case.user]:
        said.append("the user is known by a description alone, of which this model makes nothing")
    elif case.basis == "popular":
        said.append("the user is unknown: nothing is known of the user")
    if case.item == model.items.unknown:
        said.append("the item is unknown: there is neither a rating nor a text of it")
        return said if opinions else [text.replace("a rating", "a choice") for text in said]
    items, values, _ = model.ratings.of_user(case.user)
    own = values[items == case.item]
    if case.item >= model.items.n_warm:
        said.append(f"nobody has {'rated' if opinions else 'chosen'} it")
    elif len(own) and opinions:
        said.append(f"the user has rated it already ({', '.join(f'{x:g}' for x in own)})")
    elif len(own):
        said.append("the user has chosen it already")
    return said


def _because(case: Case) -> list[str]:
    """The ratings that speak loudest for and against, in words."""
    rated, (low, high) = case.rated, case.model.ratings.scale
    said = []
    for verb, sign in (("raised", 1), ("lowered", -1)):
        loud = rated.index[sign * rated["influence"] > SPEAKS * (high - low)][:_NAMED]
        plain, other = [], []
        for k in loud:
            name, rating = quoted(case.model, rated["item"][k]), float(rated["rating"][k])
            if not case.model.has_opinions:
                plain.append(name)
            elif _unlike(case, rated["item"][k], rating, sign):
                how = "low" if sign > 0 else "high"
                other.append(f"{name}, which the user rated {how} ({rating:g})")
            else:
                plain.append(f"{name} ({rating:g})")
        if plain:
            what = "rating" if case.model.has_opinions else "choice"
            said.append(f"{verb} most by the user's {what} of {' and '.join(plain)}")
        if other:
            said.append(f"{verb} by being unlike {' and '.join(other)}")
    return said


def _unlike(case: Case, iid: Hashable, rating: float, sign: int) -> bool:
    """Whether a rating speaks for the item by being low, or against it by being high.

    It does where it is on the other side both of the scale's middle and of the user's mean, and
    where it says of its own item the opposite of what it says of this one. Models of choices know
    no such thing: there what was chosen at all speaks.
    """
    row = case.model.items.row(iid)
    if "choices" in case.terms or row == case.item:
        return False
    middle = sum(case.model.ratings.scale) / 2
    mean = float(case.rated["rating"].mean())
    if not (sign * (middle - rating) > 0 and sign * (mean - rating) > 0):
        return False
    own: Any = case.model.influence(case.user, row)
    at = np.flatnonzero(case.model.ratings.of_user(case.user)[0] == row)
    return own is not None and len(at) == 1 and sign * float(own[at[0]]) < 0
