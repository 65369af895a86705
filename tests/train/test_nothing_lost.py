"""What once lost a good clip, a report or a word of warning, provoked for real."""

import json
import os
import re
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from media import speech, write_media
from stores import CONTEXT, add_all, make_store, replace_again_and_again, rows_of

from musetools import ChunkDataset, FeatureStore, MusetoolsError, StoreError, extract
from musetools.cli import main
from musetools.train.integrity import file_name


@pytest.fixture
def sounds(tmp_path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(8):
        write_media(folder / f"{number}.wav", speech(0.3 + number / 10), 16_000)
    return folder


# --- two processes


@pytest.mark.parametrize("repair", [True, False])
def test_verify_beside_a_writer(tmp_path, small, repair):
    """No good clip is called bad, or taken, while another process replaces it; its writer meets no error."""
    store, looks = make_store(tmp_path / "store", small, "cdefgh", 400), 0
    with ProcessPoolExecutor(1, CONTEXT) as pool:
        while looks <= 20:
            writer = pool.submit(replace_again_and_again, store.root, "c", 21)
            while not writer.done():
                assert FeatureStore.open(store.root).verify(repair=repair).bad == {}
                looks += 1
            writer.result()
    again = FeatureStore.open(store.root)
    assert (sorted(again.clips), again.manifest.quarantined) == (list("cdefgh"), {})
    assert again.verify() == store.verify()
    assert (again.verify().ok, again.verify().orphans) == (True, ())


def test_a_clip_mended_by_another_process_is_not_taken(store):
    """Bad when the store was opened, replaced since: a repair looks at what is there now."""
    store.path("c").write_bytes(b"")
    assert list(store.verify().bad) == ["c"]
    with ProcessPoolExecutor(1, CONTEXT) as pool:
        pool.submit(replace_again_and_again, store.root, "c", 1).result()
    assert store.verify(repair=True).bad == {}
    assert len(store["c"]) == 400


# --- JSON of other types

WRONG = {
    "rows": ["9", -1, 1.5, 60.0, True, None, 10**30, 2**31, 61 * 100],
    "bytes": [None, "1", 10**30, 0],
    "duration_s": ["1", None, -1, [1]],
    "sha256": [5, "", "x" * 64],
    "fps": ["abc", "1/0", "0", "", 25, "-25", "nan", "1e9", "25\n"],
    "frames": ["9", -1, 1.0],
    "samples": ["9", None],
    "file": [5, "../a.npy", "a.npy\n"],
    "source": ["a.wav", [], {"path": 5}, {"bytes": "1"}],
    "clip": [5, "", None],
    "dtype": [5],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_record_of_another_type_is_dropped(store, key, value):
    path = store.root / "manifest.jsonl"
    lines = path.read_bytes().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {key: value}).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.warns(UserWarning, match="a truncated line of"):
        again = FeatureStore.open(store.root)
    assert again.clips == tuple("acd")
    assert "3 clips" in repr(again)
    assert again.verify().checked == 3
    assert len(ChunkDataset(again)) == len(ChunkDataset(again, None)) == 3 * 26


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none(store, number):
    path = store.root / "manifest.jsonl"
    path.write_text(re.sub(r'"duration_s": [0-9.]+', f'"duration_s": {number}', path.read_text(), count=1))
    with pytest.warns(UserWarning, match="a truncated line of"):
        assert FeatureStore.open(store.root).clips == tuple("bcd")


STORE_CHANGES = {
    "no fingerprint": lambda plain: plain["encoder"].pop("fingerprint"),
    "width": lambda plain: plain["encoder"].update(width="384"),
    "layers": lambda plain: plain["encoder"].update(n_layers=-1),
    "huge": lambda plain: plain["encoder"].update(width=10**30),
    "dtype": lambda plain: plain.update(dtype="object"),
    "features": lambda plain: plain.update(features=[]),
    "window": lambda plain: plain["features"].update(window=5),
    "hop": lambda plain: plain["features"]["window"].update(hop_s="1/0"),
    "a stranger": lambda plain: plain["features"].update(stranger=1),
    "peak": lambda plain: plain["features"].update(mel_peak=[]),
    "libraries": lambda plain: plain.update(libraries={"torch": 2}),
    "format": lambda plain: plain.update(format="1"),
}


@pytest.mark.parametrize("change", STORE_CHANGES.values(), ids=STORE_CHANGES)
def test_a_store_json_of_other_types(store, change):
    path = store.root / "store.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(StoreError, match=r"store\.json cannot be read .*restore it from a copy"):
        FeatureStore.open(store.root)


def test_a_store_json_nested_too_deeply(store):
    (store.root / "store.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match=r"store\.json cannot be read"):
        FeatureStore.open(store.root)


# --- words that are not lost, and such that end


def truncate_second_line(store: FeatureStore) -> None:
    path = store.root / "manifest.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], lines[1][:40], *lines[2:]]) + b"\n")


def opened_without_warning(root: Path) -> FeatureStore:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return FeatureStore.open(root)


def test_a_truncated_line_warns_until_it_is_repaired(store):
    truncate_second_line(store)
    for _ in range(2):
        with pytest.warns(UserWarning, match="a truncated line of 40 bytes"):
            damaged = FeatureStore.open(store.root)
    damaged.verify(repair=True)
    again = opened_without_warning(store.root)
    assert again.clips == damaged.clips == tuple("acd")
    # a process that had the store open reads on where it was
    add_all(store.root, "be", store=again)
    damaged.manifest.refresh()
    assert damaged.clips == again.clips == opened_without_warning(store.root).clips == tuple("acdbe")


def test_a_clip_added_again_mends_its_line(store):
    truncate_second_line(store)
    with pytest.warns(UserWarning, match="a truncated line"):
        add_all(store.root, "b")
    assert opened_without_warning(store.root).clips == tuple("acdb")


def test_a_truncated_end_is_repaired(store):
    path = store.root / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="a truncated line"):
        FeatureStore.open(store.root).verify(repair=True)
    assert opened_without_warning(store.root).clips == tuple("abc")


def test_failures_that_cannot_be_kept_are_reported(empty, small, sounds):
    (empty.root / "report.json").mkdir()  # so that nothing can be written there
    (sounds / "bad.wav").touch()
    with pytest.warns(UserWarning, match=r"cannot write .*report\.json.*The report is complete"):
        report = extract([sounds], empty, small, progress=False)
    assert len(report.added) == 8
    assert list(report.failed) == [str(sounds / "bad.wav")]


@pytest.mark.parametrize("clip", ["con", "aux.txt", "LPT1", "Nul.wav", "com0", "prn.a.b"])
def test_names_that_windows_reserves(store, clip):
    record = store.add_rows(clip, rows_of("a"))
    assert re.fullmatch(r"@[0-9a-f]{40}\.npy", record.file)
    np.testing.assert_array_equal(FeatureStore.open(store.root)[clip], rows_of("a"))


@pytest.mark.parametrize("clip", ["console", "auxiliary.txt", "a.con", "lpt10", "com"])
def test_names_that_windows_does_not_reserve(clip):
    assert file_name(clip) == f"{clip}.npy"


@pytest.mark.parametrize("what", ["a dangling link", "an empty folder", "no media"])
def test_where_there_is_nothing_it_is_said(tmp_path, checkpoint, what):
    folder = tmp_path / "in"
    folder.mkdir()
    if what == "a dangling link":
        os.symlink(tmp_path / "nowhere.wav", folder / "a.wav")
    elif what == "no media":
        (folder / "notes.txt").write_text("none")
    expected = "a.wav" if what == "a dangling link" else f") in {folder}. Name a file or another folder"
    extracted = ["extract", folder, "--store", tmp_path / "store", "--encoder", checkpoint]
    code = 1 if what == "a dangling link" else 2
    for given in (extracted, ["check", folder]):
        done = CliRunner().invoke(main, [str(each) for each in given])
        assert (done.exit_code, type(done.exception)) == (code, SystemExit), done
        assert expected in done.output


def test_a_folder_without_media_among_others(tmp_path, empty, small, sounds):
    (tmp_path / "none").mkdir()
    with pytest.warns(UserWarning, match=r"no media file \(.*\) in .*none"):
        report = extract([tmp_path / "none", sounds], empty, small, progress=False)
    assert len(report.added) == 8


def test_no_foreign_error_at_a_link_that_leads_nowhere(tmp_path, empty, small):
    os.symlink(tmp_path / "nowhere.wav", tmp_path / "a.wav")
    with pytest.raises(MusetoolsError, match=r"a\.wav"):
        empty.add("a", tmp_path / "a.wav", small)
    assert extract([tmp_path], empty, small, progress=False).failed.keys() == {str(tmp_path / "a.wav")}
