"""What is damaged is found and named, costs its own clip alone, and is made again."""

import errno
import json
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Payload
from stores import add_all, contents, make_store, rows_of

from musetools import FeatureStore, OutputError, StoreError

HEADER = 128  # bytes before the numbers


# --- the manifest


def edit_manifest(store: FeatureStore, change) -> list[bytes]:
    """Change the manifest's lines, of which the last is what follows the last line end."""
    path = store.root / "manifest.jsonl"
    lines = change(path.read_bytes().split(b"\n"))
    path.write_bytes(b"\n".join(lines))
    return lines


def opened_truncated(store: FeatureStore) -> FeatureStore:
    with pytest.warns(UserWarning, match=r"manifest\.jsonl: a truncated line of \d+ bytes .*make it again"):
        return FeatureStore.open(store.root)


TRUNCATED = {
    "in the middle": lambda lines: [*lines[:3], lines[3][:100]],
    "after one byte": lambda lines: [*lines[:3], lines[3][:1]],
    "one byte early": lambda lines: [*lines[:3], lines[3][:-1]],
    "before its line end": lambda lines: lines[:4],
    "zeros after a power cut": lambda lines: [*lines[:3], bytes(300)],
    "inside a letter": lambda lines: [*lines[:3], '{"clip": "é'.encode()[:-1]],
}


@pytest.mark.parametrize("tear", TRUNCATED.values(), ids=TRUNCATED)
def test_a_torn_last_line_costs_its_clip_alone(store, tear):
    whole = contents(store.root)
    edit_manifest(store, tear)
    again = opened_truncated(store)
    assert again.clips == tuple("abc")
    add_all(store.root, "d", store=again)
    assert FeatureStore.open(store.root).clips == tuple("abcd")  # without a warning
    assert contents(store.root) == whole


def test_a_line_torn_while_the_store_is_open_is_not_glued_to(store):
    edit_manifest(store, TRUNCATED["in the middle"])
    fresh = opened_truncated(store)
    with open(store.root / "manifest.jsonl", "ab") as file:
        file.write(b'{"clip": "e", "fi')
    add_all(store.root, "de", store=fresh)
    again = FeatureStore.open(store.root)
    assert again.clips == tuple("abcde")
    assert again.verify().ok


GARBAGE = [b"garbage", b"\xff\xfe\0", b"[]", b"null", b"7", b'"text"', b"{}", b'{"clip": "x"}', b'{"clip": ["b"]}']
GARBAGE += [b'{"clip": "\\q"', b'{"clip": "\xff"', b"[" * 100_000, b"NaN"]
GARBAGE += [b'{"clip": {}, "bad": "x"}', b'{"clip": "x", "file": "x.npy", "later": 1}']


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda line: ascii(line[:40]))
def test_garbage_between_lines(store, garbage):
    edit_manifest(store, lambda lines: [lines[0], garbage, *lines[1:]])
    again = opened_truncated(store)
    assert again.clips == tuple("abcd")
    assert again.verify().ok


@pytest.mark.parametrize("letters", [str, str.upper])
def test_two_lines_that_name_one_file(store, letters):
    """The later one is dropped: its rows would be another clip's."""

    def shared(lines: list[bytes]) -> list[bytes]:
        first = json.loads(lines[0])
        stem = first["file"].removesuffix(".npy")
        return [*lines, json.dumps(first | {"clip": "x", "file": f"{letters(stem)}.npy"}).encode(), b""]

    edit_manifest(store, shared)
    assert opened_truncated(store).clips == tuple("abcd")


def test_garbage_instead_of_a_line(store):
    edit_manifest(store, lambda lines: [lines[0], lines[1][:50] + bytes(20) + lines[1][70:], *lines[2:]])
    again = opened_truncated(store)
    assert again.clips == tuple("acd")
    with pytest.warns(UserWarning, match="truncated line"):
        add_all(store.root, "abcd")
    assert again.verify().orphans == ()
    assert again.clips == tuple("acdb")


