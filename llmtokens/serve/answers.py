"""What the model answers, as rows for JSON; several questions at once where that costs less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from ..recommend import ask, where
from ..recommend.similar import require_item_tokens
from .live import LiveModel


class Asked(NamedTuple):
    """What questions have in common that can be answered together."""

    n: int
    where: str | None
    diversity: float
    popularity_penalty: float = 0.0
    known: bool = True  # somebody's taste counts


class Answers:
    """What a live model answers."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live

    def lists(self, how: Asked, users: Sequence[str]) -> list[Any]:
        """The best items for each of some users."""
        algo = self._live.algo
        uids = [algo.users_.as_known(user) for user in users]
        found = algo.recommend(
            list(dict.fromkeys(uids)), how.n, where=how.where, diversity=how.diversity,
            popularity_penalty=how.popularity_penalty,
        )  # fmt: skip
        of: dict[Any, list[Any]] = {uid: [] for uid in uids}
        for line in rows(found):
            of[line.pop("user")].append(line)
        return [of[uid] for uid in uids]

    def answers(self, how: Asked, questions: Sequence[tuple[str, str | None]]) -> list[Any]:
        """Items for each of some texts, with the user whose taste counts, or nobody."""
        model = self._live.algo.model_
        users = model.users
        listing = ask.Listing(how.n, diversity=how.diversity)
        asked = [
            ask.Question(text, None if user is None else users.row(users.as_known(user)))
            for text, user in questions
        ]
        who, found = ask.ask(model, asked, listing, where=how.where)
        of: list[list[Any]] = [[] for _ in asked]
        for k, line in zip(who.tolist(), rows(found), strict=True):
            if line.get("wish", "") is None:  # the question is one wish, others here are several
                del line["wish"]
            of[k].append(line)
        return of

    def ends(self, k: int, n: int) -> list[dict[str, Any]]:
        """What lies at the ends of the leading entries of the item tokens."""
        found = require_item_tokens(self._live.algo.model_).describe(k, n)
        made = []
        for line in rows(found):
            parts: dict[str, dict[str, Any]] = {" share": {}, " mean": {}}
            for name in list(line):
                for ending, part in parts.items():
                    if name.endswith(ending):
                        part[name.removesuffix(ending)] = line.pop(name)
            made.append(line | {"shares": parts[" share"], "means": parts[" mean"]})
        return made

    def columns(self) -> list[str]:
        """What a condition may be about."""
        tokens = self._live.algo.model_.item_tokens
        if tokens is None:
            return ["item"]
        return ["item", *(["label"] if tokens.labels is not None else []), *(tokens.columns or ())]

    def condition(self) -> str:
        """An example of one."""
        return where.example(self._live.algo.model_)


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a frame; NaN, which JSON has not, as null."""
    columns = {
        str(name): [None if x != x else x for x in column.tolist()]
        for name, column in frame.items()
    }
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]
