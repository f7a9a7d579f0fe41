"""LLMTokensSVD: Surprise's SVD with tokens."""

from .model import LLMTokensSVD

__all__ = ["LLMTokensSVD"]