def test_a_torn_line_of_a_clip_that_was_replaced(store):
    """The line before counts again; its file is another one by now, which is found."""
    store.add_rows("d", rows_of("z"), replace=True)
    edit_manifest(store, lambda lines: [*lines[:4], lines[4][:50]])
    again = opened_truncated(store)
    assert again.clips == tuple("abcd")
    assert set(again.verify().bad) <= {"d"}


# --- the files


def flip(content: bytes, at: int, bit: int = 0) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def retyped(content: bytes) -> bytes:
    return content.replace(b"'<f4'", b"'<i4'", 1)


SIZES = {
    "empty": lambda content: b"",
    "4 bytes": lambda content: content[:4],
    "within the header": lambda content: content[:60],
    "the header alone": lambda content: content[:HEADER],
    "half": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte long": lambda content: content + b"\0",
    "twice": lambda content: 2 * content,
}
HEADERS = {
    "magic": lambda content: flip(content, 0),
    "version": lambda content: flip(content, 6),
    "rows": lambda content: content.replace(b"(60,", b"(61,", 1),
    "type": retyped,
    "big-endian": lambda content: content.replace(b"'<f4'", b"'>f4'", 1),
    "Fortran order": lambda content: content.replace(b"False", b"True ", 1),
    "zeros": lambda content: bytes(len(content)),
    "text": lambda content: b"x" * len(content),
}
NUMBERS = {
    "first bit of the numbers": lambda content: flip(content, HEADER),
    "last bit": lambda content: flip(content, len(content) - 1, 7),
    "a page of zeros": lambda content: content[:4096] + bytes(4096) + content[8192:],
}


def spoil(store: FeatureStore, clip: str, change) -> Path:
    path = store.path(clip)
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize("change", SIZES.values(), ids=SIZES)
def test_another_size_is_refused_when_opened(store, change):
    path, expected = store.path("b"), store.record("b").bytes
    spoil(store, "b", change)
    with pytest.raises(StoreError, match=r"clip 'b': .*is damaged") as caught:
        store["b"]
    for told in (path, f"{expected} bytes of 60 rows", f"found {path.stat().st_size} bytes", "make the clip again"):
        assert str(told) in str(caught.value)
    np.testing.assert_array_equal(store["c"], rows_of("c"))


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_another_header_is_refused_when_opened(store, change):
    spoil(store, "b", change)
    with pytest.raises(StoreError, match=r"clip 'b': .*is damaged: .*header"):
        store["b"]


def test_every_bit_of_a_header_is_watched(store):
    path = store.path("b")
    whole = path.read_bytes()
    for at in range(HEADER):
        for bit in range(8):
            path.write_bytes(flip(whole, at, bit))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what numpy makes of it
                assert set(store.verify().bad) == {"b"}, (at, bit)


@pytest.mark.parametrize("change", NUMBERS.values(), ids=NUMBERS)
def test_other_numbers_are_found_by_verify(store, change):
    spoil(store, "b", change)
    check = store.verify()
    assert not check.ok
    assert check.checked == 4
    assert list(check.bad) == ["b"]
    assert "SHA-256" in check.bad["b"]
    assert "4 clips checked, 1 bad" in repr(check)


def test_two_files_that_were_swapped_are_found(store):
    b, c = store.path("b").read_bytes(), store.path("c").read_bytes()
    store.path("b").write_bytes(c)
    store.path("c").write_bytes(b)
    assert list(store.verify().bad) == ["b", "c"]


