"""LLM tokens: an immutable table from raw id to a short vector made from text."""

from .build import LLMTokens

__all__ = ["LLMTokens"]
