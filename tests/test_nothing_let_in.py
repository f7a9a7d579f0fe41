"""Nothing in a file is ever run, and no file says where to read or write."""

from __future__ import annotations

import ast
import gzip
import pickle
import stat
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from algorithms import DATA, TOKENS, make
from corruption import corrupted
from fuzzing import guarded

import llmtokens
from llmtokens import HashingEncoder, LLMTokens
from llmtokens.compare.trial import Outcome
from llmtokens.datasets import archive, load_items, load_movielens, load_ratings
from llmtokens.datasets.movielens import split_titles
from llmtokens.errors import DataError, FileFormatError, LLMTokensError, StorageError
from llmtokens.storage import container as store

PACKAGE = Path(llmtokens.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# -- what is not in the code ---------------------------------------------------------------------

MODULES = {
    "pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "code", "codeop", "runpy",
    "subprocess", "pty", "ctypes", "imp", "yaml", "xml",
}  # fmt: skip
CALLS = {
    "eval", "exec", "compile", "__import__", "system", "popen", "execv", "read_pickle", "to_pickle",
    "load_module", "exec_module", "allow_pickle", "extractall", "unpack_archive", "load_extension",
}  # fmt: skip
# each of these was looked at: what it is given is named in the code, or checked before
ALLOWED = {
    ("datasets/archive.py", "extractall"),  # members checked by _safe, into a folder of our own
    ("compare/settings.py", "system"),  # platform.system
    ("runtime/memory.py", "ctypes"),  # the allocator of this process
}


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            owner = getattr(getattr(function, "value", None), "id", None)
            name = getattr(function, "attr", None) or getattr(function, "id", None)
            yield node, owner, name


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_the_code_neither_unpickles_nor_evaluates_nor_trusts(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    me = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names} & MODULES
            assert {(me, name) for name in names} <= ALLOWED
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.split(".")[0] not in MODULES
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "trust_remote_code":
                    assert value.value is False
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
            assert node.value.value is False
        if isinstance(node, ast.keyword) and node.arg == "shell":
            raise AssertionError("a shell")
    for node, owner, name in calls(tree):
        if owner == "re" or (me, name) in ALLOWED:
            continue
        assert name not in CALLS, f"{me}:{node.lineno} calls {name}"
        if (owner, name) in {("np", "load"), ("torch", "load"), ("joblib", "load")}:
            raise AssertionError(f"{me}:{node.lineno} calls {owner}.load")


def test_names_are_imported_from_a_list_in_the_code_alone():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for _, _, name in calls(ast.parse(path.read_text(encoding="utf-8")))
        if name == "import_module"
    }
    assert found <= {"__init__.py", "storage/models.py"}  # _PUBLIC, and _ALGORITHMS


# -- traps ---------------------------------------------------------------------------------------


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def trap(tmp_path):
    """Bytes that make a file when they are unpickled, and a check that none was made."""
    fired = tmp_path / "fired"
    yield pickle.dumps(Trap(fired))
    assert not fired.exists()
    pickle.loads(pickle.dumps(Trap(fired)))
    assert fired.exists()  # it would have


def test_a_pickle_in_place_of_a_file_is_refused(trap, tmp_path):
    for name in ("model", "model.pkl", "model.safetensors", "ratings.csv", "ml.zip"):
        (tmp_path / name).write_bytes(trap)
    for path in (tmp_path / "model", tmp_path / "model.pkl", tmp_path / "model.safetensors"):
        with pytest.raises(FileFormatError):
            llmtokens.load(path)
        with pytest.raises(FileFormatError):
            LLMTokens.load(path)
    with pytest.raises(LLMTokensError):
        load_ratings(tmp_path / "ratings.csv")
    with pytest.raises(FileFormatError):
        load_movielens(tmp_path / "ml.zip")


def test_a_pickle_inside_a_model_is_numbers(trap, tmp_path):
    algo = make("LLMTokensSVD").fit(DATA.dataset.build_full_trainset())
    algo.save(tmp_path / "model")
    kind, payload, arrays = store.read(tmp_path / "model")
    evil = np.frombuffer(trap, np.uint8)
    for name in ("state.pu", "evil", "state.__reduce__", "__class__"):
        store.write(tmp_path / "model", kind, payload, dict(arrays) | {name: evil})
        with pytest.raises(FileFormatError):
            llmtokens.load(tmp_path / "model")
    for key in ("__class__", "parameters", "scalars"):
        lie = payload | {key: {"__reduce__": trap.decode("latin-1"), "_score": "os.system"}}
        store.write(tmp_path / "model", kind, lie, arrays)
        with pytest.raises(FileFormatError):
            llmtokens.load(tmp_path / "model")


