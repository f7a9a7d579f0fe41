"""A fitted model over HTTP: lists, answers, reasons, feedback, and a page to try them on."""

from .app import create_app
from .run import serve

__all__ = ["create_app", "serve"]
