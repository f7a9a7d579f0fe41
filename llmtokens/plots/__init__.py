"""Figures of comparisons, learning curves and tokens, with matplotlib.

``pip install 'llmtokens[plots]'`` brings it along. Each function draws into ``ax``, or into
a figure of its own, and returns the axes. The colours are told apart by readers with colour
blindness and have a contrast of 3 or more on white; markers and line styles differ too.
"""

from __future__ import annotations

from .results import (
    learning_curve,
    paired_differences,
    reliability,
    residual_panels,
    residuals,
    roc_curve,
)
from .tokens import token_map

__all__ = [
    "learning_curve",
    "paired_differences",
    "reliability",
    "residual_panels",
    "residuals",
    "roc_curve",
    "token_map",
]
