"""Text encoders: sentence-transformers, a hashing encoder without weights, and their cache."""

from .base import Encoder, cached, check_texts
from .cache import EmbeddingCache
from .hashing import HashingEncoder
from .sentence import SentenceEncoder, restore_encoder

__all__ = [
    "EmbeddingCache",
    "Encoder",
    "HashingEncoder",
    "SentenceEncoder",
    "cached",
    "check_texts",
    "restore_encoder",
]