def test_an_encoder_that_a_file_names_is_not_loaded(tmp_path):
    folder = tmp_path / "evil-model"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'fired')!r}, 'w')")
    (folder / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "evil.E"}]')
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.E"}}')

    class Named(HashingEncoder):
        name, revision = str(folder), "1"

    tokens = LLMTokens.from_texts(TOKENS.ids, TOKENS.labels, encoder=Named())
    tokens.save(tmp_path / "tokens")
    loaded = LLMTokens.load(tmp_path / "tokens")
    with pytest.raises(LLMTokensError, match="not loaded because a file says so"):
        loaded.transform(["a film"])
    assert not (tmp_path / "fired").exists()


FILES_25M = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,4\n",
    "movies.csv": "movieId,title,genres\n2,Jumanji (1995),Adventure|Children\n",
}


def trapped(path, folder):
    """An archive with honest files, and some that point out of it."""
    with zipfile.ZipFile(path, "w") as content:
        for name, text in FILES_25M.items():
            content.writestr(f"ml/{name}", text)
        for name in ("../out", "ml/../../out", str(folder / "out"), "..\\out", "C:\\out", "ml/x"):
            info = zipfile.ZipInfo(name)
            if name == "ml/x":
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            content.writestr(info, str(folder / "out"))
    return path


