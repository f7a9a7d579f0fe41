"""No work is lost: kills, full disks, read-only folders, two writers at once.

``LLMTOKENS_KILLS=50`` kills every victim 50 times instead of 8, and kills the real encoder too.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from faults import KILLS, LONG, child, killed, mounted, needs_kill, output, remount
from test_cache import Counting

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
from llmtokens.datasets import synthetic
from llmtokens.encode import EmbeddingCache, cached
from llmtokens.errors import LLMTokensWarning, StorageError

# -- encoding ----------------------------------------------------------------------------------

N, BATCH, WINDOW = 5000, 2, 0.15
REST = WINDOW * KILLS / (N / BATCH)  # all the kills together come before the end
TEXTS = [f"text {k}" for k in range(N)]
ENCODING = """
import os, sys, time
from test_cache import Counting, EmbeddingCache, cached
folder, log, n, batch, rest = sys.argv[1:]

class Slow(Counting):
    def batches(self, texts):
        for k in range(0, len(texts), int(batch)):
            some = texts[k : k + int(batch)]
            time.sleep(float(rest))
            os.write(log, b"%d\\n" % len(some))
            yield range(k, k + len(some)), self.encode(some)

log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def work():
    cached(Slow(), [f"text {k}" for k in range(int(n))], EmbeddingCache(folder))
"""


def sound_rows(folder: Path) -> int:
    """How many rows a cache has; each of them must be whole, and the file too."""
    if not (folder / "embeddings.sqlite").exists():
        return 0
    db = sqlite3.connect(folder / "embeddings.sqlite")
    has_table = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    count = db.execute("SELECT count(*) FROM embeddings").fetchone()[0] if has_table else 0
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    keys = [hashlib.sha256(text.encode()).digest() for text in TEXTS]
    assert len(EmbeddingCache(folder).read("counting@1", keys)) == count
    return count


@needs_kill
def test_encoding_killed_at_random_moments_goes_on_where_it_was(tmp_path):
    folder, log = tmp_path / "cache", tmp_path / "log"
    kept = [0]

    def look():
        kept.append(sound_rows(folder))
        assert kept[-1] >= kept[-2]
        assert not list(folder.glob("*.corrupt-*"))

    running = killed(
        ENCODING, (folder, log, N, BATCH, REST), WINDOW, look, lambda: len(set(kept)) > KILLS / 4
    )
    assert running == len(kept) - 1
    encoder = Counting()
    cache = EmbeddingCache(folder)
    rows = cached(encoder, TEXTS, cache)
    cache.close()
    assert np.array_equal(rows, Counting().encode(TEXTS))
    assert len(encoder.seen) == N - kept[-1]
    encoded = sum(map(int, log.read_text().split())) + len(encoder.seen)
    assert N <= encoded <= N + running * BATCH  # each kill costs the batch at hand
    if LONG:
        print(f"\nfake encoder: {running} of {KILLS} kills found it running; rows kept {kept}; "
              f"{encoded - N} of {N} texts encoded twice")  # fmt: skip


REAL = """
import sys
from llmtokens.encode import SentenceEncoder
encoder = SentenceEncoder(cache=sys.argv[1], device="cpu")
encoder._load()

def work():
    encoder.encode([line.strip() for line in open(sys.argv[2])])
