"""A report of a comparison: one HTML file that needs nothing else, with Markdown and CSV beside."""

from __future__ import annotations

from .write import report

__all__ = ["report"]
