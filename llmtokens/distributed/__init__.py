"""Training for when one process, or one machine, is not enough."""

from .cluster import on_workers
from .fit import fit_bpmf

__all__ = ["fit_bpmf", "on_workers"]
