"""LLMTokensBPMF: Bayesian matrix factorisation with tokens."""

from .model import LLMTokensBPMF

__all__ = ["LLMTokensBPMF"]