"""


def real_texts(n):
    """Short texts of several lengths, each once."""
    return [f"A film about {'the sea and ' * (k % 7)}the number {k}" for k in range(n)]


@needs_kill
@pytest.mark.skipif(not LONG, reason="minutes: set LLMTOKENS_KILLS (test_encode.py kills it once)")
def test_the_real_encoder_killed_at_random_moments_goes_on_where_it_was(tmp_path):
    from llmtokens.encode import SentenceEncoder

    n = int(os.environ.get("LLMTOKENS_REAL_TEXTS", "5000"))
    texts, kept = real_texts(n), [0]
    (tmp_path / "texts").write_text("\n".join(texts))
    keys = [hashlib.sha256(text.encode()).digest() for text in texts]
    encoder = SentenceEncoder(cache=tmp_path, device="cpu")
    label = f"{encoder.name}@{encoder.revision}"

    def look():
        kept.append(len(EmbeddingCache(tmp_path).read(label, keys)))
        assert kept[-1] >= kept[-2]

    running = killed(
        REAL, (tmp_path, tmp_path / "texts"), float(os.environ.get("LLMTOKENS_WINDOW", "3")), look
    )
    asked, batches = [], encoder.batches
    encoder.batches = lambda todo: asked.extend(todo) or batches(todo)
    rows = encoder.encode(texts)
    assert len(asked) == n - kept[-1]
    assert np.array_equal(rows, SentenceEncoder(cache=False, device="cpu").encode(texts))
    print(f"\nMiniLM: {running} of {KILLS} kills found it running; rows kept {kept}")


def test_a_full_disk_stops_the_cache_and_not_the_work_and_room_brings_it_back():
    with mounted("size=300k") as folder:
        encoder = Counting()
        with pytest.warns(LLMTokensWarning, match="embedding cache: cannot") as caught:
            rows = cached(encoder, TEXTS, EmbeddingCache(folder))
        assert np.array_equal(rows, Counting().encode(TEXTS))
        assert len(caught) == 1
        assert len(encoder.seen) == N
        remount(folder, "size=20m")
        kept = sound_rows(folder)
        again = Counting()
        cache = EmbeddingCache(folder)
        assert np.array_equal(cached(again, TEXTS, cache), rows)
        cache.close()
        assert len(again.seen) == N - kept
        assert sound_rows(folder) == N
        if LONG:
            print(f"\nfull disk: {kept} of {N} rows kept before it was full")


def test_a_read_only_disk_is_read_and_not_written():
    with mounted("size=20m") as folder:
        cache = EmbeddingCache(folder)
        cached(Counting(), TEXTS[:100], cache)
        cache.close()
        remount(folder, "ro")
        encoder = Counting()
        with pytest.warns(LLMTokensWarning, match="cannot write"):
            rows = cached(encoder, TEXTS[:150], EmbeddingCache(folder))
        assert np.array_equal(rows, Counting().encode(TEXTS[:150]))
        assert encoder.seen == TEXTS[100:150]


WRITING = """
import sys, warnings
from test_cache import Counting, EmbeddingCache, cached, np
step, n, *folders = sys.argv[1:]
texts = [f"text {k}" for k in range(int(n))][:: int(step)]

class Small(Counting):
    def batches(self, texts):
        for k in range(0, len(texts), 8):
            some = texts[k : k + 8]
            yield range(k, k + len(some)), self.encode(some)

warnings.simplefilter("error")
for folder in folders:
    rows = cached(Small(), texts, EmbeddingCache(folder))
    assert np.array_equal(rows, Counting().encode(texts))
"""


def test_two_processes_fill_one_cache_at_once(tmp_path):
    writers = [child(WRITING, step, N, tmp_path) for step in (1, -1)]
    for process in writers:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    assert sound_rows(tmp_path) == N


@needs_kill
def test_a_kill_beside_another_writer_harms_neither(tmp_path):
    other = child(WRITING, -1, N, tmp_path)
    killed(ENCODING, (tmp_path, tmp_path / "log", N, BATCH, 0), 0.1, lambda: None)
    _, err = other.communicate(timeout=600)
    assert other.returncode == 0, err
    assert sound_rows(tmp_path) == N


# -- saving ------------------------------------------------------------------------------------

DATA = synthetic(n_users=40, n_items=60, n_ratings=900)
TOKENS = LLMTokens.from_frame(DATA.items, "{description}", encoder=HashingEncoder(), n_components=8)
KINDS = ["model", "tokens", "report", "table", "result"]


def saver(kind, version):
    """A function that writes one version of something into a folder."""
    from surprise.model_selection import KFold

    from llmtokens.compare import compare
    from llmtokens.compare.trial import Outcome
    from llmtokens.report import report

    if kind == "model":
        trainset = DATA.dataset.build_full_trainset()
        algo = LLMTokensSVD(TOKENS, n_factors=20 * version, n_epochs=1).fit(trainset)
        return lambda folder: algo.save(folder / "model")
    if kind == "tokens":
        texts = [f"{version} {k}" for k in range(300)]
        tokens = LLMTokens.from_texts(range(300), texts, encoder=HashingEncoder(256 * version))
        return lambda folder: tokens.save(folder / "tokens")
    if kind == "result":
        arrays = {"est": np.full(2000, float(version))}
        outcome = Outcome({"rmse": float(version)}, predicted=arrays)
        return lambda folder: outcome.write(folder / "outcome.json")
    algorithms = {f"version {version}": LLMTokensSVD(n_factors=1, n_epochs=1)}
    comparison = compare(algorithms, DATA.dataset, {"two": KFold(2)}, progress=False)
    if kind == "table":
        return lambda folder: comparison.to_csv(folder / "table.csv")
    return lambda folder: report(comparison, folder / "report.html")


def version_of(folder, kind):
    """Which version is in the folder, 0 for none; it must be whole."""
    from llmtokens.compare.trial import Outcome

    names = {"report": "report.html", "table": "table.csv", "result": "outcome.json"}
    path = folder / names.get(kind, kind)
    if not path.exists():
        return 0
    match kind:
        case "model":
            return llmtokens.load(path).n_factors // 20
        case "tokens":
            return int(LLMTokens.load(path).revision.split("-")[1]) // 256
        case "report":
            page = path.read_text(encoding="utf-8")
            assert page.rstrip().endswith("</html>")
            return 2 if "version 2" in page else 1
        case "table":
            rows = path.read_text(encoding="utf-8").splitlines()
            assert len(rows) == 5
            assert len({row.count(",") for row in rows}) == 1
            return int(rows[1].split("version ")[1][0])
        case _:
            outcome = Outcome.read(path, {"rmse": None}, 2000)
            assert outcome is not None
            return int(outcome.values["rmse"])


SAVING = """
import sys
from pathlib import Path
from test_faults import saver
one, two = saver(sys.argv[1], 1), saver(sys.argv[1], 2)

