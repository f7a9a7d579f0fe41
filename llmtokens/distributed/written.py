"""Lists for all users, and embeddings of many texts: written by workers, gathered by nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..encode import Encoder, SentenceEncoder, cached
from ..errors import DataError, sample
from ..storage.files import written_whole
from ..storage.models import load
from ..tokens.markup import Markup
from . import disk
from .cluster import OnWorkers, check_client, check_folder, connected, wait_for
from .pieces import parquet_files, read_groups, row_groups

_USERS = 10_000  # of one file


def recommend_all(
    model: str | Path, folder: str | Path, client: Any, n: int = 10, **options: Any
) -> Path:
    """Lists for all users with ratings or a token, as files of Parquet that workers write.

    Every worker maps the model's file and ranks for some users at a time, so that neither it nor
    the client ever holds all lists.

    Parameters
    ----------
    model : path
        What ``save`` of a fitted algorithm has written, where all workers see it.
    folder : path
        Where ``part-00000.parquet`` and so on go, in the order of users; made where it is missing.
        The client and all workers must see it.
    client : distributed.Client
    n : int, default=10
        Length of each list.
    **options
        Those of :meth:`~llmtokens.recommend.Serving.recommend`, such as ``candidates`` or
        ``exclude_seen``.

    Returns
    -------
    Path
        The folder. ``dask.dataframe.read_parquet`` and ``pandas.read_parquet`` read it: the
        columns are those of ``recommend_all``.

    Raises
    ------
    DataError
        If the client is none, or not connected; for options out of range.
    FileFormatError, StorageError
        If the model cannot be read, or the folder not be written to.
    LLMTokensError
        If there are no workers, or the connection to them is lost.
    MissingExtraError
        Without the extra ``distributed``.

    Examples
    --------
    >>> import tempfile
    >>> from dask.distributed import Client
    >>> from llmtokens import LLMTokensSVD
    >>> from llmtokens.datasets import synthetic
    >>> from llmtokens.distributed import recommend_all
    >>> trainset = synthetic(n_users=20, n_items=30, n_ratings=200).dataset.build_full_trainset()
    >>> with tempfile.TemporaryDirectory() as at, Client(processes=False, dashboard_address=":0") \\
    ...         as client:
    ...     LLMTokensSVD(n_factors=3).fit(trainset).save(f"{at}/model")
    ...     lists = recommend_all(f"{at}/model", f"{at}/lists", client, n=2)
    ...     sorted(path.name for path in lists.iterdir())
    ['part-00000.parquet']
    """
    path = str(Path(model).resolve())
    with _writing(client, folder) as (place, run):
        n_users = run.result(run.submit(_n_users, path))
        tasks = [
            run.submit(_recommend, path, slice(k, k + _USERS), n, options, _part(place, number))
            for number, k in enumerate(range(0, n_users, _USERS))
        ]
        for task in tasks:
            run.result(task)
    return place


def encode(
    texts: Any,
    folder: str | Path,
    client: Any,
    encoder: Encoder | None = None,
    *,
    id: str = "item",
    text: str = "text",
) -> Path:
    """Embeddings of many texts, as files of Parquet that workers write.

    Parameters
    ----------
    texts : path or dask.dataframe.DataFrame
        A folder of Parquet files, one such file, or a frame, with a column of ids and one of texts.
    folder : path
        Where ``part-00000.parquet`` and so on go, in the order of the texts; made where it is
        missing. The client and all workers must see it.
    client : distributed.Client
    encoder : Encoder, optional
        By default :class:`~llmtokens.SentenceEncoder`.
    id, text : str
        The columns' names.

    Returns
    -------
    Path
        The folder, of frames with the id and ``embedding``, a list of float32 in each row:
        ``LLMTokens.from_embeddings(frame[id], numpy.stack(frame["embedding"]))``.

    Raises
    ------
    DataError
        If the client is none, or not connected; for another kind of table, one without these
        columns, and texts that are none.
    FileFormatError, StorageError
        If a file cannot be read, or the folder not be written to.
    LLMTokensError
        If there are no workers, or the connection to them is lost.
    MissingExtraError
        Without the extra ``distributed``.

    Warns
    -----
    LLMTokensWarning
        Where texts hold HTML, with the line that takes it out.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from dask.distributed import Client
    >>> from llmtokens import HashingEncoder
    >>> from llmtokens.distributed import encode
    >>> frame = pd.DataFrame({"item": [1, 2], "text": ["a quiet film", "a loud film"]})
    >>> with tempfile.TemporaryDirectory() as at, Client(processes=False, dashboard_address=":0") \\
    ...         as client:
    ...     frame.to_parquet(f"{at}/texts.parquet")
    ...     made = encode(f"{at}/texts.parquet", f"{at}/made", client, HashingEncoder())
    ...     pd.read_parquet(made)["item"].tolist()
    [1, 2]
    """
    own = SentenceEncoder() if encoder is None else encoder
    with _writing(client, folder) as (place, run):
        tasks = [
            run.submit(_encode, read, own, id, text, _part(place, number))
            for number, read in enumerate(_frames(texts, [id, text]))
        ]
        found = Markup.together([run.result(task) for task in tasks])
    found.warn(text)
    return place


@contextlib.contextmanager
def _writing(client: Any, folder: str | Path) -> Iterator[tuple[Path, OnWorkers]]:
    """The folder, which all workers see, and these."""
    check_client(client)
    place = Path(folder).resolve()
    disk.make_folder(place)
    with connected(client):
        wait_for(client, 1)
        check_folder(client, str(place))
        yield place, OnWorkers(client)


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


def _frames(texts: Any, columns: list[str]) -> list[Callable[[], pd.DataFrame]]:
    if isinstance(texts, (str, Path)):
        found: list[Callable[[], pd.DataFrame]] = []
        for path in parquet_files(Path(texts)):
            names, runs = row_groups(path)
            _require(repr(str(path)), names, columns)
            found += [partial(read_groups, path, run, columns) for run in runs]
        return found
    if hasattr(texts, "partitions") and hasattr(texts, "columns"):
        _require("the Dask DataFrame", list(texts.columns), columns)
        return [texts[columns].partitions[k].compute for k in range(texts.npartitions)]
    raise DataError(
        f"found texts of type {type(texts).__name__}; expected a folder of Parquet files or a Dask "
        "DataFrame; LLMTokens.from_frame takes a pandas DataFrame"
    )


def _require(name: str, found: list[str], columns: list[str]) -> None:
    if any(found.count(column) != 1 for column in columns):
        raise DataError(
            f"{name} has the columns {sample(found)}; expected {' and '.join(columns)}, each once: "
            "name others as id= and text="
        )


# -- what runs on the workers ---------------------------------------------------------------------


def _n_users(path: str) -> int:
    return int(_opened(path, _stamp(path)).model_.users.unknown)


def _recommend(path: str, rows: slice, n: int, options: dict[str, Any], part: Path) -> None:
    algo = _opened(path, _stamp(path))
    lists = algo.recommend(algo.model_.users.ids[: algo.model_.users.unknown][rows], n, **options)
    with written_whole(part) as temporary:
        lists.to_parquet(temporary, index=False)


@lru_cache(maxsize=1)
def _opened(path: str, stamp: tuple[int, int]) -> Any:
    """The model, once for each worker, as long as its file is the same."""
    return load(path, mmap=True)


def _stamp(path: str) -> tuple[int, int]:
    try:
        stat = Path(path).stat()
    except OSError:
        return 0, 0  # load says what is wrong
    return stat.st_ino, stat.st_mtime_ns


def _encode(
    read: Callable[[], pd.DataFrame], encoder: Encoder, id_: str, text: str, part: Path
) -> Markup:
    """What there is of HTML in the texts, which the client tells of all parts at once."""
    frame = read()
    texts = frame[text].tolist()
    rows = cached(encoder, texts)
    made = frame[[id_]].assign(embedding=list(np.ascontiguousarray(rows, np.float32)))
    with written_whole(part) as temporary:
        made.to_parquet(temporary, index=False)
    return Markup.of(texts)
