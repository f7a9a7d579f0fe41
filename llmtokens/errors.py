"""Every error and warning that llmtokens raises on purpose.

All inherit from :class:`LLMTokensError`, and from the built-in a caller would expect, so that
``except ValueError`` around bad data and ``except OSError`` around files work as usual.
"""

from __future__ import annotations

from collections.abc import Iterable


class LLMTokensError(Exception):
    """Base of all errors of this library."""


class DataError(LLMTokensError, ValueError):
    """Ratings, texts, arrays or arguments that cannot be used as they are."""


class DivergenceError(DataError):
    """Training ran away, or broke down, on the way to a model."""


class AlignmentError(DataError):
    """The ids of the tokens and the ids of the ratings do not meet."""


class NotFittedError(LLMTokensError, ValueError, AttributeError):
    """The algorithm was asked for something it only knows after ``fit``."""


class FileFormatError(LLMTokensError, ValueError):
    """A file is damaged, was written by something else, or by a newer version."""


class StorageError(LLMTokensError, OSError):
    """A path that cannot be read or written."""


class ModelNotFoundError(LLMTokensError, OSError):
    """No weights for the requested text encoder on this machine."""


class MissingExtraError(LLMTokensError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""


class LLMTokensWarning(UserWarning):
    """Something went on that the user should know, and the result is still right."""


def sample(values: Iterable[object], n: int = 5) -> str:
    """The first ``n`` values, as a reader of an error message wants to see them.

    >>> sample(["a", 1, 2.5], n=2)
    "'a', 1, ..."
    """
    shown: list[str] = []
    for value in values:
        if len(shown) == n:
            return ", ".join(shown) + ", ..."
        try:
            text = repr(value)
        except ValueError:  # a whole number of thousands of digits
            text = f"a very large {type(value).__name__}"
        shown.append(text if len(text) <= 60 else text[:57] + "...")
    return ", ".join(shown)