def test_a_missing_file(store):
    store.path("b").unlink()
    with pytest.raises(StoreError, match=r"clip 'b': .*b\.npy cannot be opened \(No such file"):
        store["b"]
    assert list(store.verify().bad) == ["b"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_a_file_that_cannot_be_opened_is_not_removed(store, monkeypatch, number):
    """It may be whole: a process may have too many files open, or run as somebody else."""

    def opening(path, *how):
        if str(path).endswith("b.npy"):
            raise OSError(number, os.strerror(number))
        return open(path, *how)

    monkeypatch.setattr("musetools.train.stored.open", opening, raising=False)
    assert "it may be whole" in store.verify().bad["b"]
    with pytest.raises(OutputError, match=rf"clip 'b' is not removed: .*{os.strerror(number)}\. Make it readable"):
        store.verify(repair=True)
    monkeypatch.undo()
    assert FeatureStore.open(store.root).verify().ok
    assert "b" in store


def test_a_folder_in_the_place_of_a_file(store):
    store.path("b").unlink()
    store.path("b").mkdir()
    with pytest.raises(StoreError, match="clip 'b'"):
        store["b"]
    assert list(store.verify().bad) == ["b"]


def test_a_pickle_in_an_npy_is_not_run(store, tmp_path):
    sentinel, path = tmp_path / "sentinel", store.path("b")
    np.save(path, np.array([Payload(sentinel)] * 60, object), allow_pickle=True)
    with open(path, "r+b") as file:  # of the very size that is expected
        file.truncate(store.record("b").bytes)
    for read in (lambda: store["b"], lambda: store.file("b")):
        with pytest.raises(StoreError, match="clip 'b'"):
            read()
    path.write_bytes(pickle.dumps(Payload(sentinel)).ljust(store.record("b").bytes, b"\0"))
    assert list(store.verify(repair=True).bad) == ["b"]
    assert not sentinel.exists()


# --- repairing


DAMAGE = {
    "half": SIZES["half"],
    "rows": HEADERS["rows"],
    "a bit": NUMBERS["last bit"],
    "missing": None,
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_bad_clip_is_put_aside_and_made_again(store, change):
    whole = {clip: store.path(clip).read_bytes() for clip in store}
    spoil(store, "b", change) if change else store.path("b").unlink()
    assert list(store.verify(repair=True).bad) == ["b"]
    for opened in (store, FeatureStore.open(store.root)):
        assert opened.clips == tuple("acd")
        assert list(opened.manifest.quarantined) == ["b"]
        with pytest.raises(StoreError, match=r"no clip 'b' .*a repair quarantined it .*make it again"):
            opened["b"]
    add_all(store.root, "abcd", store=store)
    again = FeatureStore.open(store.root)
    assert again.verify().ok
    assert again.manifest.quarantined == {}
    assert {clip: again.path(clip).read_bytes() for clip in again} == whole


def test_repair_changes_nothing_that_is_whole(store):
    before = contents(store.root)
    assert store.verify(repair=True).ok
    assert contents(store.root) == before


def test_a_put_aside_id_frees_its_twins(store):
    store.path("b").unlink()
    store.verify(repair=True)
    store.add_rows("B", rows_of("B"))
    with pytest.raises(StoreError, match="differs from 'B' in case"):
        store.add_rows("b", rows_of("b"))


def test_strays_are_told(store):
    (store.root / "clips" / "stray.npy").write_bytes(b"")
    (store.root / "clips" / ".b.npy.abc.part").write_bytes(b"")
    check = store.verify()
    assert check.ok
    assert check.orphans == (".b.npy.abc.part", "stray.npy")
    store.verify(repair=True)
    assert store.verify().orphans == ("stray.npy",)  # it may be someone's: it is told, not removed


def test_verify_sees_what_others_added(store):
    add_all(store.root, "ef")
    assert store.verify().checked == 6
    assert store.verify().orphans == ()


def test_json_of_another_hand_is_read(store):
    """Keys in another order, ASCII escapes and spaces are the same line."""

    def rewritten(line: bytes) -> bytes:
        entry = json.loads(line)
        return json.dumps(dict(reversed(entry.items())), indent=None, separators=(" , ", " : ")).encode()

    edit_manifest(store, lambda lines: [*map(rewritten, lines[:4]), b""])
    assert FeatureStore.open(store.root).verify().ok


def test_an_empty_clip_is_empty(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    store.add_rows("a", rows_of("a")[:0])
    assert store["a"].shape == (0, 2, 64)
    assert store.verify().ok
