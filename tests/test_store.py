import os
import stat

import numpy as np
import pytest
from corruption import corrupted

from llmtokens import LLMTokens
from llmtokens.errors import DataError, FileFormatError, LLMTokensError, StorageError
from llmtokens.storage import container as store
from llmtokens.storage.files import require_place, written_whole

PAYLOAD = {"ids": ["a", 1, 2.5, True, "é\ud800"], "note": None}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "vectors": rng.normal(size=(7, 3)).astype(np.float32),
        "rows": np.arange(5),
        "mask": np.array([True, False]),
        "none": np.zeros((0, 3), np.float32),
    }


@pytest.fixture
def file(tmp_path, arrays):
    path = tmp_path / "table.safetensors"
    store.write(path, "test", PAYLOAD, arrays)
    return path


def test_what_was_written_is_read(file, arrays):
    kind, payload, read = store.read(file, "test")
    assert (kind, payload) == ("test", PAYLOAD)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_what_was_read_stays_as_it_was_whatever_becomes_of_the_file(file, arrays):
    read = store.read(file)[2]
    file.write_bytes(bytes(file.stat().st_size))  # in place, as cp and rsync --inplace do
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_mapped_arrays_stay_on_disk_and_the_file_is_never_written_to(file, arrays):
    before = file.read_bytes()
    vectors = store.read(file, mmap=True)[2]["vectors"]
    assert not vectors.flags.owndata
    np.testing.assert_array_equal(vectors, arrays["vectors"])
    vectors[0] = 7
    assert file.read_bytes() == before


def test_the_same_arrays_are_the_same_bytes(tmp_path, arrays):
    files = [tmp_path / f"{k}" for k in range(8)]
    for k, path in enumerate(files):
        names = list(arrays)[k % 2 :: 1] + list(arrays)[: k % 2]
        store.write(path, "test", PAYLOAD, {name: arrays[name] for name in names})
    assert len({path.read_bytes() for path in files}) == 1


def test_a_symbolic_link_stays_one_and_its_file_is_replaced(tmp_path, file):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "model", tmp_path / "link"
    link.symlink_to(target)
    for n in (2, 3):  # the file is not there yet, then it is
        store.write(link, "test", {}, {"rows": np.arange(n)})
        assert link.is_symlink()
        assert len(store.read(target)[2]["rows"]) == n
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["model"]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(StorageError, match="could not write"):
        store.write(link, "test", {}, {})


def test_what_is_no_regular_file_is_neither_replaced_nor_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to a device").symlink_to(os.devnull)
    (tmp_path / "folder").mkdir()
    for name, why in (("pipe", "no regular file"), ("to a device", "no regular file"),
                      ("folder", "there is a folder of that name")):  # fmt: skip
        with pytest.raises(StorageError, match=why):
            store.write(tmp_path / name, "test", {}, {})
        with pytest.raises(StorageError, match=why):
            require_place(tmp_path / name)
    for name in ("pipe", "to a device"):
        with pytest.raises(StorageError, match="no regular file"):
            store.read(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path, name):
    for n in (1, 2):
        store.write(tmp_path / name, "test", {}, {"rows": np.arange(n)})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(StorageError, match="too long"):
        store.write(tmp_path / ("x" * 256), "test", {}, {})


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_a_file_that_was_read_is_open_once_whatever_the_number_of_its_arrays(file):
    before = len(os.listdir("/proc/self/fd"))
    arrays = store.read(file)[2]
    assert len(arrays) == 4
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_any_safetensors_reader_can_open_it(file, arrays):
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(file)["vectors"], arrays["vectors"])


def test_writing_over_a_file_replaces_it_whole(file, arrays):
    store.write(file, "test", {"ids": [1]}, {"rows": np.arange(2)})
    assert store.read(file)[1] == {"ids": [1]}
    assert os.listdir(file.parent) == [file.name]


def test_a_file_gets_ordinary_permissions(file):
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_keeps_its_permissions_when_it_is_written_again(file, mode):
    file.chmod(mode)
    store.write(file, "test", {}, {"rows": np.arange(2)})
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_what_replaces_a_private_file_is_private_from_the_start(file):
    file.chmod(0o600)
    with written_whole(file) as temporary:
        assert stat.S_IMODE(os.stat(temporary).st_mode) == 0o600


def test_writing_does_not_touch_the_mask_that_all_threads_share(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    store.write(tmp_path / "new", "test", {}, {"rows": np.arange(2)})
    assert os.listdir(tmp_path) == ["new"]


def test_a_failed_write_leaves_the_old_file_and_no_scraps(file, monkeypatch):
    before = file.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        store.write(file, "test", {}, {"rows": np.arange(9)})
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_a_missing_folder_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="folder exists"):
        store.write(tmp_path / "no" / "such.safetensors", "test", {}, {})
    with pytest.raises(StorageError, match="could not read"):
        store.read(tmp_path / "absent.safetensors")


def test_ids_json_cannot_say_are_refused():
    with pytest.raises(DataError, match=r"\(1, 2\)"):
        store.jsonable_ids(["a", (1, 2)])


def test_an_id_of_thousands_of_digits_is_refused(tmp_path):
    tokens = LLMTokens.from_embeddings([1, 10**5000], np.eye(2))
    with pytest.raises(DataError, match="thousands of digits; use a text"):
        tokens.save(tmp_path / "tokens")
    assert not list(tmp_path.iterdir())


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(FileFormatError, match="not one of llmtokens"):
        store.read(tmp_path / "foreign.safetensors")


def test_another_kind_is_refused(file):
    with pytest.raises(FileFormatError, match="holds 'test'; expected 'tokens'"):
        store.read(file, "tokens")


def test_a_newer_version_is_refused(file, monkeypatch, arrays):
    monkeypatch.setattr(store, "VERSION", 2)
    store.write(file, "test", PAYLOAD, arrays)
    monkeypatch.setattr(store, "VERSION", 1)
    with pytest.raises(FileFormatError, match="upgrade llmtokens"):
        store.read(file)


def test_a_thousand_corruptions_are_all_noticed(file, tmp_path):
    path = tmp_path / "corrupt.safetensors"
    for data in corrupted(file.read_bytes(), 1000):
        path.write_bytes(data)
        with pytest.raises(LLMTokensError):
            store.read(path, "test")
