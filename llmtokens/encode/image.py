"""Images as an encoder: a CLIP model of sentence-transformers, cached by what is in the files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, MissingExtraError, sample
from ..runtime.arrays import Singles
from ..runtime.threads import one_torch_thread
from . import models
from .base import by_key, check_texts
from .cache import EmbeddingCache, cache_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_IMAGE_MODEL = "sentence-transformers/clip-ViT-B-32"


class ImageEncoder(models.ModelEncoder["SentenceTransformer"]):
    """Embeddings of image files from a model that reads them (extra ``images``).

    Each image is encoded once, whatever its files are called: the cache (see
    `llmtokens.encode.cache`) knows it by its content. Rows may differ by rounding with the images
    beside them. Only files on this machine are read, and no code of a model is run.

    Parameters
    ----------
    model : str or path
        A local folder, or a hub name; what is on this machine is used without a network request.
    device : str, optional
        "cpu", "cuda", "mps", ...; None leaves it to sentence-transformers.
    batch_size : int
        Images encoded at once.
    cache : bool or path
        As for :class:`~llmtokens.SentenceEncoder`.

    Examples
    --------
    >>> ImageEncoder("path/to/clip")  # doctest: +SKIP
    ImageEncoder('clip')
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_IMAGE_MODEL,
        *,
        device: str | None = None,
        batch_size: int = 32,
        cache: bool | str | os.PathLike[str] = True,
    ) -> None:
        super().__init__(model)
        self.device = device
        self.batch_size = batch_size
        self.cache = cache

    @property
    def revision(self) -> str:
        """The hub's commit, or 16 hex digits over a folder's files.

        Raises
        ------
        ModelNotFoundError
            The weights are nowhere on this machine and cannot be had from the hub.
        """
        return f"{self._find().revision}-image"

    def encode(self, texts: Sequence[str]) -> Singles:
        """Rows of the images at these paths, in their order, shape ``(len(texts), dim)``.

        An empty path is no image, and its row is of zeros.

        Raises
        ------
        DataError
            For paths that are no files, files that are no images, a batch size below 1, and a model
            that reads no images; the message names the first rows.
        ModelNotFoundError, FileFormatError, MissingExtraError
            No model, a damaged one or one with code of its own, no sentence-transformers or Pillow.
        """
        paths = check_texts(texts)
        if self.batch_size < 1:
            raise DataError(f"found batch_size={self.batch_size}; expected at least 1")
        keys = _digests(paths)
        some = [k for k, path in enumerate(paths) if path]
        if not some:
            return np.zeros((len(paths), self._load().get_embedding_dimension() or 0), np.float32)
        cache = None
        if self.cache is not False:
            cache = EmbeddingCache(cache_folder(None if self.cache is True else self.cache))
        try:
            found = by_key(self, [paths[k] for k in some], [keys[k] for k in some], cache)
        except _NotImagesError as wrong:
            raise _unreadable(paths, [k for k in some if paths[k] in wrong.paths]) from wrong
        finally:
            if cache is not None:
                cache.close()
        rows = np.zeros((len(paths), found.shape[1]), np.float32)
        rows[some] = found
        return rows

    def batches(self, paths: Sequence[str]) -> Iterator[tuple[range, Singles]]:
        """Encode in batches; yields ``(positions in paths, rows)``.

        Raises
        ------
        DataError, ModelNotFoundError, FileFormatError, MissingExtraError
            As :meth:`encode`.
        """
        model = self._load()
        _require_images(paths)
        for start in range(0, len(paths), self.batch_size):
            some = [_opened(path) for path in paths[start : start + self.batch_size]]
            with one_torch_thread:
                rows = model.encode(some, batch_size=len(some), show_progress_bar=False)
            yield range(start, start + len(some)), np.asarray(rows, np.float32)

    def _read(self) -> SentenceTransformer:
        model = models.load(self._find(), models.ModelSpec(self.model, self.device))
        if "image" not in model.modalities:
            raise DataError(
                f"found {self.name!r}, which reads {sample(model.modalities)}; expected a "
                "model that reads images, such as one of CLIP"
            )
        return model


class _NotImagesError(DataError):
    """Files that are there and are no images."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__(f"found files that are damaged or no images: {sample(paths)}; expected "
                         "files that Pillow opens")  # fmt: skip
        self.paths = paths


def _unreadable(paths: Sequence[str], rows: list[int]) -> DataError:
    return DataError(
        f"{len(rows)} of {len(paths)} images cannot be read: {sample(paths[k] for k in rows)} in "
        f"row {sample(rows)}; expected paths of image files on this machine, whole ones, or "
        "nothing where there is no image"
    )


def _digests(paths: Sequence[str]) -> list[bytes]:
    """SHA-256 of what is in each file."""
    found, missing = list[bytes](), list[int]()
    for row, path in enumerate(paths):
        content = b""
        if path:
            try:
                with Path(path).open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").digest()
            except (OSError, ValueError):  # the latter for a name with a null character
                missing.append(row)
        found.append(content)
    if missing:
        raise _unreadable(paths, missing)
    return found


def _require_images(paths: Sequence[str]) -> None:
    wrong = []
    for path in paths:
        try:
            _opened(path)
        except MissingExtraError:
            raise
        except Exception:  # Pillow has many ways to say that a file is damaged
            wrong.append(path)
    if wrong:
        raise _NotImagesError(wrong)


def _opened(path: str) -> Any:
    """The image, whole and in colours."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            f"images need Pillow ({error}): pip install 'llmtokens[images]'"
        ) from error
    with Image.open(path) as image:
        return image.convert("RGB")
