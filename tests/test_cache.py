"""The embedding cache: no work is lost, and no failure of the cache stops the work."""

from __future__ import annotations

import hashlib
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llmtokens.encode import EmbeddingCache, cached
from llmtokens.errors import DataError, LLMTokensWarning

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [f"text {k}" for k in range(40)]


class Counting:
    """A row is made from the hash of its text; remembers what it was asked for."""

    name = "counting"
    revision = "1"

    def __init__(self, dim: int = 8) -> None:
        self.dim = dim
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += texts
        digests = [hashlib.sha512(text.encode()).digest()[: self.dim] for text in texts]
        return np.array([list(d) for d in digests], dtype=np.float32).reshape(-1, self.dim) / 7


def expected(texts: Sequence[str] = TEXTS) -> np.ndarray:
    return Counting().encode(texts)


def run(
    folder: Path, texts: Sequence[str] = TEXTS, **settings: int
) -> tuple[np.ndarray, list[str]]:
    encoder, cache = Counting(**settings), EmbeddingCache(folder)
    rows = cached(encoder, texts, cache)
    cache.close()
    return rows, encoder.seen


def alter(folder: Path, sql: str, *values: object) -> None:
    db = sqlite3.connect(folder / "embeddings.sqlite")
    with db:
        db.execute(sql, values)
    db.close()


def test_a_second_run_encodes_nothing(tmp_path):
    first, seen = run(tmp_path)
    assert seen == TEXTS
    second, seen = run(tmp_path)
    assert seen == []
    assert np.array_equal(first, expected())
    assert np.array_equal(second, expected())
    assert second.dtype == np.float32


def test_only_new_texts_are_encoded_and_duplicates_once(tmp_path):
    run(tmp_path, TEXTS[:10])
    asked = ["new", *TEXTS[:3], "new", "newer", TEXTS[2]]
    rows, seen = run(tmp_path, asked)
    assert seen == ["new", "newer"]
    assert np.array_equal(rows, expected(asked))
    assert np.array_equal(cached(Counting(), asked), expected(asked))


def test_no_texts_give_no_rows_of_the_right_width(tmp_path):
    assert run(tmp_path, [])[0].shape == (0, 8)


def test_another_revision_shares_nothing(tmp_path):
    run(tmp_path)
    other, cache = Counting(), EmbeddingCache(tmp_path)
    other.revision = "2"
    cached(other, TEXTS, cache)
    assert other.seen == TEXTS


def test_no_text_is_written_to_the_file(tmp_path):
    run(tmp_path, ["a very private plot"])
    for file in tmp_path.iterdir():
        assert b"private" not in file.read_bytes()


def test_the_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMTOKENS_CACHE_DIR", str(tmp_path / "here"))
    assert EmbeddingCache().path == tmp_path / "here" / "embeddings.sqlite"
    monkeypatch.delenv("LLMTOKENS_CACHE_DIR")
    assert EmbeddingCache().path.parent.name == "llmtokens" or os.name == "nt"


def test_every_batch_is_kept_as_soon_as_it_is_done(tmp_path):
    class Failing(Counting):
        def batches(self, texts):
            for k in range(0, len(texts), 5):
                if k == 15:
                    raise KeyboardInterrupt
                yield range(k, k + 5), self.encode(texts[k : k + 5])

    with pytest.raises(KeyboardInterrupt):
        cached(Failing(), TEXTS, EmbeddingCache(tmp_path))
    rows, seen = run(tmp_path)
    assert seen == TEXTS[15:]
    assert np.array_equal(rows, expected())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE embeddings SET vector = substr(vector, 1, 7) WHERE text = ?",
        "UPDATE embeddings SET vector = zeroblob(32) WHERE text = ?",
        "UPDATE embeddings SET vector = 'words' WHERE text = ?",
        "UPDATE embeddings SET vector = zeroblob(0), crc = 0 WHERE text = ?",
        "UPDATE embeddings SET crc = 'x' WHERE text = ?",
    ],
)
def test_a_damaged_row_is_encoded_again(tmp_path, damage):
    run(tmp_path)
    alter(tmp_path, damage, hashlib.sha256(TEXTS[3].encode()).digest())
    rows, seen = run(tmp_path)
    assert seen == [TEXTS[3]]
    assert np.array_equal(rows, expected())
    assert run(tmp_path)[1] == []


