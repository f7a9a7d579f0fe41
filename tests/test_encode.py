"""Encoders: which weights they use, what they accept, and that a row depends on its text alone."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from faults import needs_kill

from llmtokens.encode import (
    EmbeddingCache,
    HashingEncoder,
    SentenceEncoder,
    check_texts,
    models,
    restore_encoder,
)
from llmtokens.errors import (
    DataError,
    FileFormatError,
    LLMTokensWarning,
    MissingExtraError,
    ModelNotFoundError,
)

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.find_spec(models.OFFLINE_PACKAGE)
WEIGHTS = Path(SPEC.origin).parent / "model" if SPEC and SPEC.origin else None
needs_weights = pytest.mark.skipif(
    WEIGHTS is None or importlib.util.find_spec("sentence_transformers") is None,
    reason="needs llmtokens[offline]: the package with all-MiniLM-L6-v2",
)
TEXTS = [
    "Alien (1979). Genres: Horror, Sci-Fi",
    "",
    "Paddington. A bear from Peru finds a home in London.",
    "love",
    "😀 emoji, العربية and \x00 control",
    "half a pair \ud83d",
    "love",
    *(" ".join(["word"] * k) for k in range(1, 30)),
]


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to reach anything fails, and is counted."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise socket.gaierror(-2, "no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


@pytest.fixture(scope="module")
def encoder():
    """The default model."""
    return SentenceEncoder(cache=False, device="cpu")


@pytest.fixture(scope="module")
def rows(encoder):
    """Of the texts, by the default model."""
    return encoder.encode(TEXTS)


def linked(folder: Path) -> Path:
    """The offline model in another folder, small files copied, weights linked."""
    assert WEIGHTS is not None
    link = getattr(os, "symlink", shutil.copy)
    shutil.copytree(WEIGHTS, folder, copy_function=lambda a, b: (
        link(a, b) if a.endswith(".safetensors") else shutil.copy(a, b)))  # fmt: skip
    return folder


# Texts


def test_texts_that_are_not_strings_are_named_by_position():
    with pytest.raises(DataError, match=r"2 of 4 texts.*None, nan at position 1, 3"):
        check_texts(["a", None, "b", float("nan")])
    with pytest.raises(DataError, match=r"pass \[text\]"):
        check_texts("one string")
    with pytest.raises(DataError, match="got int"):
        check_texts(3)
    for encoder in (SentenceEncoder(), HashingEncoder()):
        with pytest.raises(DataError, match="position 0"):
            encoder.encode([b"bytes"])


def test_any_sequence_of_strings_will_do():
    assert check_texts(np.array(["a", "b"])) == ["a", "b"]
    assert check_texts(t for t in ["", "\ud800"]) == ["", "?"]
    assert all(type(t) is str for t in check_texts(np.array(["a"])))


# Hashing


def test_a_hashed_row_depends_on_its_text_alone():
    encoder = HashingEncoder()
    rows = encoder.encode(TEXTS)
    assert rows.shape == (len(TEXTS), 1024)
    assert rows.dtype == np.float32
    assert np.array_equal(rows[::-1], encoder.encode(TEXTS[::-1]))
    assert np.array_equal(rows[2:3], encoder.encode(TEXTS[2:3]))
    norms = np.linalg.norm(rows, axis=1)
    assert norms[1] == 0
    assert np.allclose(np.delete(norms, 1), 1)


def test_hashed_rows_are_the_same_on_every_machine():
    row = HashingEncoder(n_features=16).encode(["A heist in space"])[0]
    golden = [
        -0.54721, 0.45941, 0.0, 0.0878, -0.17559, 0.0, 0.0878, -0.13915,
        -0.13915, -0.59857, 0.0878, -0.0878, 0.0878, -0.0878, 0.0878, -0.0878,
    ]  # fmt: skip
    assert np.allclose(row, golden, atol=1e-5)


def test_hashing_bounds_its_memory_and_keeps_the_rows(monkeypatch):
    whole = HashingEncoder(64).encode(TEXTS)
    monkeypatch.setattr("llmtokens.encode.hashing._CHARACTERS", 50)
    assert np.array_equal(whole, HashingEncoder(64).encode(TEXTS))
    assert HashingEncoder(64).encode([]).shape == (0, 64)
    assert np.isfinite(HashingEncoder(64).encode(["a b " * 25_000])).all()


def test_hashing_settings_are_in_the_revision_and_are_checked():
    revisions = {HashingEncoder(n, (1, k)).revision for n in (8, 16) for k in (1, 2)}
    assert len(revisions) == 4
    for bad in (HashingEncoder(0), HashingEncoder(8, (2, 1)), HashingEncoder(8, (0, 1))):
        with pytest.raises(DataError, match="HashingEncoder"):
            bad.encode(["a"])


# Sentence-transformers


def test_importing_and_constructing_loads_nothing_heavy():
    code = (
        "import sys, llmtokens.encode as e; x = e.SentenceEncoder(); repr(x); e.HashingEncoder();"
        "heavy = {'torch', 'sentence_transformers', 'transformers', 'sklearn', 'huggingface_hub'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.slow
@needs_weights
def test_the_rows_are_those_of_a_plain_sentence_transformer(rows, no_network):
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(WEIGHTS), device="cpu", local_files_only=True)
    texts = check_texts(TEXTS)
    assert rows.dtype == np.float32
    assert rows.shape == (len(texts), 384)
    assert np.abs(rows - plain.encode(texts, show_progress_bar=False)).max() < 1e-5
    assert no_network == []


@pytest.mark.slow
@needs_weights
def test_a_row_depends_neither_on_order_nor_on_batch_size(encoder, rows):
    other = SentenceEncoder(cache=False, device="cpu", batch_size=3)
    other._loaded = encoder._loaded
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert np.array_equal(rows[order], other.encode([TEXTS[k] for k in order]))
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    assert np.array_equal(rows, alone)


@pytest.mark.slow
@needs_weights
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_row_does_not_depend_on_what_set_the_threads_of_torch_before(encoder, rows, threads):
    import torch

    expected = rows, encoder.encode_query(TEXTS[0])
    seen, model, before = set(), encoder._load(), torch.get_num_threads()
    handle = model.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    torch.set_num_threads(threads)
    try:
        small = SentenceEncoder(cache=False, device="cpu", batch_size=4)
        small._loaded = model
        found = small.encode(TEXTS), small.encode_query(TEXTS[0])
        assert torch.get_num_threads() == threads  # as it was found
    finally:
        handle.remove()
        torch.set_num_threads(before)
    assert seen == {1}
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@needs_weights
@pytest.mark.parametrize(
    "text", ["word " * 20_000, "x" * 100_000, " " * 100_000 + "end", "語" * 50_000, "😀" * 30_000]
)
def test_a_very_long_text_is_cut_without_changing_its_row(encoder, text):
    from llmtokens.encode.reading import cut

    model = encoder._load()
    whole = model.encode([text], show_progress_bar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LLMTokensWarning)
        assert np.abs(encoder.encode([text]) - whole).max() < 1e-6
    if text.startswith(("word", "語")):
        assert len(cut(model, text)) == 32 * 256


@needs_weights
def test_a_second_encoder_finds_everything_in_the_cache(tmp_path, monkeypatch, rows):
    first = SentenceEncoder(cache=tmp_path, device="cpu").encode(TEXTS)
    assert np.array_equal(first, rows)

    def refuse(*args):
        raise AssertionError("the model was loaded again")

    monkeypatch.setattr(models, "load", refuse)
    assert np.array_equal(first, SentenceEncoder(cache=tmp_path).encode(TEXTS))
    monkeypatch.setenv("LLMTOKENS_CACHE_DIR", str(tmp_path))
    assert np.array_equal(first, SentenceEncoder().encode(TEXTS))
    with pytest.raises(AssertionError, match="loaded again"):
        SentenceEncoder(cache=False).encode(TEXTS)


@pytest.mark.slow
@needs_weights
@needs_kill
def test_a_killed_run_resumes_and_equals_an_undisturbed_one(tmp_path, encoder):
    texts = [f"{'film ' * (k % 11)}{k}" for k in range(200)]
    model, write, written = encoder._load(), EmbeddingCache.write, []

    def dying(cache, label, rows):
        write(cache, label, rows)
        written.extend(rows)
        if len(written) > 60:
            os.kill(os.getpid(), signal.SIGKILL)

    victim = os.fork()
    if victim == 0:
        try:
            EmbeddingCache.write = dying
            run = SentenceEncoder(cache=tmp_path, device="cpu", batch_size=8)
            run._loaded = model
            run.encode(texts)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGKILL
    resumed = SentenceEncoder(cache=tmp_path, device="cpu")
    resumed._loaded = model
    batches, asked = resumed.batches, []
    resumed.batches = lambda todo: asked.extend(todo) or batches(todo)
    rows = resumed.encode(texts)
    assert 100 < len(asked) < 140
    assert np.array_equal(rows, encoder.encode(texts))


@needs_weights
def test_loading_is_silent_and_leaves_settings_as_they_were(capfd):
    from transformers.utils import logging as noise

    before = noise.is_progress_bar_enabled(), noise.get_verbosity()
    silent = SentenceEncoder(cache=False, device="cpu", show_progress=False)
    silent.encode(["a"])
    with pytest.warns(LLMTokensWarning, match="1 of 1 texts are longer than the 256 tokens"):
        silent.encode(["a" * 10 + " b" * 50_000])
    assert (noise.is_progress_bar_enabled(), noise.get_verbosity()) == before
    assert capfd.readouterr() == ("", "")
    SentenceEncoder(cache=False, device="cpu", show_progress=True).encode(["a", "b"])
    assert "encoding: 2 of 2, " in capfd.readouterr().err


@needs_weights
def test_the_encoder_travels_without_its_weights(encoder):
    encoder.encode(["a"])
    sent = pickle.dumps(encoder)
    assert len(sent) < 1000
    back = pickle.loads(sent)
    assert back.name == encoder.name
    assert back.revision == encoder.revision
    assert repr(back) == "SentenceEncoder('sentence-transformers/all-MiniLM-L6-v2')"


@needs_weights
def test_a_local_folder_is_named_by_its_last_part_and_known_by_its_content(tmp_path, no_network):
    folder = linked(tmp_path / "secret" / "my-model")
    local = SentenceEncoder(folder, cache=False, device="cpu")
    assert local.name == "my-model"
    assert "secret" not in repr(local)
    assert local.revision == SentenceEncoder().revision  # the same files
    assert local.revision != SentenceEncoder(folder, backend="onnx").revision
    assert np.array_equal(
        local.encode(["a"]), SentenceEncoder(cache=False, device="cpu").encode(["a"])
    )
    config = json.loads((folder / "sentence_bert_config.json").read_text())
    (folder / "sentence_bert_config.json").write_text(json.dumps({**config, "max_seq_length": 16}))
    assert SentenceEncoder(folder).revision != local.revision
    assert no_network == []


@needs_weights
def test_a_downloaded_hub_model_is_used_without_network(tmp_path, monkeypatch, no_network):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--someone--a-model"
    linked(repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    hub = SentenceEncoder("someone/a-model", cache=False, device="cpu")
    assert hub.name == "someone/a-model"
    assert hub.revision == commit
    assert hub.encode(["a"]).shape == (1, 384)
    assert no_network == []


def test_without_weights_and_network_the_error_says_what_to_do(monkeypatch, tmp_path, no_network):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    with pytest.raises(ModelNotFoundError) as caught:
        SentenceEncoder(cache=False).encode(["a"])
    for remedy in ('"llmtokens[offline]"', "local folder", "HashingEncoder()"):
        assert remedy in str(caught.value)


def test_other_weights_in_the_offline_package_are_refused(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    (tmp_path / "__init__.py").write_text("raise SystemExit('the package was run')")

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: Spec)
    found = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(FileFormatError, match=f"{found}, expected {models.OFFLINE_SHA256}"):
        SentenceEncoder().encode(["a"])


def test_weights_are_hashed_once_unless_they_change(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    first = models._folder_revision(tmp_path)
    hits = models._sha256_of.cache_info().hits
    assert models._folder_revision(tmp_path) == first
    assert models._sha256_of.cache_info().hits == hits + 1
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert models._folder_revision(tmp_path) != first
    (tmp_path / "README.md").write_text("not part of it")
    assert len(first) == 16


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "a/b/c", Path("nowhere"), ""])
def test_a_path_that_is_no_folder_is_not_looked_up_on_the_hub(path, no_network):
    with pytest.raises(ModelNotFoundError, match="folder"):
        SentenceEncoder(path).encode(["a"])
    assert no_network == []


@needs_weights
@pytest.mark.parametrize("trap", ["modules.json", "config.json", "module in folder"])
def test_a_booby_trapped_folder_does_not_run(tmp_path, trap, no_network):
    folder = linked(tmp_path / "trap")
    fired = tmp_path / "fired"
    code = f"open({str(fired)!r}, 'w').close()\nclass Evil:\n    pass\n"
    for name in ("evil.py", "modeling_evil.py", "configuration_evil.py", "__init__.py"):
        (folder / name).write_text(code)
    if trap == "config.json":
        config = json.loads((folder / "config.json").read_text())
        config["model_type"] = "evil"
        config["auto_map"] = {
            "AutoConfig": "configuration_evil.Evil",
            "AutoModel": "modeling_evil.Evil",
            "AutoTokenizer": ["evil.Evil", "evil.Evil"],
        }
        (folder / "config.json").write_text(json.dumps(config))
    else:
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["type"] = "evil.Evil" if trap == "modules.json" else "os.path"
        (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(FileFormatError, match=r"never|cannot be loaded"):
        SentenceEncoder(folder, cache=False, device="cpu").encode(["a"])
    assert not fired.exists()
    assert "evil" not in sys.modules
    assert no_network == []


@needs_weights
def test_pickled_weights_are_not_read(tmp_path):
    torch = pytest.importorskip("torch")
    folder = linked(tmp_path / "old")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(FileFormatError, match="safetensors"):
        SentenceEncoder(folder, cache=False, device="cpu").encode(["a"])


@needs_weights
@pytest.mark.parametrize("damage", ["empty", "truncated", "no config", "no tokenizer"])
def test_a_damaged_folder_is_a_clear_error(tmp_path, damage, no_network):
    folder = linked(tmp_path / "damaged")
    if damage == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif damage == "truncated":
        start = (folder / "model.safetensors").open("rb").read(10_000)
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors").write_bytes(start)
    elif damage == "no config":
        (folder / "config.json").write_text("{")
    else:
        for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
            (folder / name).unlink()
    with pytest.raises(FileFormatError, match="damaged cannot be loaded"):
        SentenceEncoder(folder, cache=False, device="cpu").encode(["a"])
    assert no_network == []


def test_a_missing_library_is_named_with_its_remedy(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        SentenceEncoder(tmp_path, cache=False).encode(["a"])


def test_an_old_library_is_refused_because_it_trusts_local_code(tmp_path, monkeypatch):
    library = pytest.importorskip("sentence_transformers")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(library, "__version__", "5.9.1")
    with pytest.raises(MissingExtraError, match=r"found sentence-transformers 5\.9\.1"):
        SentenceEncoder(tmp_path, cache=False).encode(["a"])


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(DataError, match="batch_size >= 1, found 0"):
        SentenceEncoder(batch_size=0).encode(["a"])


def test_a_number_of_processes_that_is_none_is_refused():
    with pytest.raises(DataError, match="found n_jobs=0"):
        SentenceEncoder(n_jobs=0).encode(["a"])


@needs_weights
def test_an_unwritable_cache_costs_a_warning_only(tmp_path, encoder):
    (tmp_path / "file").write_text("")
    failing = SentenceEncoder(cache=tmp_path / "file" / "x", device="cpu")
    failing._loaded = encoder._load()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = failing.encode(["a", "b"])
    assert np.array_equal(rows, encoder.encode(["a", "b"]))
    assert len(caught) == 1
    assert "without the cache" in str(caught[0].message)


# What is read of a text

STORY = "A quiet story about a family in a small town by the sea. " * 20
LONG = [STORY + "Then vampires attack.", STORY + "Then they bake bread.", "A film on war."]


@needs_weights
def test_a_text_longer_than_the_model_reads_is_said_with_counts(tmp_path, encoder):
    reading = SentenceEncoder(cache=tmp_path, device="cpu")
    reading._loaded = encoder._load()
    for _ in range(2):  # also where the rows come from the cache, without loading the model
        with pytest.warns(LLMTokensWarning, match="2 of 3 texts are longer than the 256 tokens"):
            rows = reading.encode(LONG)
        assert np.array_equal(rows[0], rows[1])
        reading = SentenceEncoder(cache=tmp_path, device="cpu")
    assert reading._loaded is None


@needs_weights
def test_windows_read_all_of_a_text_and_count_by_their_lengths(encoder):
    from llmtokens.encode.reading import windows

    reading = SentenceEncoder(cache=False, device="cpu", chunks="mean")
    model = reading._loaded = encoder._load()
    rows = reading.encode(LONG)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert np.array_equal(rows[2], encoder.encode(LONG[2:])[0])
    parts = windows(model, LONG[0], "")
    assert "".join(part.text for part in parts).split() == LONG[0].replace(" ", "").split() or (
        " ".join(part.text for part in parts) == LONG[0]
    )
    assert all(len(model.tokenizer(part.text)["input_ids"]) <= 256 for part in parts)
    assert [part.tokens for part in parts] == [254, sum(p.tokens for p in parts) - 254] or (
        len(parts) == 2
    )
    each = encoder.encode([part.text for part in parts])
    mean = np.array([part.tokens for part in parts], float) @ each
    assert np.allclose(rows[0], mean / np.linalg.norm(mean), atol=1e-6)
    alone = np.vstack([reading.encode([text]) for text in reversed(LONG)])[::-1]
    assert np.array_equal(rows, alone)
    assert np.allclose(reading.encode_query(LONG[1]), rows[1], atol=1e-6)
    assert reading.revision != encoder.revision
    assert restore_encoder(reading.name, reading.revision).revision == reading.revision


@needs_weights
def test_a_word_longer_than_the_model_reads_is_read_in_parts(encoder):
    from llmtokens.encode.reading import windows

    text = "x" * 3000 + " end"
    parts = windows(encoder._load(), text, "")
    assert "".join(part.text for part in parts).replace(" ", "") == text.replace(" ", "")


@needs_weights
def test_other_scripts_than_the_default_model_knows_are_said(encoder):
    with pytest.warns(LLMTokensWarning, match="2 of 4 texts are mostly in letters.*multilingual"):
        encoder.encode(["Alien", "Чужой", "異邦人", "Amélie, père et fils"])


@needs_weights
def test_a_prompt_is_put_before_each_text(encoder):
    asking = SentenceEncoder(cache=False, device="cpu", prompt="query: ")
    asking._loaded = encoder._load()
    expected = encoder.encode(["query: a film", "query: a longer text"])
    assert np.allclose(asking.encode(["a film", "a longer text"]), expected, atol=1e-6)
    assert asking.revision not in (encoder.revision, SentenceEncoder(prompt="passage: ").revision)
    named = SentenceEncoder(cache=False, device="cpu", prompt_name="nonsense")
    with pytest.raises(DataError, match="found prompt_name='nonsense'; expected one of"):
        named.encode(["a"])


@pytest.mark.parametrize("bad", [{"chunks": "max"}, {"pooling": "sum"}])
def test_a_way_of_reading_that_is_none_is_refused(bad):
    with pytest.raises(DataError, match="expected None or one of"):
        SentenceEncoder(**bad).encode(["a"])


@pytest.fixture(scope="module")
def plain_transformer(tmp_path_factory):
    """The folder of a tiny GPT-style model without a padding token and without pooling."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("gpt")
    words = ["<|end|>", *"abcdef"]
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(words)}, "<|end|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", model_max_length=16
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(words), n_positions=16, n_embd=8, n_layer=1, n_head=2
    )
    transformers.GPT2Model(config).save_pretrained(folder)
    return folder


