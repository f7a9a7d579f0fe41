"""From the name that stands in a file back to the encoder, without trusting the file."""

from __future__ import annotations

import re

from ..errors import ModelNotFoundError
from .base import Encoder
from .hashing import HashingEncoder
from .models import DEFAULT_MODEL
from .sentence import SentenceEncoder


def restore_encoder(name: str, revision: str) -> Encoder:
    """The encoder that a file of tokens was made with, if it is one of the library's own.

    Any other model would have to be loaded because a file says so, and is refused.

    Raises
    ------
    ModelNotFoundError
        For another model, or for other weights or settings under the same name.

    Examples
    --------
    >>> made = HashingEncoder(n_features=64)
    >>> restore_encoder(made.name, made.revision)
    HashingEncoder(n_features=64, ngram_range=(1, 1))
    """
    hand_over = "hand it over, as in LLMTokens.load(path, encoder=...)"
    if name == DEFAULT_MODEL:
        chunks = "mean" if revision.endswith("-chunks-mean") else None
        encoder: Encoder = SentenceEncoder(chunks=chunks)
    elif (found := re.fullmatch(r"1-(\d{1,7})-words(\d)to(\d)-chars3to5", revision)) and (
        name == HashingEncoder().name
    ):
        n_features, low, high = map(int, found.groups())
        encoder = HashingEncoder(n_features, (low, high))
    else:
        raise ModelNotFoundError(
            f"the tokens were made with the encoder {name!r} (revision {revision!r}), which is "
            f"not loaded because a file says so: {hand_over}"
        )
    if encoder.revision != revision:
        raise ModelNotFoundError(
            f"the tokens were made with revision {revision!r} of {name!r}; found "
            f"{encoder.revision!r} here: build the tokens again, or {hand_over}"
        )
    return encoder
