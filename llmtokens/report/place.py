"""Whether a report can be written at a place, asked before the work that it is to show."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError, MissingExtraError
from ..storage.files import require_place


def require_page(path: str | os.PathLike[str]) -> Path:
    """Ask whether a report can be written at ``path``.

    Returns
    -------
    Path

    Raises
    ------
    MissingExtraError, DataError, StorageError
        As :func:`~llmtokens.report.report`.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"found the path {str(path)!r}; expected one that ends in .html")
    for beside in (path.with_suffix(".md"), path.with_suffix(".csv")):
        if beside.exists() and not path.exists():
            raise DataError(
                f"found {str(beside)!r}, which a report at {str(path)!r} would replace, and "
                "which no report has written; choose another name, or move it away"
            )
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"a report needs {error.name}, which is not installed; "
            "run: pip install 'llmtokens[plots]'"
        ) from error
    require_place(path)
    return path
