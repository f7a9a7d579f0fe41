"""Files are hostile: every reader meets mutated files with its answer or an error of our own.

``LLMTOKENS_FUZZ_SECONDS=600`` spends ten minutes on it, with other files for another
``LLMTOKENS_SEED``; otherwise each reader gets 30 files.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import sqlite3
import tempfile
import time
import warnings
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, dataset, full
from fuzzing import guarded, mutations
from hypothesis import HealthCheck, Phase, given, seed, settings
from surprise.model_selection import KFold
from test_cache import Counting

import llmtokens
from llmtokens import HashingEncoder, LLMTokens
from llmtokens.compare import compare
from llmtokens.datasets import load_items, load_movielens, load_ratings
from llmtokens.encode import EmbeddingCache, cached
from llmtokens.errors import FileFormatError, LLMTokensError
from llmtokens.storage import container as store

SECONDS = float(os.environ.get("LLMTOKENS_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("LLMTOKENS_SEED", "0"))
pytestmark = pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="POSIX")
TEXTS = [f"text {k}" for k in range(30)]

MOVIELENS = {
    "ml-100k": {
        "u.data": "1\t1\t5\t874965758\n1\t2\t3\t876893171\n2\t1\t4\t888550871\n",
        "u.item": "".join(
            f"{k}|{title}|01-Jan-1995||http://x|{'|'.join('01'[(k + g) % 2] for g in range(19))}\n"
            for k, title in enumerate(["Toy Story (1995)", "Matrix, The (1999)"], 1)
        ),
        "u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
    },
    "ml-1m": {
        "ratings.dat": "1::1::5::978300760\n1::2::3::978302109\n2::1::4::978301968\n",
        "movies.dat": "1::Toy Story (1995)::Animation|Comedy\n2::A :: B (1995)::Drama\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        "tags.dat": "1::1::a tag::1\n2::2::two::2\n",
    },
    "ml-25m": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n2,2,0.5,964981247\n",
        "movies.csv": 'movieId,title,genres\n1,Toy Story (1995),Comedy|Drama\n2,"A, The",(no)\n',
        "tags.csv": "userId,movieId,tag,timestamp\n1,1,fun,1445714994\n",
        "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n2,0113497,\n",
    },
}
RATINGS = "user,item,rating,timestamp\nann,7,4,2001-01-01\nbob,8,2,2001-01-02T10:00:00\n"
NUMBERS = "user,item,rating,timestamp\n1,7,4,978300760\n2,8,2.5,978300761\n1,8,3,\n"
ITEMS = 'item,title,year\n7,"Emma, or",1815\n8,Persuasion,1817\n'


@cache
def small_model(name):
    """A small fitted algorithm as a file, and its parts."""
    ids = [*"abcdef"]
    tokens = LLMTokens.from_texts(ids, [f"film {x} {x}" for x in ids], encoder=HashingEncoder(16))
    cls, parameters = ALGORITHMS[name]
    changes = {"item_tokens": tokens} if "item_tokens" in parameters else {}
    pairs = [(u, i) for u in range(5) for i in ids if (u + ord(i)) % 3]
    rows = [(u, i, float(1 + (u * 7 + ord(i)) % 5)) for u, i in pairs]
    algo = cls(**(parameters | changes)).fit(full(rows))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        algo.save(path)
        kind, payload, arrays = store.read(path)
        parts = kind, payload, {key: np.array(value) for key, value in arrays.items()}
        return path.read_bytes(), parts, tokens


MODELS = ["LLMTokensSVD", "LLMTokensBPMF", "LLMTokensEASE", "LLMTokensContent"]


def use(algo):
    """Whoever has loaded a model uses it."""
    uid, iid = algo.ratings_.user_ids[0], algo.ratings_.item_ids[0]
    assert np.isfinite(algo.predict(uid, iid).est)
    with contextlib.suppress(LLMTokensError):
        algo.recommend_all(n=2)
        algo.explain(uid, iid)
        algo.fold_in("new", {iid: 3.0})


class Models:
    """Whole files, mutated: the checksum notices, and what is read is what was written."""

    seeds = property(lambda self: [small_model(name)[0] for name in MODELS])

    def read(self, data, folder):
        (folder / "file").write_bytes(data)
        use(llmtokens.load(folder / "file"))
        name, payload, arrays = store.read(folder / "file")
        _, written, honest = small_model(name)[1]
        assert payload == written
        assert arrays.keys() == honest.keys()
        assert all(np.array_equal(arrays[key], honest[key]) for key in honest)


class ResealedModels:
    """The JSON inside, mutated, with a right checksum."""

    seeds = property(
        lambda self: [json.dumps([name, small_model(name)[1][1]]).encode() for name in MODELS]
    )

    def read(self, data, folder):
        with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError):
            name, payload = json.loads(data)
            kind, _, arrays = small_model(name)[1]
            store.write(folder / "file", kind, payload, arrays)
            use(llmtokens.load(folder / "file"))


class ResealedArrays:
    """An array inside, mutated, with a right checksum."""

    seeds = property(
        lambda self: [
            f"{name}|{key}|".encode() + array.tobytes()
            for name in MODELS
            for key, array in small_model(name)[1][2].items()
        ]
    )

    def read(self, data, folder):
        name, key, raw = [*data.split(b"|", 2), b"", b""][:3]
        name, key = name.decode("latin-1"), key.decode("latin-1")
        if name not in MODELS or key not in small_model(name)[1][2]:
            return
        kind, payload, arrays = small_model(name)[1]
        old = arrays[key]
        raw = raw[: len(raw) // old.itemsize * old.itemsize]
        new = np.frombuffer(raw, old.dtype)
        shaped = new.reshape(old.shape) if new.size == old.size else new
        store.write(folder / "file", kind, payload, arrays | {key: shaped})
        use(llmtokens.load(folder / "file"))


class Tokens:
    @property
    def seeds(self):
        with tempfile.TemporaryDirectory() as folder:
            small_model(MODELS[0])[2].save(Path(folder, "tokens"))
            return [Path(folder, "tokens").read_bytes()]

    def read(self, data, folder):
        (folder / "file").write_bytes(data)
        LLMTokens.load(folder / "file").transform(["a film"])


class ResealedTokens:
    """The JSON inside, mutated, with a right checksum."""

    parts = property(lambda self: small_model(MODELS[0])[2].to_parts())
    seeds = property(lambda self: [json.dumps(self.parts[0]).encode()])

    def read(self, data, folder):
        with contextlib.suppress(ValueError, RecursionError):
            payload = json.loads(data)
            store.write(folder / "file", "tokens", payload, self.parts[1])
            tokens = LLMTokens.load(folder / "file")
            tokens.transform(["a film"] * 20)
            tokens.query("a film")


class Cache:
    @property
    def seeds(self):
        with tempfile.TemporaryDirectory() as folder:
            cache = EmbeddingCache(folder)
            cached(Counting(), TEXTS, cache)
            cache.close()
            return [Path(folder, "embeddings.sqlite").read_bytes()]

    def read(self, data, folder):
        for file in folder.iterdir():
            file.unlink()
        (folder / "embeddings.sqlite").write_bytes(data)
        cache = EmbeddingCache(folder)
        rows = cached(Counting(), TEXTS, cache)
        cache.close()
        assert np.array_equal(rows, Counting().encode(TEXTS))


def put(files, data, folder):
    """Write the files, the one that ``data`` names with what it has; False where none has its
    name."""
    key, _, content = data.partition(b"|")
    name = key.decode("latin-1")
    if name not in files:
        return False
    for file, whole in (files | {name: content}).items():
        (folder / file).write_bytes(whole)
    return True


class Layout:
    """A folder of MovieLens, one of its files mutated."""

    def __init__(self, name):
        self.files = {key: text.encode() for key, text in MOVIELENS[name].items()}

    @property
    def seeds(self):
        return [f"{key}|".encode() + data for key, data in self.files.items()]

    def read(self, data, folder):
        if put(self.files, data, folder):
            load_movielens(folder).dataset.build_full_trainset()


def zipped(files, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, text in files.items():
            archive.writestr(f"ml/{name}", text)
    return buffer.getvalue()


class Archives:
    seeds = property(
        lambda self: [
            zipped(files, method)
            for files in MOVIELENS.values()
            for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
        ]
    )

    def read(self, data, folder):
        (folder / "ml.zip").write_bytes(data)
        load_movielens(folder / "ml.zip")
        assert [path.name for path in folder.iterdir()] == ["ml.zip"]


class Ratings:
    seeds = property(lambda self: [RATINGS.encode(), NUMBERS.encode()])
    name = "ratings.csv"

    def read(self, data, folder):
        (folder / self.name).write_bytes(data)
        load_ratings(folder / self.name).dataset.build_full_trainset()


class Compressed(Ratings):
    name = "ratings.csv.gz"

    @property
    def seeds(self):
        return [gzip.compress(NUMBERS.encode()), gzip.compress(RATINGS.encode())]


class Parquet:
    @property
    def seeds(self):
        pytest.importorskip("pyarrow")
        buffer = io.BytesIO()
        pd.read_csv(io.StringIO(NUMBERS)).to_parquet(buffer)
        return [buffer.getvalue()]

    def read(self, data, folder):
        (folder / "ratings.parquet").write_bytes(data)
        load_ratings(folder / "ratings.parquet").dataset.build_full_trainset()


class Items:
    seeds = property(lambda self: [ITEMS.encode()])

    def read(self, data, folder):
        (folder / "items.csv").write_bytes(data)
        frame = load_items(folder / "items.csv")
        (folder / "ratings.csv").write_text(NUMBERS)
        load_ratings(folder / "ratings.csv", folder / "items.csv")
        if "title" in frame:
            LLMTokens.from_frame(frame, "{title}", encoder=HashingEncoder(16))


class Results:
    """The folder of a comparison, one of its files mutated."""

    algorithms = property(lambda self: {"svd": llmtokens.LLMTokensSVD(n_factors=1, n_epochs=1)})
    splits = property(lambda self: {"two": KFold(2, random_state=0)})

    def run(self, folder):
        rows = [(u, i, float(1 + (u + i) % 5)) for u in range(6) for i in range(6)]
        return compare(
            self.algorithms, dataset(rows), self.splits, folder=folder, keep_predictions=True,
            progress=False,
        )  # fmt: skip

    @property
    def seeds(self):
        with tempfile.TemporaryDirectory() as folder:
            self.whole = self.run(Path(folder))
            self.files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        return [f"{name}|".encode() + data for name, data in self.files.items()]

    def read(self, data, folder):
        if not put(self.files, data, folder):
            return
        table = self.run(folder).table
        assert len(table) == len(self.whole.table)
        assert (table["error"] == "").all()


READERS = {
    "models": Models(),
    "resealed models": ResealedModels(),
    "resealed arrays": ResealedArrays(),
    "tokens": Tokens(),
    "resealed tokens": ResealedTokens(),
    "cache": Cache(),
    "ml-100k": Layout("ml-100k"),
    "ml-1m": Layout("ml-1m"),
    "ml-25m": Layout("ml-25m"),
    "archives": Archives(),
    "ratings": Ratings(),
    "compressed ratings": Compressed(),
    "parquet": Parquet(),
    "items": Items(),
    "results": Results(),
}


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_or_refused(name, tmp_path):
    reader = READERS[name]
    seeds = reader.seeds
    cases = 0

    def attempt(data):
        nonlocal cases
        cases += 1
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        with warnings.catch_warnings(), guarded():
            warnings.simplefilter("ignore")
            with contextlib.suppress(LLMTokensError):
                reader.read(data, folder)

    for data in seeds:  # they are honest, and bring the memory to where it stays
        reader.read(data, _made(tmp_path / "files"))
    for data in seeds:
        attempt(data)
    chunk = settings(
        max_examples=300 if SECONDS else 30,
        deadline=None,
        database=None,
        derandomize=not SECONDS,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    stop, k = time.monotonic() + SECONDS / len(READERS), 0
    while k == 0 or time.monotonic() < stop:
        fuzz = chunk(given(mutations(seeds))(attempt))
        (seed(1000 * SEED + k)(fuzz) if SECONDS else fuzz)()
        k += 1
    if SECONDS:
        print(f"\n{name}: {cases} files")


def _made(folder):
    folder.mkdir(exist_ok=True)
    return folder


# -- what fuzzing and reading the code have found ------------------------------------------------


def test_a_cache_that_computes_for_ever_is_not_asked(tmp_path):
    db = sqlite3.connect(tmp_path / "embeddings.sqlite")
    db.execute(
        "CREATE VIEW embeddings AS WITH RECURSIVE n(encoder) AS (SELECT 'counting@1' UNION ALL "
        "SELECT encoder FROM n) SELECT encoder, 0 AS text, 0 AS crc, 0 AS vector FROM n"
    )
    db.commit()
    db.close()
    with guarded(), pytest.warns(llmtokens.errors.LLMTokensWarning, match="other tables"):
        rows = cached(Counting(), TEXTS, EmbeddingCache(tmp_path))
    assert np.array_equal(rows, Counting().encode(TEXTS))


def test_a_trigger_in_a_cache_does_not_fire(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cached(Counting(), TEXTS, cache)
    cache.close()
    db = sqlite3.connect(tmp_path / "embeddings.sqlite")
    db.execute("CREATE TRIGGER t AFTER INSERT ON embeddings BEGIN DELETE FROM embeddings; END")
    db.commit()
    db.close()
    with pytest.warns(llmtokens.errors.LLMTokensWarning, match="other tables"):
        cached(Counting(), [*TEXTS, "new"], EmbeddingCache(tmp_path))
    db = sqlite3.connect(tmp_path / "embeddings.sqlite")
    assert db.execute("SELECT count(*) FROM embeddings").fetchone() == (len(TEXTS),)
    db.close()


def test_the_database_of_somebody_else_is_left_as_it_is(tmp_path):
    path = tmp_path / "embeddings.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.warns(llmtokens.errors.LLMTokensWarning, match="other tables"):
        cached(Counting(), TEXTS, EmbeddingCache(tmp_path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_cache_with_a_name_that_is_no_text_is_begun_anew(tmp_path):
    path = tmp_path / "embeddings.sqlite"
    whole = Cache().seeds[0]
    path.write_bytes(whole.replace(b"tableembeddingsemb", b"table\xe5mbeddingsemb", 1).replace(
        b"CREATE TABLE", b"CREATE CABLE"))  # fmt: skip
    with pytest.warns(llmtokens.errors.LLMTokensWarning, match="is damaged"):
        rows = cached(Counting(), TEXTS, EmbeddingCache(tmp_path))
    assert np.array_equal(rows, Counting().encode(TEXTS))
    assert (tmp_path / "embeddings.sqlite.corrupt-1").exists()


def test_a_date_beyond_the_nanoseconds_is_read_or_refused(tmp_path):
    (tmp_path / "ratings.csv").write_text(RATINGS.replace("2001-01-01", "3001-01-01"))
    with contextlib.suppress(LLMTokensError):  # pandas 2 has no such dates
        times = load_ratings(tmp_path / "ratings.csv").ratings["timestamp"]
        assert times.tolist() == [32535216000.0, 978429600.0]


def test_a_parquet_file_with_a_type_that_pandas_does_not_have_is_a_format_error(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.Table.from_pandas(pd.read_csv(io.StringIO(NUMBERS)))
    said = {b"pandas": table.schema.metadata[b"pandas"].replace(b'"float64"', b'"eloat64"')}
    parquet.write_table(table.replace_schema_metadata(said), tmp_path / "ratings.parquet")
    with pytest.raises(FileFormatError, match="is not Parquet"):
        load_ratings(tmp_path / "ratings.parquet")
