"""Encoders: sentence-transformers, static tables, hashing without weights, images; their cache."""

from .base import Encoder, cached, check_texts
from .cache import EmbeddingCache
from .fine_tune import fine_tune
from .hashing import HashingEncoder
from .image import ImageEncoder
from .sentence import SentenceEncoder, restore_encoder
from .static import StaticEncoder

__all__ = [
    "EmbeddingCache",
    "Encoder",
    "HashingEncoder",
    "ImageEncoder",
    "SentenceEncoder",
    "StaticEncoder",
    "cached",
    "check_texts",
    "fine_tune",
    "restore_encoder",
]
