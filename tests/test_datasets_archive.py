"""Finding MovieLens: folders, zip archives, Surprise's own folder, and the download."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from llmtokens.datasets import archive, load_movielens
from llmtokens.errors import DataError, FileFormatError, StorageError

_FILES = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,4\n",
    "movies.csv": "movieId,title,genres\n2,Jumanji (1995),Adventure|Children\n",
}


def _write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    return folder


def _zip(path: Path, prefix: str = "ml-25m/", extra: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as content:
        for name, text in _FILES.items():
            content.writestr(prefix + name, text)
        if extra:
            content.writestr(extra, "owned")
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of built-in data sets."""
    folder = tmp_path / "surprise"
    monkeypatch.setenv("SURPRISE_DATA_FOLDER", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_folder_in_a_folder_and_an_archive_are_found(tmp_path: Path) -> None:
    _write(tmp_path / "outer" / "ml-25m")
    for place in (tmp_path / "outer", tmp_path / "outer" / "ml-25m", _zip(tmp_path / "ml-25m.zip")):
        data = load_movielens(place)
        assert data.items["title"].tolist() == ["Jumanji"]
        assert data.name == (place.stem)
    assert load_movielens(str(_zip(tmp_path / "flat.zip", prefix=""))).name == "flat"


def test_an_archive_is_read_in_place_and_writes_nothing(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", extra="../escaped.txt")
    before = sorted(tmp_path.rglob("*"))
    assert len(load_movielens(path).ratings) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_two_data_sets_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    _write(tmp_path / "data" / "a")
    _write(tmp_path / "data" / "b")
    with pytest.raises(FileFormatError, match="several data sets \\('a', 'b'\\)"):
        load_movielens(tmp_path / "data")


def test_a_name_is_read_from_surprise_s_folder(home: Path) -> None:
    _write(home / "ml-latest-small" / "ml-latest-small")
    assert load_movielens("ml-latest-small").name == "ml-latest-small"
    _zip(home / "ml-25m.zip")
    assert load_movielens("ml-25m").name == "ml-25m"


def test_a_missing_name_says_what_to_do_and_fetches_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_fetch", lambda *_: pytest.fail("went to the network"))
    with pytest.raises(StorageError, match=r"ml-1m is not in .*surprise.*download=True"):
        load_movielens("ml-1m")
    with pytest.raises(DataError, match=r"'ml-2m' is neither .* ml-100k, ml-1m"):
        load_movielens("ml-2m")
    with pytest.raises(StorageError, match="no such folder"):
        load_movielens(home / "nowhere" / "ml-1m")


def test_download_unpacks_where_surprise_would(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    served = _zip(home.parent / "ml-25m.zip")
    monkeypatch.setattr(archive, "_URL", served.parent.as_uri() + "/{}.zip")
    data = load_movielens("ml-25m", download=True)
    assert data.name == "ml-25m"
    assert (home / "ml-25m" / "ml-25m" / "ratings.csv").is_file()
    assert [p.name for p in home.iterdir()] == ["ml-25m"]
    served.unlink()
    assert len(load_movielens("ml-25m", download=True).ratings) == 1


@pytest.mark.parametrize(
    ("content", "error"), [(None, StorageError), (b"<html>busy", FileFormatError)]
)
def test_a_failed_download_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, error: type[Exception]
) -> None:
    home.mkdir()
    if content:
        (home.parent / "ml-1m.zip").write_bytes(content)
    monkeypatch.setattr(archive, "_URL", home.parent.as_uri() + "/{}.zip")
    with pytest.raises(error, match=r"ml-1m\.zip"):
        load_movielens("ml-1m", download=True)
    assert list(home.iterdir()) == []


def test_a_downloaded_archive_cannot_write_outside(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    _zip(home.parent / "ml-1m.zip", extra="../../escaped.txt")
    monkeypatch.setattr(archive, "_URL", home.parent.as_uri() + "/{}.zip")
    with pytest.raises(FileFormatError, match="outside its folder"):
        load_movielens("ml-1m", download=True)
    assert list(home.iterdir()) == []


def test_foreign_and_damaged_sources_are_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileFormatError, match=r"It holds no files; expected u\.data, u\.item; or"):
        load_movielens(empty)
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(FileFormatError, match="neither a folder nor a zip archive"):
        load_movielens(tmp_path / "text.zip")
    broken = _write(tmp_path / "broken")
    (broken / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,two,3,4\n")
    with pytest.raises(FileFormatError, match=r"not in the layout of MovieLens, or damaged"):
        load_movielens(broken)
    (broken / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3,4\n1,3,9,4\n")
    with pytest.raises(DataError, match=r"row 1 .*outside the rating scale 0.5 to 5"):
        load_movielens(broken)
    whole = _zip(tmp_path / "whole.zip").read_bytes()
    (tmp_path / "damaged.zip").write_bytes(whole.replace(b"3.5,4", b"3.6,4"))  # checksum
    with pytest.raises(FileFormatError, match="damaged"):
        load_movielens(tmp_path / "damaged.zip")
