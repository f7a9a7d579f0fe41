import os
import stat

import numpy as np
import pytest
from corruption import corrupted

from llmtokens.errors import DataError, FileFormatError, LLMTokensError, StorageError
from llmtokens.storage import container as store
from llmtokens.storage.files import written_whole

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


def test_arrays_stay_on_disk_and_cannot_be_changed(file):
    vectors = store.read(file)[2]["vectors"]
    assert vectors.base is not None
    assert not vectors.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        vectors[0] = 0


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
