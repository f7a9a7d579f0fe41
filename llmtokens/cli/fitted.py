"""From arguments to a fitted model and its ids; nothing that only fitting needs is imported."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from pathlib import Path

from ..algorithms.base import TokenAlgoBase
from ..data.entities import EntityIndex
from ..errors import LLMTokensWarning, sample
from ..storage import models as persist


def open_model(path: Path) -> TokenAlgoBase:
    """A fitted model from its file."""
    algo = persist.load(path)
    assert isinstance(algo, TokenAlgoBase)
    return algo


def raw_id(entities: EntityIndex, text: str) -> Hashable:
    """The id that reads like this, in the type the model knows it by; else the text itself."""
    known = entities.as_known(text)
    if entities.row(known) != entities.unknown:
        return known
    warnings.warn(
        f"the model knows no {entities.side} {text!r}; it has {sample(entities.ids, 3)}: what "
        f"follows holds for any {entities.side} it does not know",
        LLMTokensWarning,
        stacklevel=2,
    )
    return text


def seen(text: str) -> bool | list[str]:
    """What to leave out: everything, nothing, or kinds of events."""
    return {"yes": True, "no": False}.get(text, [kind.strip() for kind in text.split(",")])
