"""LLMTokensEASE: ranking in closed form."""

from .model import LLMTokensEASE

__all__ = ["LLMTokensEASE"]
