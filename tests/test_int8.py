"""Encoders in whole numbers: near to float32, converted once, and nobody is told of it."""

from __future__ import annotations

import socket
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from llmtokens import LLMTokens
from llmtokens.cli import app
from llmtokens.encode import SentenceEncoder, int8, models, restore_encoder
from llmtokens.encode.reading import embed_elsewhere
from llmtokens.errors import DataError, LLMTokensWarning, MissingExtraError, ModelNotFoundError

pytestmark = pytest.mark.slow

needs_weights = pytest.mark.skipif(
    models._offline_folder() is None, reason="needs llmtokens[offline]: the weights of MiniLM"
)
TEXTS = [
    "Alien (1979). Genres: Horror, Sci-Fi",
    "",
    "Paddington. A bear from Peru finds a home in London.",
    "love",
    *(" ".join(["word"] * k) for k in range(1, 12)),
]


@pytest.fixture(scope="module")
def openvino():
    return pytest.importorskip("openvino", reason="needs llmtokens[openvino]")


@pytest.fixture(scope="module")
def small(openvino, tmp_path_factory):
    """A transformer that takes a moment to convert."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel

    folder = tmp_path_factory.mktemp("small")
    words = {w: k for k, w in enumerate(["<pad>", "<unk>", "word", "love", "bear", "London"])}
    tokenizer = Tokenizer(WordLevel(words, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=128, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def rows(openvino, folder):
    """The rows of the texts, from weights that were converted and kept."""
    return SentenceEncoder(precision="int8", cache=folder).encode(TEXTS)


def again(folder, **settings):
    """An encoder that finds the weights, but no rows."""
    (folder / "embeddings.sqlite").unlink(missing_ok=True)
    return SentenceEncoder(precision="int8", cache=folder, **settings)


@needs_weights
def test_rows_in_int8_are_within_a_cosine_of_99_of_float32(rows):
    exact = SentenceEncoder(cache=False, device="cpu").encode(TEXTS)
    cosines = np.sum(rows * exact, axis=1)
    assert (cosines > 0.99).all()
    assert not np.array_equal(rows, exact)
    assert rows.dtype == np.float32


@needs_weights
def test_weights_are_converted_once(rows, folder, monkeypatch):
    found = [file.name for file in folder.glob("int8-*")]
    assert found == [f"int8-{int8._RECIPE}-{models.find(None).revision}.safetensors"]

    def refuse(*_):
        raise AssertionError("converted again")

    monkeypatch.setattr(int8, "_converted", refuse)
    assert np.array_equal(again(folder).encode(TEXTS), rows)
    with pytest.raises(DataError, match="cannot convert"):
        SentenceEncoder(precision="int8", cache=False).encode(["a"])


@needs_weights
def test_a_row_in_int8_depends_neither_on_order_nor_on_batch_size_nor_on_the_place(rows, folder):
    other = again(folder, batch_size=3)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert np.array_equal(other.encode([TEXTS[k] for k in order]), rows[order])
    assert np.array_equal(np.vstack([other.encode([text]) for text in TEXTS]), rows)
    spec, revision = other._spec(), models.find(None).revision
    _, elsewhere = embed_elsewhere(spec, revision, [0], [TEXTS[2]] * 10, None)
    assert np.allclose(elsewhere[0], rows[2], atol=1e-5)
    assert np.allclose(other.encode_query(TEXTS[2])[0], rows[2], atol=1e-5)


@needs_weights
def test_rows_in_int8_are_cached_apart_and_known_to_files(rows, folder):
    exact = SentenceEncoder(cache=folder, device="cpu").encode(TEXTS)
    assert np.array_equal(SentenceEncoder(precision="int8", cache=folder).encode(TEXTS), rows)
    assert not np.array_equal(exact, rows)
    for settings in ({"precision": "int8"}, {"precision": "int8", "chunks": "mean"}):
        encoder = SentenceEncoder(**settings)
        restored = restore_encoder(encoder.name, encoder.revision)
        assert restored.revision == encoder.revision
        assert restored.precision == "int8"


@pytest.mark.parametrize("damage", ["cut", "changed", "of another kind"])
def test_a_damaged_file_of_weights_is_made_again(small, tmp_path, damage):
    rows = SentenceEncoder(small, precision="int8", cache=tmp_path).encode(TEXTS)
    (file,) = tmp_path.glob("int8-*")
    whole = file.read_bytes()
    if damage == "cut":
        file.write_bytes(whole[:1000])
    elif damage == "changed":
        file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    else:
        int8.store.write(file, "int8", {}, {"network": np.zeros(3, np.uint8)})
    assert np.array_equal(again(tmp_path, model=small).encode(TEXTS[:3]), rows[:3])
    assert int8._read(file) is not None


def test_a_folder_that_cannot_be_written_costs_a_warning(small, tmp_path):
    rows = SentenceEncoder(small, precision="int8", cache=tmp_path).encode(TEXTS)
    (tmp_path / "file").write_text("")
    encoder = SentenceEncoder(small, precision="int8", cache=tmp_path / "file" / "x")
    with pytest.warns(LLMTokensWarning, match="cannot keep the int8 model"):
        encoder._load()
    assert np.allclose(encoder.encode_query(TEXTS[2]), rows[2], atol=1e-5)


def test_nobody_is_told_of_the_conversion(small, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("somebody is called")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    telemetry = pytest.importorskip("openvino_telemetry")
    monkeypatch.setattr(telemetry.Telemetry, "__init__", refuse)
    assert SentenceEncoder(small, precision="int8", cache=False).encode(["a"]).shape == (1, 128)


def test_a_model_that_is_another_in_int8_is_refused(small, monkeypatch):
    def broken(network):
        from openvino import opset13 as ops

        last = network.outputs[0].get_node()
        worse = ops.multiply(last.input_value(0), ops.sin(last.input_value(0)))
        last.input(0).replace_source_output(worse.output(0))

    monkeypatch.setattr(int8, "_quantise", broken)
    with pytest.raises(DataError, match=r"found a cosine of .*expected at least 0\.95"):
        SentenceEncoder(small, precision="int8", cache=False).encode(["a"])


@needs_weights
def test_without_openvino_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'llmtokens\[openvino\]'"):
        SentenceEncoder(precision="int8", cache=False).encode(["a"])


def test_what_cannot_be_had_in_int8_is_refused():
    with pytest.raises(DataError, match="found precision='int4'; expected None or one of"):
        SentenceEncoder(precision="int4").encode(["a"])
    for other in ({"device": "cuda"}, {"backend": "onnx"}):
        with pytest.raises(DataError, match="expected a CPU and no other backend"):
            SentenceEncoder(precision="int8", **other).encode(["a"])


def test_the_command_line_embeds_in_whole_numbers(small, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMTOKENS_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "items.csv").write_text("item,title\n1,word love\n2,bear London\n3,love bear\n")
    done = CliRunner().invoke(
        app,
        ["embed", str(tmp_path / "items.csv"), "--encoder", small, "--precision", "int8",
         "--text", "{title}", "-o", str(tmp_path / "tokens")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert LLMTokens.load(tmp_path / "tokens", encoder=SentenceEncoder(small, precision="int8"))
    with pytest.raises(ModelNotFoundError, match="revision"):
        LLMTokens.load(tmp_path / "tokens", encoder=SentenceEncoder(small)).query("love")
