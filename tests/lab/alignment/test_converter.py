"""What the ffmpeg program does to sync; the measuring itself is tested without that program."""

import re
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from musetools.errors import AudioError, OutputError
from musetools.lab.alignment import converter
from musetools.lab.alignment.converter import SEGMENT, Conversion, ConverterAudit, audit_converter
from musetools.lab.alignment.flashes import click_times, flash_starts, lateness_ms, write_flash_clip

NTSC = Fraction(30000, 1001)
NEEDS_FFMPEG = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="the ffmpeg program is not installed")


def late(path: Path, fps: float | Fraction) -> np.ndarray:
    """Measure a clip."""
    return lateness_ms(flash_starts(path, fps)[0], click_times(path)[0])[0]


def rewritten(source: Path, path: Path, *, sound_later_s: float = 0, keep=("video", "audio")) -> Path:
    """Copy packets, the sound's with later time stamps, some streams left out."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams if s.type in keep}
        for packet in old.demux([s for s in old.streams if s.type in keep]):
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                packet.pts += int(sound_later_s / packet.time_base)
                packet.dts += int(sound_later_s / packet.time_base)
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return path


def program(folder: Path, body: str) -> Path:
    """Write a program that stands in for ffmpeg, and says its version."""
    path = folder / "ffmpeg"
    path.write_text(f'#!/bin/sh\ncase "$*" in *-version) echo ffmpeg version 0; exit;; esac\n{body}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def short(monkeypatch):
    """A single clip of a few seconds, where what it shows does not matter."""
    monkeypatch.setattr(converter, "SOURCE_FPS", (Fraction(25),))
    monkeypatch.setattr(converter, "CLIP_S", 3)
    monkeypatch.setattr(converter, "LONG_S", 3)


# --- measuring, without the program


@pytest.mark.parametrize("fps", [24, 25, NTSC, 60])
def test_all_frames_of_all_flashes_are_on_time(tmp_path, fps):
    measured = late(write_flash_clip(tmp_path / "clip.mp4", fps, 5), fps)
    assert np.abs(measured).max() < 1
    assert len(measured) >= 3 * 12
    assert len(measured) % 12 == 0


def test_flashes_are_where_the_brightest_frames_are(tmp_path):
    path = write_flash_clip(tmp_path / "clip.mp4", NTSC, 5)
    with av.open(str(path)) as clip:
        bright = [frame.time for frame in clip.decode(video=0) if frame.to_ndarray(format="rgb24").min() > 250]
    starts, _ = flash_starts(path, NTSC)
    assert len(bright) == len(starts) / 12
    assert np.abs(np.sort(starts) - np.repeat(bright, 12)).max() < 1e-4
    assert np.abs(click_times(path)[0] - bright).max() < 1e-3


@pytest.mark.parametrize(("b_frames", "sound_later_s"), [(0, 0.12), (3, 0.12), (3, 0.08)])
def test_sound_that_starts_late_is_counted(tmp_path, b_frames, sound_later_s):
    source = write_flash_clip(tmp_path / "clip.mp4", NTSC, 4, b_frames=b_frames)
    path = rewritten(source, tmp_path / "late.mp4", sound_later_s=sound_later_s)
    assert np.abs(late(path, NTSC) + 1000 * sound_later_s).max() < 5


def test_counted_frames_do_not_see_time_stamps(tmp_path):
    source = write_flash_clip(tmp_path / "clip.mp4", 25, 4)
    with av.open(str(source)) as clip:
        stamped = [frame.pts for frame in clip.decode(video=0)]
    starts, n_frames = flash_starts(source, 25, counted=True)
    assert n_frames == len(stamped) == 100
    np.testing.assert_allclose(starts, flash_starts(source, 25)[0])
    # the flashes were drawn at 25 fps; a video that says 50 has them in half the time
    np.testing.assert_allclose(flash_starts(source, 50, counted=True)[0], starts / 2)


def test_clicks_in_a_wav_of_another_rate(tmp_path):
    wave = np.zeros(4 * 16_000)
    wave[[8_000, 30_000]] = 0.5
    soundfile.write(tmp_path / "clicks.wav", wave, 16_000)
    times, seconds = click_times(tmp_path / "clicks.wav")
    np.testing.assert_allclose(times, [0.5, 1.875], atol=1e-9)
    assert seconds == 4


def test_lateness_leaves_out_what_has_no_partner():
    measured, n_flashes = lateness_ms(np.array([1.0, 1.1, 2.0, 5.0]), np.array([1.02, 2.05, 3.0]))
    np.testing.assert_allclose(measured, [-20, 80, -50])
    assert n_flashes == 2
    with pytest.raises(AudioError, match="no flash has a click"):
        lateness_ms(np.array([1.0]), np.array([2.0]))


def test_a_file_without_picture_or_sound(tmp_path):
    source = write_flash_clip(tmp_path / "clip.mp4", 25, 3)
    with pytest.raises(AudioError, match=r"voice\.mp4 has no video"):
        flash_starts(rewritten(source, tmp_path / "voice.mp4", keep="audio"), 25)
    with pytest.raises(AudioError, match=r"mute\.mp4 has no audio"):
        click_times(rewritten(source, tmp_path / "mute.mp4", keep="video"))


def test_silence_has_no_clicks(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    assert len(click_times(tmp_path / "silence.wav")[0]) == 0


# --- the program is missing, or fails


def test_without_the_program(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    audit = audit_converter()
    (sentence,) = audit.sentences()
    assert "no program 'ffmpeg' on this machine" in sentence
    assert "apt install ffmpeg" in sentence
    assert repr(audit) == sentence
    assert "&#x27;ffmpeg&#x27;" in audit._repr_html_()
    assert audit.table() is None


def test_a_file_that_is_no_program(tmp_path):
    path = program(tmp_path, "")
    path.write_bytes(b"\x7fELF and no more")
    (sentence,) = audit_converter(path).sentences()
    assert f"{path} failed: " in sentence
    assert "was not measured" in sentence


def test_a_program_that_fails(short, tmp_path, monkeypatch):
    monkeypatch.setattr(converter, "SOURCE_FPS", (Fraction(30), Fraction(25)))
    stub = program(tmp_path, "echo first words >&2; echo 'Unknown <encoder>' >&2; exit 1")
    audit = audit_converter(stub)
    assert [(run.clip, run.option) for run in audit.conversions] == [
        (clip, option) for clip in ("30 fps", "25 fps") for option in ("-r 25", "-vf fps=25")
    ]
    runs = (*audit.conversions, *audit.segments)
    assert {run.note for run in runs} == {f"{stub} failed: Unknown <encoder>"}
    first, last = audit.sentences()
    assert first == "Measured with ffmpeg version 0."
    assert all(f"{run.option} at {run.clip}" in last for run in runs)
    assert "<encoder>" not in audit._repr_html_()
    assert "Unknown <encoder>" in repr(audit)


RUBBISH = 'for last; do :; done; [ "$last" = clip%03d.mp4 ] && last=clip000.mp4; echo no >"$last"'
FAILING = {  # what the program does: its body, the notes on conversions, and those on segments by their names
    "nothing": ("exit 0", "No such file", {"long.mp4": "left no segment"}),
    "rubbish": (RUBBISH, "Invalid data", {"clip000.mp4": "Invalid data"}),
    "hangs": ("exec sleep 5", "timed out after 0.3 s", {"long.mp4": "timed out after 0.3 s"}),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_program_that_ends_without_a_clip(name, short, tmp_path, monkeypatch):
    body, note, segment_notes = FAILING[name]
    if name == "hangs":
        monkeypatch.setattr(converter, "TIMEOUT_S", 0.3)
    audit = audit_converter(program(tmp_path, body))
    assert all(note in run.note for run in audit.conversions)
    assert [segment.clip for segment in audit.segments] == list(segment_notes)
    assert all(segment_notes[segment.clip] in segment.note for segment in audit.segments)
    assert repr(audit)


def test_a_folder_that_cannot_be_written(short, tmp_path, monkeypatch):
    stub = program(tmp_path, "exit 0")
    monkeypatch.setattr(tempfile, "tempdir", str(stub))
    with pytest.raises(OutputError, match="Set TMPDIR to a folder with space"):
        audit_converter(stub)


# --- sentences


def test_sentences_and_table_come_from_the_numbers():
    conversions = (
        Conversion("29.97 fps", "-r 25", (50.7, 67.3, 83.6), 12),
        Conversion("25 fps", "-r 25", (0.0, 0.0), 12),
        Conversion("29.97 fps", "-vf fps=25", (-19.9, 13.3), 12),
    )
    segments = (
        Conversion("a.mp4", SEGMENT, (-23.2,), 12, 11.32, 11.2849),
        Conversion("b.mp4", SEGMENT, (0.0,), 7, 7.2, 7.208),
    )
    audit = ConverterAudit("ffmpeg version 5 Copyright <c>", conversions, segments)
    assert segments[0].audio_minus_video_ms == pytest.approx(-35.1)
    texts = [
        ["ffmpeg version 5."],
        ["-r 25 moves", "+67 ms at 29.97 fps"],
        ["-r 25 keeps", "within 20 ms on average at 25 fps"],
        ["-vf fps=25 keeps", "at 29.97 fps"],
        ["first segment", "−23 ms"],
        ["segments last 11.3…11.3 s"],
        ["−35…+8 ms"],
    ]
    for sentence, wanted in zip(audit.sentences(), texts, strict=True):
        assert all(text in sentence for text in wanted), sentence
    lines = audit.table().lines
    assert lines[0][:5] == ["29.97 fps", "-r 25", "12", "+67", "+51…+84"]
    assert lines[3][5] == "11.32 s, audio −35 ms"
    assert len(lines) == 5


# --- the real program


@NEEDS_FFMPEG
def test_the_program_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "per cent %d").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "per cent %d"))
    monkeypatch.setattr(converter, "SOURCE_FPS", (Fraction(30), Fraction(25)))
    audit = audit_converter()
    assert audit.version.startswith("ffmpeg version")
    assert not [run.note for run in audit.conversions + audit.segments if run.note]
    mean = {(run.clip, run.option): run.mean_ms for run in audit.conversions}
    if re.match(r"ffmpeg version n?[4-7]\.", audit.version):  # FACTS.md, K16; of later ones nothing is known
        assert 40 < mean["30 fps", "-r 25"] < 80
    assert abs(mean["30 fps", "-vf fps=25"]) < 20
    assert all(abs(mean["25 fps", option]) < 1 for option in ("-r 25", "-vf fps=25"))
    assert all(run.n_flashes == 12 for run in audit.conversions)
    assert len(audit.segments) > 1
    assert sum(clip.video_s for clip in audit.segments) == pytest.approx(40)
    assert all(abs(clip.audio_minus_video_ms) < 120 for clip in audit.segments)
    assert abs(audit.segments[0].mean_ms) < 80
