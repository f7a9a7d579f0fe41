"""Training for when one process, or one machine, is not enough."""

from .fit import fit_bpmf
from .placed import on_workers

__all__ = ["fit_bpmf", "on_workers"]
