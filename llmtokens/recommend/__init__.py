"""From a fitted algorithm to what people want of it: lists, answers, reasons, newcomers, files."""

from .explain import Explanation
from .methods import Serving

__all__ = ["Explanation", "Serving"]
