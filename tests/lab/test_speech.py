"""Talkers: clips whose mouth openings are known, and the tables of openings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from musetools import MusetoolsError, ParameterError
from musetools.lab import speech as module
from musetools.lab.project import project_file
from musetools.lab.speech import Talker, find_talkers, hold_out
from musetools.lips import MouthSeries, read_mouth
from musetools.lips.estimate import LipSync

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """The bundled clips are found from the working folder."""
    monkeypatch.chdir(ROOT)


def test_bundled_talkers_follow_the_rule_of_their_tables(bundled):
    """The tables were measured before AAC, at 25 fps; the rule on the decoded sound says the same."""
    for talker in bundled[1:]:
        times, opening = read_mouth(ROOT / "data" / f"{talker.name}.csv").opening
        assert np.sqrt(np.square(talker.at(times) - opening).mean()) < 0.02


def test_held_out_clips_are_never_trained_on(bundled):
    training, held_out = hold_out(bundled, 60)
    assert held_out.duration_s == 60
    assert held_out.name.startswith("voice_b+voice_c")
    assert [t.name for t in training] == ["speech-0s", "voice_a-0s", "voice_a-28s"]
    assert max(t.duration_s for t in training) <= 28
    np.testing.assert_array_equal(held_out.waveform[: len(bundled[2].waveform)], bundled[2].waveform)
    at = np.array([1.0, 5.0])
    np.testing.assert_allclose(held_out.at(at + bundled[2].duration_s), bundled[3].at(at), atol=0.02)
    np.testing.assert_allclose(training[2].at(at), bundled[1].at(at + 28), atol=1e-9)


def test_many_clips_have_a_short_name():
    """It becomes the id of a clip in a store."""
    clips = [
        Talker(f"clip_{i:02d}_of_many", np.zeros(2 * RATE, np.float32), np.arange(3.0), np.arange(3.0))
        for i in range(30)
    ]
    assert hold_out(clips, 40)[1].name == "clip_10_of_many+19_more-0s"


@pytest.mark.parametrize("seconds", [105, 1000])
def test_too_little_speech_is_an_error(seconds, bundled):
    with pytest.raises(ParameterError, match="to be held out"):
        hold_out(bundled, seconds)


def test_spoken_talkers_where_espeak_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ParameterError, match=r"espeak-ng is missing.*bundled"):
        find_talkers("spoken")
    monkeypatch.setattr(module, "load_audio", lambda path: np.zeros(RATE, np.float32))
    assert [t.name for t in find_talkers("auto")] == ["speech", "voice_a", "voice_b", "voice_c"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("frame,opening\n0,0.5\n", "no column time_s"),
        ("time_s,opening\n0,wide\n", "no series of a mouth"),
        ("time_s,opening\n0\n", "two values or more"),
        ("time_s,opening\n,0.5\n0.04,0.6\n", "times that rise"),
        ("time_s,opening\n0,0.5\n0.04,0.5\n", "never moves"),
    ],
    ids=["column", "text", "missing", "no time", "still"],
)
def test_bad_tables_are_named(table, message, tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(5).normal(0, 0.1, 3 * RATE), RATE)
    (tmp_path / "clip.csv").write_text(table)
    with pytest.raises(ParameterError, match=message) as caught:
        find_talkers(str(tmp_path))
    assert "clip.csv" in str(caught.value)


def test_a_table_of_other_measures_is_named(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(5).normal(0, 0.1, 3 * RATE), RATE)
    (tmp_path / "clip.csv").write_text("time_s,outer\n0,0.5\n0.04,0.6\n")
    with pytest.raises(ParameterError, match=r"clip\.csv has no opening"):
        find_talkers(str(tmp_path))


def test_what_is_trained_on_has_openings():
    """A table may end long before its audio."""
    known = np.arange(3.0), np.arange(3.0)
    clips = [Talker(name, np.zeros(60 * RATE, np.float32), *known) for name in ("first", "second")]
    assert [piece.name for piece in hold_out(clips, 60)[0]] == ["first-0s"]


def test_a_clip_without_a_table_and_without_a_video(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.zeros(RATE), RATE)
    with pytest.raises(MusetoolsError, match=r"no video track|MediaPipe"):
        find_talkers(str(tmp_path))


def test_the_mouth_of_a_video_is_moved_to_its_sound(tmp_path, monkeypatch):
    """Clips of one speaker, in a folder of their own, are never on both sides."""
    times = np.arange(100) / 25
    seen = MouthSeries(times, np.random.default_rng(0).normal(size=(100, 4)))
    syncs = iter([90.0, 90.0, None])
    monkeypatch.setattr(module, "mouth_measures", lambda path: seen)
    monkeypatch.setattr(module, "load_encoder", lambda name: None)
    monkeypatch.setattr(module, "lip_sync", lambda *_: LipSync(next(syncs), why="wrong sound"))
    for name in ("a/1", "a/2", "b/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 4 * RATE), RATE)
    with pytest.warns(UserWarning, match=r"b__1\.wav is left out: wrong sound"):
        first, second = find_talkers(str(tmp_path))
    assert (first.name, first.speaker, second.speaker) == ("a__1", "a", "a")
    assert first.times_s[0] == pytest.approx(0.09)
    with pytest.raises(ParameterError, match="some must remain"):
        hold_out([first, second], 4)


def test_a_folder_without_clips(tmp_path):
    with pytest.raises(ParameterError, match=r"folder of clips|no media file"):
        find_talkers(str(tmp_path))
    with pytest.raises(ParameterError, match=r"folder of clips|no media file"):
        find_talkers(str(project_file("README.md")))


def test_code_below_the_working_folder_is_not_run(monkeypatch, tmp_path):
    """Only the package's own rule is used, whatever is in a folder above."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "make.py").write_text("raise SystemExit('foreign code was run')")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="espeak-ng is missing"):
        find_talkers("spoken")