def work():
    while True:
        two(Path(sys.argv[2]))
        one(Path(sys.argv[2]))
"""


@needs_kill
@pytest.mark.parametrize("kind", KINDS if LONG else ["model"])
def test_a_kill_while_saving_leaves_a_whole_file_or_none(kind, tmp_path):
    found, window = [], 3 if kind == "report" else 0.1  # drawing takes most of its time
    running = killed(
        SAVING, (kind, tmp_path), window, lambda: found.append(version_of(tmp_path, kind))
    )
    assert running == KILLS
    assert any(found)
    scraps = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert len(scraps) <= 2 * KILLS
    if LONG:
        print(f"\n{kind}: {KILLS} kills, versions found {found}, {len(scraps)} scraps")


once = cache(saver)  # each version is made once for all tests


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_the_old_file_whole_and_no_scraps(kind):
    with mounted("size=4m") as folder:
        once(kind, 1)(folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        fill(folder / "ballast")
        with pytest.raises(StorageError, match="nothing at that place was changed"):
            once(kind, 2)(folder)
        (folder / "ballast").unlink()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        once(kind, 2)(folder)
        assert version_of(folder, kind) == 2


def fill(path: Path) -> None:
    """Write until the disk is full to the last page."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                pass


LIMITED = """
import resource, signal, sys
from pathlib import Path
from test_faults import StorageError, saver
save = saver(sys.argv[1], 2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    save(Path(sys.argv[2]))
except StorageError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("kind", KINDS if LONG else ["table"])
def test_a_file_that_may_not_grow_is_an_error_and_the_old_one_stays(kind, tmp_path):
    pytest.importorskip("resource")
    once(kind, 1)(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert output(LIMITED, kind, tmp_path).startswith("refused could not write")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_place_of_the_folder_is_a_storage_error(kind, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        once(kind, 1)(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_disk_is_a_storage_error(kind):
    with mounted("size=4m") as folder:
        once(kind, 1)(folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        remount(folder, "ro")
        with pytest.raises(StorageError, match="writable"):
            once(kind, 2)(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert version_of(folder, kind) == 1


def test_results_that_cannot_be_kept_stop_a_comparison_with_our_error():
    from surprise import BaselineOnly

    from llmtokens.compare import compare

    with mounted("size=4m") as folder:
        remount(folder, "ro")
        with pytest.raises(StorageError):
            compare({"a": BaselineOnly()}, DATA.dataset, folder=folder, progress=False)
    with mounted("size=64k") as folder:
        fill(folder / "ballast")
        with pytest.raises(StorageError):
            compare({"a": BaselineOnly()}, DATA.dataset, folder=folder, progress=False)


READING = """
import sys, llmtokens
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    assert llmtokens.load(sys.argv[1]).n_factors in (20, 40)
"""


def test_a_reader_never_meets_half_of_a_file_that_is_being_replaced(tmp_path):
    once("model", 1)(tmp_path)
    reader = child(READING, tmp_path / "model", 400 if LONG else 30)
    reader.stdout.readline()
    while reader.poll() is None:
        once("model", 2)(tmp_path)
        once("model", 1)(tmp_path)
    assert reader.returncode == 0, reader.communicate()[1]