def test_rows_of_another_width_are_not_mixed_in(tmp_path):
    run(tmp_path, TEXTS[:5], dim=4)
    rows, _seen = run(tmp_path)
    assert np.array_equal(rows, expected())


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 300, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_a_damaged_file_is_renamed_and_begun_anew(tmp_path, content):
    (tmp_path / "embeddings.sqlite").write_bytes(content)
    with pytest.warns(LLMTokensWarning, match=r"damaged.*embeddings.sqlite.corrupt-1"):
        rows, seen = run(tmp_path)
    assert seen == TEXTS
    assert np.array_equal(rows, expected())
    assert (tmp_path / "embeddings.sqlite.corrupt-1").read_bytes() == content
    assert run(tmp_path)[1] == []
    (tmp_path / "embeddings.sqlite").write_bytes(content)
    with pytest.warns(LLMTokensWarning, match="corrupt-2"):
        run(tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_anywhere_in_the_file_never_changes_a_result(tmp_path, seed):
    run(tmp_path, [f"{k}" for k in range(500)])
    file = tmp_path / "embeddings.sqlite"
    rng, content = np.random.default_rng(seed), bytearray(file.read_bytes())
    if seed % 3 == 0:
        content = content[: rng.integers(len(content))]
    else:
        for place in rng.integers(len(content), size=200):
            content[place] = rng.integers(256)
    file.write_bytes(content)
    texts = [f"{k}" for k in range(600)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LLMTokensWarning)
        assert np.array_equal(run(tmp_path, texts)[0], expected(texts))


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(LLMTokensWarning, match="going on without the cache") as caught:
        rows, _ = run(tmp_path / "file" / "folder")
    assert np.array_equal(rows, expected())
    assert len(caught) == 1


def test_a_foreign_database_is_left_alone(tmp_path):
    db = sqlite3.connect(tmp_path / "embeddings.sqlite")
    db.execute("CREATE TABLE embeddings (something TEXT)")
    db.close()
    with pytest.warns(LLMTokensWarning):
        assert np.array_equal(run(tmp_path)[0], expected())
    db = sqlite3.connect(tmp_path / "embeddings.sqlite")
    assert db.execute("SELECT count(*) FROM embeddings").fetchone() == (0,)
    db.close()


def child(code: str, *args: str) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    script = "from test_cache import *\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


READ_ONLY = """
run(Path(sys.argv[2]))  # import everything while we may
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere: be nobody
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    rows, seen = run(Path(sys.argv[1]), TEXTS + ["new"])
assert np.array_equal(rows, expected(TEXTS + ["new"]))
print(len(seen), len(caught), caught[0].message)
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize("filled", [True, False])
def test_a_read_only_folder_is_read_and_not_written(tmp_path, filled):
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        folder = Path(parent, "shared")
        folder.mkdir()
        if filled:
            run(folder)
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        process = child(READ_ONLY, str(folder), str(tmp_path))
        out, err = process.communicate(timeout=600)
        folder.chmod(0o755)
    assert process.returncode == 0, err
    encoded, warned, message = out.split(" ", 2)
    assert int(encoded) == (1 if filled else 41)
    assert int(warned) == 1
    assert "cannot" in message


def test_a_full_disk_stops_the_cache_and_not_the_work(tmp_path):
    pytest.importorskip("resource")
    process = child(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        texts = [str(k) for k in range(3000)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows, seen = run(Path(sys.argv[1]), texts)
        assert np.array_equal(rows, expected(texts)) and len(seen) == 3000
        assert [w.category for w in caught] == [LLMTokensWarning], caught
        """,
        str(tmp_path),
    )
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    texts = [str(k) for k in range(3000)]
    rows, seen = run(tmp_path, texts)  # there is room again
    assert np.array_equal(rows, expected(texts))
    assert len(seen) <= 3000
    assert run(tmp_path, texts)[1] == []


def test_a_run_that_is_killed_resumes_with_an_equal_result(tmp_path):
    code = """
        class Slow(Counting):
            def batches(self, texts):
                for k in range(0, len(texts), 4):
                    print("batch", flush=True)
                    yield range(k, k + 4), self.encode(texts[k : k + 4])
        cached(Slow(), [f"text {k}" for k in range(4000)], EmbeddingCache(Path(sys.argv[1])))
        """
    texts = [f"text {k}" for k in range(4000)]
    for batches in (1, 7, 40):
        process = child(code, str(tmp_path))
        for _ in range(batches):
            assert process.stdout.readline() == "batch\n"
        process.kill()
        process.communicate()
    done = EmbeddingCache(tmp_path).read(
        "counting@1", [hashlib.sha256(text.encode()).digest() for text in texts]
    )
    assert 4 * (0 + 6 + 39) <= len(done) < 4000
    rows, seen = run(tmp_path, texts)
    assert len(seen) == 4000 - len(done)
    assert np.array_equal(rows, expected(texts))


def test_several_processes_write_one_new_cache_at_once(tmp_path):
    code = """
        texts = [str(k) for k in range(int(sys.argv[2]), int(sys.argv[2]) + 600)]
        class Small(Counting):
            def batches(self, texts):
                for k in range(0, len(texts), 3):
                    yield range(k, min(k + 3, len(texts))), self.encode(texts[k : k + 3])
        warnings.simplefilter("error")
        rows = cached(Small(), texts, EmbeddingCache(Path(sys.argv[1])))
        assert np.array_equal(rows, expected(texts))
        """
    processes = [child(code, str(tmp_path), str(200 * k)) for k in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    texts = [str(k) for k in range(1200)]
    rows, seen = run(tmp_path, texts)
    assert seen == []
    assert np.array_equal(rows, expected(texts))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["embeddings.sqlite"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_neither_given_nor_kept(tmp_path, bad):
    class Broken(Counting):
        def encode(self, texts):
            return np.full((len(texts), 8), bad)

    with pytest.raises(DataError, match="counting gave NaN or infinite"):
        cached(Broken(), TEXTS, EmbeddingCache(tmp_path))
    assert run(tmp_path)[1] == TEXTS


def test_an_encoder_that_loses_rows_is_refused():
    class Losing(Counting):
        def encode(self, texts):
            return super().encode(texts)[1:]

    with pytest.raises(DataError, match=r"shape \(39, 8\) for 40 texts"):
        cached(Losing(), TEXTS)


def test_nothing_in_the_cache_is_executed(tmp_path):
    payload = pickle.dumps(os.system)
    run(tmp_path)
    alter(tmp_path, "UPDATE embeddings SET vector = ?", payload)
    assert run(tmp_path)[1] == TEXTS
    source = (ROOT / "llmtokens" / "encode" / "cache.py").read_text()
    assert "pickle" not in source
    assert "eval(" not in source
