"""A training set is audited against its features: videos that were moved, replaced or lost."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from clips import forbid_decoding, write_clip
from stores import make_store

from musetools import MusetoolsError
from musetools.check.folder import FolderAudit
from musetools.lab.alignment import check_store


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Three clips: of 2, 3 and 4 s, the last with less audio than video."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "by one").mkdir()
    write_clip(folder / "a.mp4")
    write_clip(folder / "by one" / "a.mp4", seconds=3)
    write_clip(folder / "c.mkv", seconds=4, sound_s=3.9)
    return folder


@pytest.fixture
def videos(written, tmp_path) -> Path:
    return shutil.copytree(written, tmp_path / "videos")


@pytest.fixture
def store(tmp_path, videos, small):
    """The store that `extract` would make of them, as far as a check needs it."""
    store = make_store(tmp_path / "store", small)
    for name, n_rows in (("a.mp4", 101), ("by one/a.mp4", 151), ("c.mkv", 196)):
        source = {"path": str(videos / name)}
        store.add_rows(name.replace("/", "__"), np.zeros((n_rows, 2, 64), np.float32), source=source, fps=25)
    return store


def levels(folder: FolderAudit) -> dict[str, str]:
    return {audit.name: audit.level for audit in folder.audits}


def test_a_training_set_as_it_should_be(store, monkeypatch):
    forbid_decoding(monkeypatch)
    folder = check_store(store)
    assert folder.errors == 0, folder
    assert set(levels(folder)) == set(store)
    assert folder.audits[0].info.video.timed_rate == 25


def test_videos_that_were_moved(store, videos, tmp_path):
    moved = shutil.move(videos, tmp_path / "elsewhere")
    assert check_store(store, moved).errors == 0, check_store(store, moved)
    assert check_store(store).errors == 3


def test_a_video_that_was_replaced_and_one_that_is_gone(store, videos):
    """They come first."""
    shutil.copy(videos / "by one" / "a.mp4", videos / "a.mp4")
    (videos / "c.mkv").unlink()
    folder = check_store(store)
    assert levels(folder) == {"a.mp4": "error", "c.mkv": "error", "by one__a.mp4": "ok"}
    assert [audit.level for audit in folder.audits] == ["error", "error", "ok"]
    by = {audit.name: audit for audit in folder.audits}
    errors = {name: [f for f in audit.findings if f.level == "error"] for name, audit in by.items()}
    (other,), (gone,) = errors["a.mp4"], errors["c.mkv"]
    assert (other.what, gone.what) == ("other sound", "unreadable")
    assert other.number == pytest.approx(0.98, abs=0.03)
    assert "Extract it again" in other.sentence


def test_a_store_without_videos(tmp_path, small):
    folder = check_store(make_store(tmp_path / "store", small, ["x"]))
    assert levels(folder) == {"x": "error"}
    assert not check_store(make_store(tmp_path / "empty", small)).audits


def test_a_store_for_another_recipe(store):
    audits = check_store(store, recipe="musetalk-v1.5-infer").audits
    assert {audit.recipe.name for audit in audits} == {"musetalk-v1.5-infer"}
    with pytest.raises(MusetoolsError, match="no recipe"):
        check_store(store, recipe="nonesuch")
