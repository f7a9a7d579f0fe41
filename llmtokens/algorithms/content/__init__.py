"""LLMTokensContent: text alone."""

from .model import LLMTokensContent

__all__ = ["LLMTokensContent"]
