"""An encoder that learns from ratings: what can be learned is, what cannot changes nothing."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from llmtokens import SentenceEncoder
from llmtokens.encode import fine_tune
from llmtokens.errors import DataError, MissingExtraError

pytestmark = pytest.mark.slow

WORDS = ["[PAD]", "[UNK]", "space", "rockets", "love", "letters", *"abcdefgh"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A tiny BERT with random weights."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16, hidden_dropout_prob=0.0,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return SentenceEncoder(folder, cache=False, device="cpu")


@pytest.fixture(scope="module")
def world():
    """Sixty items on rockets or on love, in other words too, and users who like one of both."""
    rng = np.random.default_rng(0)
    noise = [" ".join(rng.choice(list("abcdefgh"), 3)) for _ in range(60)]
    topic = np.arange(60) % 2
    word = [["space", "rockets"], ["love", "letters"]]
    texts = {k: f"{noise[k]} {rng.choice(word[topic[k]])}" for k in range(60)}
    rows = [
        (user, item, 5.0 if topic[item] == user % 2 else 1.0)
        for user in range(40)
        for item in rng.choice(60, 30, replace=False).tolist()
    ]
    return texts, topic, pd.DataFrame(rows, columns=["user", "item", "rating"])


def apart(encoder, texts, topic):
    """How much nearer texts on one topic are to each other than to those on the other."""
    rows = encoder.encode(list(texts.values()))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    near = rows @ rows.T
    return near[topic[:, None] == topic].mean() - near[topic[:, None] != topic].mean()


@pytest.fixture(scope="module")
def trained(start, world, tmp_path_factory):
    pytest.importorskip("datasets", reason="needs llmtokens[training]")
    pytest.importorskip("accelerate", reason="needs llmtokens[training]")
    texts, _, ratings = world
    folder = tmp_path_factory.mktemp("tuned") / "model"
    return fine_tune(start, ratings, texts, folder, n_epochs=30, lr=3e-3)


def test_what_the_same_people_like_comes_to_lie_nearer(start, world, trained):
    texts, topic, _ = world
    assert apart(trained, texts, topic) > apart(start, texts, topic) + 0.2
    assert trained.name == "model"
    assert trained.revision != start.revision
    assert trained.device == "cpu"


def test_only_the_last_layers_learn(start, trained):
    pairs = zip(start._load().named_parameters(), trained._load().named_parameters(), strict=True)
    changed = {name for (name, old), (_, new) in pairs if not np.allclose(
        old.detach().numpy(), new.detach().numpy())}  # fmt: skip
    assert changed
    assert all("layer.0" in name or "layer.1" in name for name in changed)


def test_training_that_harms_leaves_the_encoder_as_it_was(trained, world, tmp_path):
    pytest.importorskip("datasets", reason="needs llmtokens[training]")
    pytest.importorskip("accelerate", reason="needs llmtokens[training]")
    texts, _, ratings = world
    far = SentenceEncoder(trained.model, cache=False, device="cpu")  # it has learned all there is
    found = fine_tune(far, ratings, texts, tmp_path / "model", n_epochs=2, lr=100.0)
    rows, before = (e.encode(list(texts.values())) for e in (found, far))
    assert np.allclose(rows, before, atol=1e-5)


def test_what_cannot_be_learned_from_is_said(start, world, tmp_path, monkeypatch):
    texts, _, ratings = world
    with pytest.raises(DataError, match=r"found the columns.*expected also \{'rating'\}"):
        fine_tune(start, ratings[["user", "item"]], texts, tmp_path / "new")
    with pytest.raises(DataError, match="expected a folder that is not there yet"):
        fine_tune(start, ratings, texts, tmp_path)
    with pytest.raises(DataError, match="found 0 pairs of items"):
        fine_tune(start, ratings, dict.fromkeys(texts, ""), tmp_path / "new")
    whole = SentenceEncoder(start.model, precision="int8")
    with pytest.raises(DataError, match="expected one in float32"):
        fine_tune(whole, ratings, texts, tmp_path / "new")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'llmtokens\[training\]'"):
        fine_tune(start, ratings, texts, tmp_path / "new")
    assert not (tmp_path / "new").exists()