def test_a_model_without_padding_reads_texts_of_any_lengths(plain_transformer):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    texts = ["a b c", "d", "e f"]
    rows = SentenceEncoder(plain_transformer, cache=False, device="cpu").encode(texts)
    model = transformers.GPT2Model.from_pretrained(plain_transformer).eval()
    ids = {w: k for k, w in enumerate(["<|end|>", *"abcdef"])}
    with torch.no_grad():
        states = [
            model(torch.tensor([[ids[w] for w in x.split()]])).last_hidden_state[0].numpy()
            for x in texts
        ]
    assert np.allclose(rows, [state.mean(axis=0) for state in states], atol=1e-5)
    for pooling, at in (("cls", 0), ("last", -1)):
        pooled = SentenceEncoder(plain_transformer, cache=False, device="cpu", pooling=pooling)
        assert np.allclose(pooled.encode(texts), [state[at] for state in states], atol=1e-5)
        assert pooled.revision.endswith(f"-pooling-{pooling}")


@needs_weights
def test_a_second_run_says_that_nothing_was_to_do(tmp_path, encoder, capfd):
    shown = SentenceEncoder(cache=tmp_path, device="cpu", show_progress=True)
    shown._loaded = encoder._load()
    shown.encode(["a", "b"])
    assert "texts a second" in capfd.readouterr().err
    shown.encode(["a", "b"])
    assert "nothing to do for 2 texts" in capfd.readouterr().err
