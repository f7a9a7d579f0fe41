"""Training for when one process, or one machine, is not enough."""

from .fit import fit_bpmf
from .placed import on_workers
from .written import encode, recommend_all

__all__ = ["encode", "fit_bpmf", "on_workers", "recommend_all"]
