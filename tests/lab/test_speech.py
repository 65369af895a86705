"""Talkers: clips whose mouth openings are known, and the tables of openings."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musetools import ParameterError
from musetools.lab.project import project_file
from musetools.lab.speech import find_talkers, hold_out, read_openings

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """The bundled clips are found from the working folder."""
    monkeypatch.chdir(ROOT)


def test_bundled_talkers_follow_the_rule_of_their_tables():
    """The tables were measured before AAC, at 25 fps; the rule on the decoded sound says the same."""
    for talker in find_talkers("bundled")[1:]:
        times, opening = read_openings(ROOT / "data" / f"{talker.name}.csv")
        assert np.sqrt(np.square(talker.at(times) - opening).mean()) < 0.02


def test_held_out_clips_are_never_trained_on():
    talkers = find_talkers("bundled")
    training, held_out = hold_out(talkers, 60)
    assert held_out.duration_s == 60
    assert held_out.name.startswith("voice_b+voice_c")
    assert [t.name for t in training] == ["speech-0s", "voice_a-0s", "voice_a-28s"]
    assert max(t.duration_s for t in training) <= 28
    np.testing.assert_array_equal(held_out.waveform[: len(talkers[2].waveform)], talkers[2].waveform)
    at = np.array([1.0, 5.0])
    np.testing.assert_allclose(held_out.at(at + talkers[2].duration_s), talkers[3].at(at), atol=0.02)
    np.testing.assert_allclose(training[2].at(at), talkers[1].at(at + 28), atol=1e-9)


@pytest.mark.parametrize("seconds", [105, 1000])
def test_too_little_speech_is_an_error(seconds):
    with pytest.raises(ParameterError, match="to be held out"):
        hold_out(find_talkers("bundled"), seconds)


def test_spoken_talkers_where_espeak_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ParameterError, match=r"espeak-ng is missing.*bundled"):
        find_talkers("spoken")
    assert [t.name for t in find_talkers("auto")] == ["speech", "voice_a", "voice_b", "voice_c"]


def write_clip(folder: Path, name: str, lines: list[list]) -> None:
    soundfile.write(folder / f"{name}.wav", np.random.default_rng(5).normal(0, 0.1, 3 * RATE), RATE)
    with open(folder / f"{name}.csv", "w", newline="") as file:
        csv.writer(file).writerows(lines)


HEAD = ["frame", "time_s", "opening"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([["frame", "opening"], [0, 0.5]], "columns time_s and opening"),
        ([HEAD, [0, 0, "wide"]], "columns time_s and opening"),
        ([HEAD, [0, 0]], "columns time_s and opening"),
        ([HEAD], "two table rows or more"),
        ([HEAD, [0, 0, 0.5]], "two table rows or more"),
        ([HEAD, [0, 0, 0.5], [1, 0.04, "nan"]], "finite"),
        ([HEAD, [0, 0.04, 0.5], [1, 0.04, 0.6]], "time_s growing"),
        ([HEAD, [0, 0, 0.5], [1, 0.04, 0.5]], "nothing to learn"),
    ],
    ids=["column", "text", "missing", "empty", "one", "nan", "time", "still"],
)
def test_bad_tables_are_named(lines, message, tmp_path):
    write_clip(tmp_path, "clip", lines)
    with pytest.raises(ParameterError, match=message) as caught:
        find_talkers(str(tmp_path))
    assert "clip.csv" in str(caught.value)


def test_a_clip_without_a_table(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.zeros(RATE), RATE)
    with pytest.raises(ParameterError, match=r"clip\.csv.*csv of the same name"):
        find_talkers(str(tmp_path))


def test_a_folder_without_clips(tmp_path):
    with pytest.raises(ParameterError, match="folder of media files"):
        find_talkers(str(tmp_path))
    with pytest.raises(ParameterError, match="folder of media files"):
        find_talkers(str(project_file("README.md")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows, None),
        (lambda rows: rows[:-1], None),
        (lambda rows: rows[:-2], "100 at 25 fps; got 98"),
        (lambda rows: rows[::-1], "time_s growing"),
        (lambda rows: rows[::2], "got 50"),
        (lambda rows: [[i, t * 1.01, o] for i, t, o in rows], r"up to 0\.040 s away"),
    ],
    ids=["whole", "one less", "short", "reversed", "every other", "another rate"],
)
def test_a_table_must_belong_to_its_clip(change, message, tmp_path):
    rows = [[i, i / 25, i % 7 / 7] for i in range(100)]
    with open(tmp_path / "clip.csv", "w", newline="") as file:
        csv.writer(file).writerows([HEAD, *change(rows)])
    if message is None:
        assert len(read_openings(tmp_path / "clip.csv", fps=25, n_frames=100)[1]) in (99, 100)
        return
    with pytest.raises(ParameterError, match=message):
        read_openings(tmp_path / "clip.csv", fps=25, n_frames=100)


def test_code_below_the_working_folder_is_not_run(monkeypatch, tmp_path):
    """Only the package's own rule is used, whatever is in a folder above."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "make.py").write_text("raise SystemExit('foreign code was run')")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="espeak-ng is missing"):
        find_talkers("spoken")