def test_an_archive_that_points_out_of_itself_is_read_in_place(tmp_path):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    path = trapped(place / "ml.zip", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert len(load_movielens(path).ratings) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_links_in_a_downloaded_archive_are_not_followed(tmp_path, monkeypatch):
    home, secret = tmp_path / "home", tmp_path / "secret"
    home.mkdir()
    secret.mkdir()
    monkeypatch.setenv("SURPRISE_DATA_FOLDER", str(home))
    monkeypatch.setattr(archive, "_URL", tmp_path.as_uri() + "/{}.zip")
    with zipfile.ZipFile(tmp_path / "ml-25m.zip", "w") as content:
        for name, text in FILES_25M.items():
            content.writestr(f"ml/{name}", text)
        link = zipfile.ZipInfo("ml/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        content.writestr(link, str(secret))
        content.writestr("ml/inside", "owned")
    load_movielens("ml-25m", download=True)
    assert not any(path.is_symlink() for path in home.rglob("*"))
    assert list(secret.iterdir()) == []


# -- bombs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zeros():
    """130 MB of zeros, compressed."""
    return gzip.compress(b"0" * (1 << 27), 1)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("ratings.csv", FILES_25M["ratings.csv"])
        content.writestr("movies.csv", b"0" * (1 << 27))
    with guarded(), pytest.raises(FileFormatError, match=r"bytes unpack to 134,217,728 or more"):
        load_movielens(tmp_path / "ml.zip")


@pytest.mark.parametrize("name", ["ratings.csv.gz", "ratings.csv.zip"])
def test_a_compressed_table_that_would_fill_the_memory_is_refused(tmp_path, zeros, name):
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(zeros)
    else:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as content:
            content.writestr("ratings.csv", b"0" * (1 << 27))
    with guarded(), pytest.raises(FileFormatError, match="unpack it yourself"):
        load_ratings(tmp_path / name)


WIDE = "," * 200_000


@pytest.mark.parametrize(
    "text",
    [
        f"user,item,rating{WIDE}\n1,2,3\n",
        f"user,item,rating{WIDE.replace(',', ',a')}\n1,2,3\n",
        f"\ufeff \nuser,item,rating{WIDE}\n1,2,3\n",
        f'user,item,"{"x" * (1 << 24)}"{WIDE}\n1,2,3\n',
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zip"])
def test_a_table_so_wide_that_it_would_take_for_ever_is_refused(tmp_path, text, suffix):
    path, data = tmp_path / f"ratings.csv{suffix}", text.encode()
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as content:
            content.writestr("ratings.csv", data)
    else:
        path.write_bytes(gzip.compress(data, 1) if suffix else data)
    with guarded(), pytest.raises(FileFormatError, match="more than 10,000 fields"):
        load_ratings(path)


@pytest.mark.parametrize("file", ["ratings.csv", "movies.csv"])
def test_a_wide_table_of_movielens_is_refused(tmp_path, file):
    for name, text in FILES_25M.items():
        (tmp_path / name).write_text(text.replace("\n", WIDE + "\n") if name == file else text)
    with guarded(), pytest.raises(FileFormatError, match=f"{file}: a row of more than"):
        load_movielens(tmp_path)


@pytest.mark.slow
def test_commas_in_quotes_and_later_rows_are_not_counted(tmp_path):
    (tmp_path / "items.csv").write_text(f'item,title\n1,"{WIDE}"\n2,"""{WIDE}\n"\n')
    assert load_items(tmp_path / "items.csv")["item"].tolist() == [1, 2]


def test_a_parquet_file_that_would_fill_the_memory_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "ratings.parquet"
    rows = pyarrow.table({name: np.ones(1 << 18) for name in ("user", "item", "rating")})
    with parquet.ParquetWriter(path, rows.schema) as writer:
        for _ in range(40):
            writer.write_table(rows)
    with guarded(), pytest.raises(FileFormatError, match="unpack to 251,658,240 or more"):
        load_ratings(path)


def peak(work):
    tracemalloc.start()
    try:
        work()
    except LLMTokensError:
        pass
    finally:
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::llmtokens.errors.LLMTokensWarning")  # of what is damaged
@pytest.mark.parametrize("kind", ["model", "tokens", "csv", "archive"])
def test_a_damaged_file_costs_no_more_than_twice_the_memory_of_a_whole_one(kind, tmp_path):
    path, names = tmp_path / kind, [f"a film called {k}" for k in range(3000)]
    tokens = LLMTokens.from_texts(range(3000), names, encoder=HashingEncoder(64))
    rows = "".join(f"u{k % 50},i{k % 3000},{k % 5 + 1},{k}\n" for k in range(3000))
    digits = str.maketrans("", "", "ui")
    match kind:
        case "model":
            algo = make("LLMTokensSVD", item_tokens=tokens, n_factors=50)
            algo.fit(load_ratings(frame()).dataset.build_full_trainset())
            algo.save(path)
            read = llmtokens.load
        case "tokens":
            tokens.save(path)
            read = LLMTokens.load
        case "csv":
            path = tmp_path / "ratings.csv"
            path.write_text("user,item,rating,timestamp\n" + rows)
            read = load_ratings
        case "archive":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
                content.writestr(
                    "ratings.csv", "userId,movieId,rating,timestamp\n" + rows.translate(digits)
                )
                titles = "".join(f"{k},Film {k} (1999),Drama\n" for k in range(3000))
                content.writestr("movies.csv", "movieId,title,genres\n" + titles)
            read = load_movielens
    whole = path.read_bytes()
    read(path)
    honest = peak(lambda: read(path))
    for data in corrupted(whole, 10, seed=1):
        path.write_bytes(data)
        assert peak(lambda: read(path)) <= 2 * honest


def frame():
    import pandas as pd

    k = np.arange(20_000)
    return pd.DataFrame({"user": k % 50, "item": k % 3001, "rating": k % 5 + 1.0})


@pytest.mark.parametrize(
    "title", [" " * 100_000, "(" + " " * 100_000, "x" + " " * 100_000 + "(", ", The" * 20_000,
              "(" * 50_000 + ")" * 50_000, " (1999)" * 15_000, "a.k.a. " * 15_000]
)  # fmt: skip
def test_a_title_takes_no_more_than_its_length_in_time(title):
    with guarded():
        assert split_titles([title, "Matrix, The (1999)"])[0][1] == "The Matrix"


# -- found by reading and by fuzzing -------------------------------------------------------------


def test_a_member_compressed_by_bzip2_and_damaged_is_a_format_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_BZIP2) as content:
        for name, text in FILES_25M.items():
            content.writestr(name, text * 50)
    data = bytearray((tmp_path / "ml.zip").read_bytes())
    data[60:64] = b"\0\0\0\0"
    (tmp_path / "ml.zip").write_bytes(data)
    with pytest.raises(FileFormatError, match="damaged"):
        load_movielens(tmp_path / "ml.zip")


def test_an_archive_of_an_unknown_version_or_a_nameless_member_is_a_format_error(tmp_path):
    path = tmp_path / "ml.zip"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("x", "")
    whole = path.read_bytes()
    at = whole.index(b"PK\1\2")
    path.write_bytes(whole[: at + 6] + b"\x40\0" + whole[at + 8 :])
    with pytest.raises(FileFormatError, match="neither a folder nor a zip"):
        load_movielens(path)
    with zipfile.ZipFile(path, "w") as content:
        content.writestr(zipfile.ZipInfo(""), "")
    with pytest.raises(FileFormatError):
        load_movielens(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip"])
def test_a_compressed_table_cut_short_is_our_error(tmp_path, suffix):
    path = tmp_path / f"ratings.csv{suffix}"
    frame().to_csv(path, index=False)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", whole[:20], whole[:40] + b"\0" * 9 + whole[49:]):
        path.write_bytes(data)
        with pytest.raises((FileFormatError, StorageError, DataError)):
            load_ratings(path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"values": {"rmse": 1' + "0" * 400 + '}, "fit_time": 1, "test_time": 1, "peak_memory": 1}',
        '{"values": {"rmse": 1' + "0" * 9000 + "}}",
        '{"values": {"rmse": [1]}, "fit_time": {}, "test_time": 1, "peak_memory": 1}',
    ],
)
def test_a_result_that_is_no_result_is_computed_again(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert Outcome.read(tmp_path / "a.json", {"rmse": None}, None) is None


def test_kept_predictions_of_another_shape_or_name_are_computed_again(tmp_path):
    path = tmp_path / "a.json"
    for arrays in ({"est": np.zeros(4)}, {"est": np.zeros(3), "user": np.zeros(3)},
                   {"est": np.zeros((3, 1))}, {"std": np.zeros(3)},
                   {"est": np.zeros(3, int)}):  # fmt: skip
        Outcome({"rmse": 1.0}, predicted=arrays).write(path)
        assert Outcome.read(path, {"rmse": None}, 3) is None
    Outcome({"rmse": 1.0}, predicted={"est": np.zeros(3)}).write(path)
    assert Outcome.read(path, {"rmse": None}, 3).values == {"rmse": 1.0}


@pytest.mark.parametrize(
    "header",
    [
        "[]", "{}", '"x"', "null", '{"a": 1}', '{"a": {"dtype": "F32"}}',
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}}',
        '{"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}',
        '{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]}}',
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}',
        '{"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}',
        '{"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}',
        '{"a": {"dtype": "F32", "shape": [0, 4611686018427387904], "data_offsets": [8, 8]}}',
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [1' + "0" * 30 + ", 1" + "0" * 29
        + "8]}}",
        '{"__metadata__": {"format": "llmtokens", "version": "1"}, '
        '"\\ud800": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
        '{"__metadata__": [1]}', '{"__metadata__": {"a": 1}}', '{"__metadata__": null}',
        "[" * 50_000,
    ],
)  # fmt: skip
def test_a_header_that_says_nothing_sensible_is_refused(tmp_path, header):
    data = header.encode()
    (tmp_path / "m").write_bytes(len(data).to_bytes(8, "little") + data + b"\0" * 8)
    with guarded(), pytest.raises(FileFormatError):
        store.read(tmp_path / "m")


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    data = b"{" + b",".join(b'"%d":{}' % k for k in range(400_000)) + b"}"
    (tmp_path / "m").write_bytes(len(data).to_bytes(8, "little") + data)
    with guarded(), pytest.raises(FileFormatError, match="expected at most"):
        store.read(tmp_path / "m")


@pytest.fixture
def lying(tmp_path):
    """Tokens with a text block, and a function that reads them with another description."""
    whole = LLMTokens.from_texts("abc", ["a b", "b c", "c d"], encoder=HashingEncoder(16))
    whole.save(tmp_path / "tokens")
    _, payload, arrays = store.read(tmp_path / "tokens")

    def read(changes, **block):
        changes = {"blocks": [payload["blocks"][0] | block]} | changes
        store.write(tmp_path / "lie", "tokens", payload | changes, arrays)
        return LLMTokens.load(tmp_path / "lie")

    assert len(read({}).transform(["a film"])) == 1
    return read


@pytest.mark.parametrize("blocks", [5, None, {}, [5], [{"kind": []}], [{"kind": {}}]])
def test_tokens_of_blocks_that_are_none_are_refused(lying, blocks):
    with pytest.raises(FileFormatError):
        lying({"blocks": blocks})


def test_a_template_that_would_fill_the_memory_is_refused(lying):
    for template in ("{text:>300000000}", "{text:" + "9" * 30 + "}", "{text:{text}}", "{text!x}"):
        with guarded(), pytest.raises((FileFormatError, DataError), match="damaged block|expected"):
            lying({}, template=template).transform(["a film"])


def test_an_encoder_of_more_features_than_the_tokens_have_is_refused_before_it_encodes(lying):
    tokens = lying({}, revision="1-9999999-words1to1-chars3to5")
    with guarded(), pytest.raises(DataError, match="9999999 features, and have 16"):
        tokens.transform(["a film"] * 20)
    with guarded(), pytest.raises(DataError, match="9999999 features, and have 16"):
        tokens.query("a film")


def test_arrays_that_share_their_bytes_are_refused(tmp_path):
    """A small header could make the checksum read a large file a million times."""
    one = '{"dtype": "U8", "shape": [1000000], "data_offsets": [0, 1000000]}'
    data = ("{" + ",".join(f'"{k}": {one}' for k in range(2000)) + "}").encode()
    (tmp_path / "m").write_bytes(len(data).to_bytes(8, "little") + data + b"\0" * 1_000_000)
    with guarded(), pytest.raises(FileFormatError, match="header says"):
        store.read(tmp_path / "m")
