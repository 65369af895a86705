"""Files are whole or not there, and rows written in pieces read back as one array."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musetools import OutputError, files
from musetools.files import replacing, save_rows, sweep

OLD = b"what stood here before"


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "clip {1} é.npy"
    path.write_bytes(OLD)
    return path


def names(folder) -> list[str]:
    return sorted(os.listdir(folder))


# --- replacing


def test_a_new_file_appears_under_its_name(tmp_path):
    with replacing(tmp_path / "new.bin") as file:
        file.write(b"new")
        assert not (tmp_path / "new.bin").exists()
        assert len(names(tmp_path)) == 1  # the temporary stands here, on the same disk, so that moving it is one step
    assert (tmp_path / "new.bin").read_bytes() == b"new"
    assert names(tmp_path) == ["new.bin"]


def test_an_old_file_stays_until_the_end(old):
    with replacing(str(old)) as file:
        file.write(b"new")
        file.flush()
        assert old.read_bytes() == OLD
    assert old.read_bytes() == b"new"
    assert names(old.parent) == [old.name]


def test_a_relative_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing("here.bin") as file:
        file.write(b"new")
    assert names(tmp_path) == ["here.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(old, error):
    def write_half():
        with replacing(old) as file:
            file.write(b"half of what was")
            raise error

    with pytest.raises(error):
        write_half()
    assert old.read_bytes() == OLD
    assert names(old.parent) == [old.name]


def test_a_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="does not exist: create it first") as caught, replacing(tmp_path / "a/b.npy"):
        pass
    assert str(tmp_path / "a/b.npy") in str(caught.value)


def test_a_folder_under_that_name(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"), replacing(tmp_path / "taken") as file:
        file.write(b"new")
    assert names(tmp_path) == ["taken"]


def test_without_locks(old, monkeypatch):
    """As on Windows: what is being written is left alone, what was abandoned a day ago is not."""
    monkeypatch.setattr(files, "fcntl", None)
    abandoned = old.with_name(".old.part")
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    with replacing(old) as file:
        file.write(b"new")
        assert sweep(old.parent) == [abandoned.name]
    assert old.read_bytes() == b"new"
    assert names(old.parent) == [old.name]


def test_a_read_only_folder(old):
    old.parent.chmod(0o500)
    try:
        if os.access(old.parent, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(OutputError, match=r"Permission denied.*MiB are free"), replacing(old):
            pass
    finally:
        old.parent.chmod(0o700)
    assert old.read_bytes() == OLD


FILE_LIMIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from musetools.errors import OutputError
from musetools.files import replacing
try:
    with replacing(sys.argv[1]) as file:
        for _ in range(int(sys.argv[2])):
            file.write(bytes(1000))
except OutputError as error:
    print(ascii(str(error)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")
@pytest.mark.parametrize("kilobytes", [500, 101])  # 101: what does not fit is still in the buffer when the block ends
def test_no_room_for_the_file(old, kilobytes):
    command = [sys.executable, "-c", FILE_LIMIT, old, str(kilobytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ascii(f"cannot write {old}: File too large")[:-1] in done.stdout
    assert "MiB are free in" in done.stdout
    assert old.read_bytes() == OLD
    assert names(old.parent) == [old.name]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "new.bin"):
            pass
        assert os.umask(umask) == umask  # and it is put back
    finally:
        os.umask(before)
    assert (tmp_path / "new.bin").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_reader_keeps_the_old_file(tmp_path):
    np.save(tmp_path / "clip.npy", np.arange(100_000.0))
    mapped = np.load(tmp_path / "clip.npy", mmap_mode="r")
    with replacing(tmp_path / "clip.npy") as file:
        np.save(file, np.zeros(3))
    np.testing.assert_array_equal(mapped, np.arange(100_000.0))
    np.testing.assert_array_equal(np.load(tmp_path / "clip.npy"), np.zeros(3))


# --- save_rows


def saved(blocks, row_shape, dtype="<f4") -> tuple[int, np.ndarray]:
    """Write blocks, and give the count that was returned with the array that is read back."""
    file = io.BytesIO()
    n_rows = save_rows(file, blocks, row_shape, dtype)
    assert file.tell() == len(file.getvalue())  # a caller may go on writing
    file.seek(0)
    return n_rows, np.load(file, allow_pickle=False)


@given(st.lists(st.integers(0, 7), max_size=8), st.sampled_from([(), (3,), (5, 4), (0,)]), st.randoms())
def test_blocks_read_back_as_one_array(sizes, row_shape, random):
    rng = np.random.default_rng(random.getrandbits(32))
    blocks = [rng.normal(size=(n, *row_shape)).astype(np.float32) for n in sizes]
    expected = np.concatenate([np.empty((0, *row_shape), np.float32), *blocks])
    n_rows, rows = saved(iter(blocks), row_shape)
    assert n_rows == sum(sizes)
    assert rows.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(rows, expected)


BLOCKS = {
    "float64": lambda plain: plain.astype(np.float64),
    "big-endian": lambda plain: plain.astype(">f4"),
    "integers": lambda plain: plain.astype(np.int16),
    "Fortran order": np.asfortranarray,
    "every second column": lambda plain: np.repeat(plain, 2, axis=2)[..., ::2],
    "backwards": lambda plain: plain[::-1].copy()[::-1],
    "transposed": lambda plain: np.ascontiguousarray(plain.T).T,
    "read-only": lambda plain: np.broadcast_to(plain, plain.shape),
}


@pytest.mark.parametrize("dtype", ["<f4", "<f2", ">f4", "<f8"])
@pytest.mark.parametrize("change", BLOCKS.values(), ids=BLOCKS)
def test_blocks_in_any_layout_are_normalised(change, dtype):
    plain = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    _, rows = saved([change(plain), change(plain + 100)], (3, 4), dtype)
    assert rows.dtype == np.dtype(dtype)
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, np.concatenate([plain, plain + 100]))


def test_the_file_is_what_numpy_would_have_saved(tmp_path):
    rows = np.random.default_rng(0).normal(size=(1000, 5, 8)).astype("<f4")
    np.save(tmp_path / "numpy.npy", rows)
    with replacing(tmp_path / "ours.npy") as file:
        save_rows(file, np.array_split(rows, 7), (5, 8))
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    mapped = np.load(tmp_path / "ours.npy", mmap_mode="r")
    np.testing.assert_array_equal(mapped, rows)


@pytest.mark.parametrize("n_rows", [9, 10, 10**6, 10**12, 10**15])
def test_the_header_has_room_for_any_count(n_rows):
    block = np.empty((n_rows, 0), np.float32)  # rows of no width: a long array that takes no space
    written, rows = saved([block], (0,))
    assert written == n_rows
    assert rows.shape == (n_rows, 0)
