"""LLM tokens for scikit-surprise: the text of items and users inside matrix factorisation.

The public names are imported when first used: ``import llmtokens`` loads neither torch,
scikit-learn nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "LLMTokens": "tokens",
    "TokenReducer": "tokens.reducer",
    "SentenceEncoder": "encode",
    "StaticEncoder": "encode",
    "HashingEncoder": "encode",
    "ImageEncoder": "encode",
    "LLMTokensSVD": "algorithms.svd",
    "LLMTokensBPMF": "algorithms.bpmf",
    "LLMTokensEASE": "algorithms.ease",
    "LLMTokensContent": "algorithms.content",
    "load": "storage.models",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
        globals()[name] = value
        return value
    try:
        return importlib.import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted(__all__)
