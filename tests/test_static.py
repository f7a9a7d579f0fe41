"""Static encoders: the mean of the rows of a text's tokens, and nothing else."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from llmtokens import LLMTokens, StaticEncoder
from llmtokens.encode import models
from llmtokens.errors import DataError, FileFormatError, ModelNotFoundError

WORDS = ["[UNK]", "space", "heist", "love", "sea"]
TABLE = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 1], [1, 1, 0]], np.float16)


def written(folder, arrays, **config):
    """A folder in model2vec's format."""
    tokenizers = pytest.importorskip("tokenizers")
    numpy = pytest.importorskip("safetensors.numpy")
    folder.mkdir(exist_ok=True)
    words = {word: k for k, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(8)  # as model2vec writes it, at 512
    tokenizer.save(str(folder / "tokenizer.json"))
    numpy.save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", **config}))
    return folder


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("sentence_transformers")
    return written(tmp_path / "static", {"embeddings": TABLE}, normalize=False)


def test_a_row_is_the_mean_of_the_rows_of_its_tokens(folder):
    rows = StaticEncoder(folder).encode(["space heist", "heist space", "love", "", "sea sea space"])
    assert rows.dtype == np.float32
    expected = [[1.5, 2, 0], [1.5, 2, 0], [0, 0, 1], [0, 0, 0], [5 / 3, 2 / 3, 0]]
    assert np.allclose(rows, expected)
    assert StaticEncoder(folder).encode([]).shape == (0, 3)


def test_rows_have_norm_1_where_the_model_says_so(folder):
    written(folder, {"embeddings": TABLE}, normalize=True)
    rows = StaticEncoder(folder).encode(["space heist", ""])
    assert np.allclose(rows, [[0.6, 0.8, 0], [0, 0, 0]])


def test_tokens_may_share_rows_and_have_weights(folder):
    mapping, weights = np.array([0, 1, 1, 2, 2]), np.array([0, 1, 0.5, 1, 2])
    arrays = {"embeddings": TABLE[:3].astype(np.float32), "mapping": mapping, "weights": weights}
    rows = StaticEncoder(written(folder, arrays)).encode(["space", "heist", "sea", "space sea"])
    assert np.allclose(rows, [[3, 0, 0], [1.5, 0, 0], [0, 8, 0], [1.5, 4, 0]])


def test_all_of_a_text_is_read(folder):
    long = "love " * 5000
    rows = StaticEncoder(folder).encode([long + "space", long + "heist"])
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_it_makes_tokens_and_travels_without_its_weights(folder):
    encoder = StaticEncoder(folder)
    tokens = LLMTokens.from_texts("abc", ["space", "heist", "love sea heist"], encoder=encoder)
    assert tokens.similar("c", n=1)["id"].tolist() == ["b"]
    assert tokens.encoder == "static"
    back = pickle.loads(pickle.dumps(encoder))
    assert len(pickle.dumps(encoder)) < 500
    assert back.revision == encoder.revision == tokens.revision
    (folder / "config.json").write_text(json.dumps({"normalize": True}))
    assert StaticEncoder(folder).revision != encoder.revision


@pytest.mark.parametrize("damage", ["no weights", "cut", "no table", "no config", "pickled"])
def test_what_is_no_static_model_is_refused(folder, damage):
    file = folder / "model.safetensors"
    if damage == "no table":
        pytest.importorskip("safetensors.numpy").save_file({"other": TABLE}, file)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:50])
    elif damage == "no config":
        (folder / "config.json").unlink()
    else:
        file.unlink()
        if damage == "pickled":
            torch = pytest.importorskip("torch")
            torch.save({"embeddings": torch.zeros(5, 3)}, folder / "pytorch_model.bin")
    with pytest.raises(FileFormatError, match="static cannot be loaded as a static model"):
        StaticEncoder(folder).encode(["a"])


def test_texts_and_paths_are_checked(folder):
    with pytest.raises(DataError, match=r"pass \[text\]"):
        StaticEncoder(folder).encode("one text")
    with pytest.raises(ModelNotFoundError, match="no such model folder"):
        StaticEncoder("./nowhere").encode(["a"])


@pytest.mark.skipif(models._offline_folder() is None, reason="needs llmtokens[offline]")
def test_a_sentence_transformer_is_sent_to_the_other_encoder():
    with pytest.raises(FileFormatError, match="for SentenceEncoder"):
        StaticEncoder(models._offline_folder()).encode(["a"])
