"""Text encoders: sentence-transformers, static tables, hashing without weights; their cache."""

from .base import Encoder, cached, check_texts
from .cache import EmbeddingCache
from .hashing import HashingEncoder
from .sentence import SentenceEncoder, restore_encoder
from .static import StaticEncoder

__all__ = [
    "EmbeddingCache",
    "Encoder",
    "HashingEncoder",
    "SentenceEncoder",
    "StaticEncoder",
    "cached",
    "check_texts",
    "restore_encoder",
]
