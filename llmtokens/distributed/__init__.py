"""Training for when one process, or one machine, is not enough."""

from .fit import fit_bpmf

__all__ = ["fit_bpmf"]
