"""Whatever happens while a store is written, what was there is there, and a rerun ends as if nothing had happened."""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from stores import (
    CONTEXT,
    add_all,
    add_marked,
    add_within,
    contents,
    in_child,
    killed_at,
    make_store,
    merge_into,
    repair,
    replace_a,
    rows_of,
)

from musetools import FeatureStore, OutputError, StoreError

STEPS = 4  # on the disk for a clip: its file synced, moved, tidied up after, its line synced
NAMES = [f"clip_{number:02d}" for number in range(8)]


# --- killed


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, small) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("reference") / "store"
    make_store(root, small, NAMES, 300)
    return contents(root)


def check_after_kill(root: Path, added: list[str], whole: dict[str, bytes]) -> FeatureStore:
    """See that at most the clip in progress is missing, and that nothing partial stands under a final name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = FeatureStore.open(root)
    assert all("truncated" in str(warning.message) for warning in caught)
    assert store.clips == tuple(NAMES[: len(store)])
    assert len(added) <= len(store) <= len(added) + 1
    assert store.verify().ok
    final = [path for path in (root / "clips").iterdir() if path.suffix == ".npy"]
    assert all(path.read_bytes() == whole[path.name] for path in final)
    return store


def check_rerun(store: FeatureStore, whole: dict[str, bytes]) -> None:
    store.verify(repair=True)  # sweeps what was left
    add_all(store.root, NAMES, 300)
    assert contents(store.root) == whole


@pytest.mark.parametrize("step", range(3 * STEPS))
def test_killed_at_any_step(tmp_path, small, uninterrupted, step):
    store = make_store(tmp_path / "store", small, NAMES[:5], 300)
    assert killed_at(step, add_all, store.root, NAMES, 300)
    whole_clips = NAMES[: 5 + step // STEPS]
    check_rerun(check_after_kill(store.root, whole_clips, uninterrupted), uninterrupted)


@pytest.mark.parametrize("step", range(6))
def test_killed_while_replacing(store, step):
    """The old clip or the new one; F1 and F6."""
    killed_at(step, replace_a, store.root)
    again = FeatureStore.open(store.root)
    assert set(again.clips) == set("abcd")
    assert again.verify().ok
    assert any(np.array_equal(again["a"], rows_of(clip)) for clip in "az")


@pytest.mark.parametrize("step", range(6))
def test_killed_while_merging(tmp_path, small, store, step):
    other = make_store(tmp_path / "other", small, "ef")
    killed_at(step, merge_into, store.root, other.root)
    assert FeatureStore.open(store.root).verify().ok
    merge_into(store.root, other.root)
    assert FeatureStore.open(store.root).clips == tuple("abcdef")


@pytest.mark.parametrize("step", range(5))
def test_killed_while_repairing(store, step):
    for clip in "bc":
        store.path(clip).write_bytes(b"")
    killed_at(step, repair, store.root)
    FeatureStore.open(store.root).verify(repair=True)
    again = FeatureStore.open(store.root)
    assert (again.clips, set(again.manifest.quarantined)) == (("a", "d"), {"b", "c"})
    add_all(store.root, "abcd", store=again)
    assert again.verify().ok


# --- no room


@pytest.mark.parametrize("clip", ["a", "new"])
@pytest.mark.parametrize("n_rows", [1000, 300])  # 300: what does not fit is still in a buffer at the end
def test_no_room_for_a_clip(store, clip, n_rows):
    before = contents(store.root)
    message = in_child(add_within, store.root, 150_000, clip, n_rows, clip == "a")
    assert f"cannot write {store.root / 'clips' / clip}" in message
    assert "File too large" in message
    assert "MiB are free" in message
    assert contents(store.root) == before


@pytest.mark.parametrize("clip", ["a0", "new"])
def test_no_room_for_a_line(tmp_path, small, clip):
    """The clip's file fits, its line in the manifest does not: what stood in the store still counts."""
    store = make_store(tmp_path / "store", small, [f"a{number}" for number in range(40)], 1)
    limit = (store.root / "manifest.jsonl").stat().st_size + 10
    message = in_child(add_within, store.root, limit, clip, 1, clip == "a0")
    assert f"cannot write to {store.root / 'manifest.jsonl'}: File too large" in message
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten bytes of the line may be left
        again = FeatureStore.open(store.root)
    assert again.clips == store.clips
    assert again.verify().ok
    assert again.verify().orphans == ()
    np.testing.assert_array_equal(again["a0"], rows_of("a0", 1))
    again.add_rows("new", rows_of("new"), replace=True)
    assert FeatureStore.open(store.root).verify().ok


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    if not shutil.which("mount"):
        pytest.skip("there is no mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("clip", ["a", "new"])
def test_a_full_disk(small_disk, small, clip):
    store = make_store(small_disk / "store", small, "abc")
    before = contents(store.root)
    with pytest.raises(OutputError, match=rf"cannot write .*{clip}.*No space left on device.*MiB are free") as caught:
        store.add_rows(clip, rows_of("z", 1000), replace=True)
    assert str(store.root / "clips") in str(caught.value)
    assert contents(store.root) == before
    store.add_rows("small", rows_of("small", 10))
    assert FeatureStore.open(store.root).verify().ok


def fill(folder: Path) -> None:
    """Leave not a byte on a disk."""
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            return


def test_a_disk_without_a_byte(small_disk, small):
    store = make_store(small_disk / "store", small, "ab")
    fill(small_disk)
    for failing in (
        lambda: store.add_rows("c", rows_of("c")),
        lambda: make_store(small_disk / "other", small),
    ):
        with pytest.raises(OutputError, match=r"No space left"):
            failing()
    (small_disk / "filler").unlink()
    add_all(store.root, "abc")
    assert FeatureStore.open(store.root).verify().ok
    make_store(small_disk / "other", small)  # what was begun is no obstacle


def test_a_disk_that_was_mounted_read_only(small_disk, small):
    store = make_store(small_disk / "store", small, "ab")
    store.path("b").write_bytes(b"")
    (small_disk / "store" / ".lock").unlink()
    mount("-o", "remount,ro", str(small_disk))
    np.testing.assert_array_equal(FeatureStore.open(store.root)["a"], rows_of("a"))
    assert list(store.verify().bad) == ["b"]
    with pytest.raises(OutputError, match="Read-only file system"):
        store.add_rows("c", rows_of("c"))
    with pytest.raises(OutputError, match="Read-only file system"):
        store.verify(repair=True)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to write everywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def read_only(small) -> Iterator[FeatureStore]:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    store = make_store(folder / "store", small, "ab")
    folders = folder, store.root, store.root / "clips"
    for each in folders:
        each.chmod(0o555)
    with as_nobody():
        if os.access(store.root, os.W_OK, effective_ids=True):
            pytest.skip("this user may write everywhere")
        yield store
    for each in folders:
        each.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder(read_only, small):
    before = contents(read_only.root)
    for failing in (
        lambda: read_only.add_rows("c", rows_of("c")),
        lambda: read_only.add_rows("a", rows_of("c"), replace=True),
        lambda: read_only.verify(repair=True),
        lambda: FeatureStore.create(read_only.root.parent / "new", "musetools", small),
    ):
        with pytest.raises(OutputError, match=r"Permission denied.*"):
            failing()
    assert contents(read_only.root) == before
    np.testing.assert_array_equal(FeatureStore.open(read_only.root)["a"], rows_of("a"))


# --- two at once


def both(root: Path, shares: tuple[list[str], list[str]], replace: bool = False) -> None:
    """Let two processes add at once, while a third reads."""
    writers = [
        CONTEXT.Process(target=add_marked, args=(root, names, mark, replace)) for mark, names in enumerate(shares)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        FeatureStore.open(root)  # a warning would be an error
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0


def test_two_processes_add_at_once(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    shares = [f"one_{i}" for i in range(40)], [f"other_{i}" for i in range(40)]
    both(store.root, shares)
    again = FeatureStore.open(store.root)
    assert sorted(again.clips) == sorted([*shares[0], *shares[1]])
    assert [clip for clip in again if clip.startswith("one")] == shares[0]
    assert again.verify().ok
    assert again.verify().orphans == ()
    assert all((again[clip] == clip.startswith("other")).all() for clip in again)


@pytest.mark.parametrize("replace", [False, True])
def test_two_processes_add_the_same_clips(tmp_path, small, replace):
    store, names = make_store(tmp_path / "store", small), [f"clip_{i}" for i in range(40)]
    both(store.root, (names, names), replace)
    again = FeatureStore.open(store.root)
    assert sorted(again.clips) == sorted(names)
    assert again.verify().ok
    assert again.verify().orphans == ()
    assert all(len(np.unique(again[clip])) == 1 for clip in again)
    lines = (store.root / "manifest.jsonl").read_bytes().splitlines()
    assert len(lines) == (80 if replace else 40)


def test_an_open_store_sees_what_another_added_before_it_adds(store):
    add_all(store.root, "ef")
    with pytest.raises(StoreError, match="clip 'e' is in"):
        store.add_rows("e", rows_of("z"))
    with pytest.raises(StoreError, match="differs from 'f'"):
        store.add_rows("F", rows_of("z"))
    np.testing.assert_array_equal(store["e"], rows_of("e"))
    assert FeatureStore.open(store.root).verify().orphans == ()


def test_a_sweep_leaves_what_is_being_written(store):
    def rows() -> Iterator[np.ndarray]:
        yield rows_of("e")
        FeatureStore.open(store.root).verify(repair=True)
        yield rows_of("e")

    store.add_rows("e", rows())
    assert len(store["e"]) == 120
