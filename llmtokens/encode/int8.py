"""A transformer in whole numbers, by OpenVINO: two to three times as fast on a CPU.

The weights of every matrix become 8-bit numbers with one scale a row. Activations are scaled in
groups of 128 numbers, each group for itself (dynamic quantisation), so that a row still depends on
its text alone; where a whole batch shares one scale, as in ONNX Runtime's dynamic quantisation, it
does not. No texts are needed to calibrate anything. What was converted is kept in the folder of the
embedding cache, in a file of the library's own format.
"""

from __future__ import annotations

import contextlib
import inspect
import tempfile
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, FileFormatError, LLMTokensWarning, MissingExtraError, StorageError
from ..storage import container as store

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_RECIPE = 1  # of the conversion; another one has files of its own
_LIKE_BEFORE = 0.95  # cosine of the example texts before and after
_EXAMPLES = [
    "Alien (1979). Genres: Horror, Sci-Fi",
    "A quiet story about a family in a small town by the sea.",
    "love",
]
_RUN = {
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 128,
    "INFERENCE_PRECISION_HINT": "f32",  # of all that is not a product of matrices
    "ENABLE_CPU_PINNING": False,  # other work has these cores too
}


def to_int8(model: SentenceTransformer, revision: str, folder: Path | None, threads: int) -> None:
    """Put whole numbers in place of the transformer of a model that is loaded.

    Parameters
    ----------
    model : SentenceTransformer
        On a CPU; it is changed.
    revision : str
        Of its weights: what the file is known by.
    folder : Path, optional
        Where the converted weights are kept; None: nowhere, they are made again each time.
    threads : int
        Batches at once, each on a thread of its own.

    Raises
    ------
    MissingExtraError
        OpenVINO is not installed.
    DataError
        The model is no transformer of texts, or is not the same in whole numbers.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError(
            f"precision='int8' needs openvino ({error}): pip install 'llmtokens[openvino]'"
        ) from error
    transformer: Any = model[0]
    reads = getattr(transformer, "modality_config", {}).get("text", {})
    if reads.get("method") != "forward" or reads.get("method_output_name") not in (
        "last_hidden_state",
        ("last_hidden_state",),
    ):
        raise DataError(
            f"found a {type(transformer).__name__} in front of the model; expected a transformer "
            "of texts for precision='int8': leave precision out"
        )
    file = None if folder is None else folder / f"int8-{_RECIPE}-{revision}.safetensors"
    kept = None if file is None else _read(file)
    before = None if kept else model.encode(_EXAMPLES, show_progress_bar=False)
    try:
        parts = kept or _converted(transformer, model.preprocess(_EXAMPLES))
    except Exception as error:  # of the tracer or the frontend: an operation they do not know
        raise DataError(
            f"found a {type(transformer.model).__name__} that openvino cannot convert "
            f"({type(error).__name__}: {error!s:.200}); expected an encoder of texts for "
            "precision='int8': leave precision out"
        ) from error
    core = openvino.Core()
    network = core.read_model(parts["network"].tobytes(), openvino.Tensor(parts["weights"]))
    options = {**_RUN, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
    compiled = core.compile_model(network, "CPU", options)
    stand_in = _Transformer(transformer.model.config, compiled)
    del transformer.model  # a torch module; what comes is none
    transformer.model = stand_in
    if before is not None:
        _require_like(before, model.encode(_EXAMPLES, show_progress_bar=False))
        if file is not None:
            _keep(file, parts)


class _Transformer:
    """What sentence-transformers calls where the torch module was."""

    def __init__(self, config: Any, compiled: Any) -> None:
        import torch

        self.config = config
        self.device = torch.device("cpu")
        self._compiled = compiled
        self._inputs = [port.any_name for port in compiled.inputs]
        self._here = threading.local()  # a request belongs to one thread

    def forward(self, **features: Any) -> dict[str, Any]:
        import torch

        if not hasattr(self._here, "request"):
            self._here.request = self._compiled.create_infer_request()
        found = self._here.request.infer({name: features[name].numpy() for name in self._inputs})
        return {"last_hidden_state": torch.from_numpy(np.array(found[0]))}


def _converted(transformer: Any, example: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    """The network and its weights, as OpenVINO writes them.

    Its frontend for torch is used by itself: ``openvino.convert_model`` would report to its maker
    that it was called.
    """
    import openvino
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    takes = inspect.signature(transformer.model.forward).parameters
    inputs = {k: v for k, v in example.items() if k in takes and isinstance(v, torch.Tensor)}

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = transformer.model

        def forward(self, *values: Any) -> Any:
            named = dict(zip(inputs, values, strict=True))
            return self.inner(**named, return_dict=True).last_hidden_state

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of the tracer, about shapes
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(States(), example_input=tuple(inputs.values()))
        network = frontend.convert(frontend.load(decoder))
        for port, name in zip(network.inputs, inputs, strict=True):
            port.get_tensor().set_names({name})
        _quantise(network)
        openvino.save_model(network, Path(folder, "network.xml"), compress_to_fp16=False)
        return {
            name: np.fromfile(Path(folder, file), np.uint8)
            for name, file in (("network", "network.xml"), ("weights", "network.bin"))
        }


def _quantise(network: Any) -> None:
    """Every constant matrix w as ``scale * q``, q of int8, one scale for each row of its output."""
    from openvino import Type
    from openvino import opset13 as ops

    for node in network.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("MatMul", "Gather"):
            continue
        at = 1 if kind == "MatMul" else 0  # a product, or a table of words
        source = node.input_value(at).get_node()
        if (
            source.get_type_name() != "Constant"
            or source.get_element_type() != Type.f32
            or len(source.shape) != 2
        ):
            continue
        along = 0 if kind == "MatMul" and not node.get_attributes()["transpose_b"] else 1
        weights = source.data
        scale = np.abs(weights).max(axis=along, keepdims=True) / 127
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        whole = ops.constant(np.rint(weights / scale).astype(np.int8))
        product = ops.multiply(ops.convert(whole, "f32"), ops.constant(scale))
        node.input(at).replace_source_output(product.output(0))


def _require_like(before: NDArray[Any], after: NDArray[Any]) -> None:
    cosines = np.sum(before * after, axis=1)
    cosines = cosines / (np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1))
    if not np.all(cosines > _LIKE_BEFORE):
        raise DataError(
            f"found a cosine of {np.min(cosines):.3f} between an example text in float32 and in "
            f"int8; expected at least {_LIKE_BEFORE}: this model needs precision=None"
        )


def _read(file: Path) -> dict[str, NDArray[np.uint8]] | None:
    """What was kept, if it is there and sound."""
    with contextlib.suppress(StorageError, FileFormatError):
        _, _, parts = store.read(file, "int8")
        if parts.keys() == {"network", "weights"}:
            return parts
    return None


def _keep(file: Path, parts: dict[str, NDArray[np.uint8]]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        store.write(file, "int8", {}, parts)
    except OSError as error:
        warnings.warn(
            f"cannot keep the int8 model ({error}); it will be converted again next time",
            LLMTokensWarning,
            stacklevel=2,
        )
