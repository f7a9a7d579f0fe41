"""LLM tokens: an immutable table from raw id to a short vector made from text."""

from .table import LLMTokens

__all__ = ["LLMTokens"]
