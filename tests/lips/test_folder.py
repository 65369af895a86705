"""Lips in the check: levels by whole intervals, against the median of a folder; series of other trackers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from clips import write_clip

from musetools import AudioError, ParameterError, audit_clip
from musetools.check.folder import FolderAudit
from musetools.cli import main
from musetools.lips import folder as module
from musetools.lips.estimate import LipSync
from musetools.lips.folder import lips_errors, of_lips, with_lips, with_sync

TOLD = LipSync(0.0, (-10.0, 10.0), 0.0, (-1.0, 1.0), 0.7, 0.9999, 10.0, 0.6)


def at(ms: float, half: float = 10, **others) -> LipSync:
    return replace(TOLD, offset_ms=ms, interval_ms=(ms - half, ms + half), **others)


@pytest.mark.parametrize(
    ("told", "usual", "level"),
    [
        (at(85), 0, None),
        (at(-95), 0, "warning"),
        (at(165), 0, "warning"),
        (at(-175), 0, "error"),
        (at(175), 100, None),
        (at(0), 175, "error"),
        (at(0, drift_interval_ms_s=(17, 19), drift_ms_s=18), 0, "error"),
        (at(0, drift_interval_ms_s=(-30, 30)), 0, None),
        (replace(TOLD, offset_ms=None, why="no better than wrong sound"), 0, "error"),
        (replace(TOLD, offset_ms=None, why="no better than wrong sound", seconds=3.5), 0, "warning"),
        (replace(TOLD, offset_ms=None, why="no better than wrong sound; several faces in 90 %"), 0, "warning"),
        (replace(TOLD, offset_ms=None, why="no face in any of 9 frames"), 0, "error"),
        (replace(TOLD, offset_ms=None, why="2.0 s of face and sound, 3 s are needed"), 0, "note"),
    ],
)
def test_levels(told, usual, level):
    assert [finding.level for finding in of_lips(told, usual)] == ([level] if level else [])


def test_where_to_look_for_an_offset_that_is_not_found():
    unknown = LipSync(why="the best match lies at the end of ±600 ms")
    assert "--reach 3, look at it" in next(of_lips(unknown)).sentence
    assert "--reach" not in next(of_lips(replace(unknown, reach_s=3.0))).sentence
    assert "--reach" not in next(of_lips(LipSync(why="no speech in the sound"))).sentence


def test_a_file_that_cannot_be_read_has_not_lost_its_video(tmp_path):
    (tmp_path / "a.mp4").touch()
    (clip,) = with_lips(FolderAudit((audit_clip(tmp_path / "a.mp4"),)), None).audits
    assert clip.lips.why == "no file that can be read"
    assert [finding.level for finding in clip.findings] == ["error", "note"]


def test_a_folder_is_judged_by_its_median(tmp_path, monkeypatch):
    clip = audit_clip(write_clip(tmp_path / "a.mp4"))
    told = iter([at(100), at(110), at(90), at(105), at(320)])
    monkeypatch.setattr(module, "_sync", lambda *_, **__: next(told))
    audit = with_lips(FolderAudit((clip,) * 5), None)
    assert [one.level for one in audit.audits] == ["error", "ok", "ok", "ok", "ok"]
    assert audit.audits[0].lips.offset_ms == 320
    assert "--sound -215" in audit.audits[0].mend
    assert "median +105 ms" in audit.remarks
    assert "sound 320 ms late" in repr(audit)


def test_sound_that_drifts_is_not_to_be_moved(tmp_path):
    clip, late = audit_clip(write_clip(tmp_path / "a.mp4")), at(200)
    assert "--sound -200" in with_sync(clip, late).mend
    drifting = with_sync(clip, replace(late, seconds=60.0, drift_ms_s=5.0, drift_interval_ms_s=(4.0, 6.0)))
    assert {"lips", "lips drift"} <= {finding.what for finding in drifting.findings}
    assert "--sound" not in drifting.mend


def test_a_face_is_chosen_on_the_command_line(tmp_path, monkeypatch):
    """It reaches `mouth_measures`, whose process is this one here."""

    def measured(path, *, face, video_track=None):
        raise AudioError(f"asked for the face at {face}")

    monkeypatch.setattr(module.Worker, "run", lambda self, function, path, **options: function(path, **options))
    monkeypatch.setattr(module, "mouth_measures", measured)
    result = CliRunner().invoke(main, ["check", str(write_clip(tmp_path / "a.mp4")), "--face", "0.3", "0.5"])
    assert "asked for the face at (0.3, 0.5)" in result.output


def test_another_trackers_series(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", seconds=4)
    series = tmp_path / "mouth.csv"
    np.savetxt(series, np.random.default_rng(0).normal(size=100), header="inner", comments="")
    result = CliRunner().invoke(main, ["check", str(clip), "--mouth", str(series), "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    lips = json.loads(result.stdout)["clips"][0]["lips"]
    assert lips["offset_ms"] is None
    assert {"interval_ms", "drift_ms_s", "correlation", "confidence"} <= set(lips)


def test_a_series_that_does_not_fit(tmp_path):
    clip = audit_clip(write_clip(tmp_path / "a.mp4"))
    np.save(tmp_path / "mouth.npy", np.zeros(7))
    with pytest.raises(ParameterError, match="7 values, the clip 50 frames"):
        with_lips(FolderAudit((clip,)), None, mouth=tmp_path / "mouth.npy")
    with pytest.raises(ParameterError, match="one series"):
        with_lips(FolderAudit((clip, clip)), None, mouth=tmp_path / "mouth.npy")


def test_lips_that_forbid_training(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "a.mp4")
    for sync, found in ((at(300), "By the lips sound 300 ms late"), (at(100), None), (LipSync(why="no sound"), None)):
        monkeypatch.setattr(module, "_sync", lambda *_, sync=sync: sync)
        with lips_errors(None) as error_of:
            reason = error_of(clip)
        assert reason is None if found is None else found in reason
