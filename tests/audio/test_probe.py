"""What a file says of itself is read from headers and packets, exactly, and nothing of it is decoded."""

from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
from clips import (
    NTSC,
    PRIMING,
    cut_off,
    forbid_decoding,
    write_clip,
    write_late,
    write_misdeclared,
    write_mute,
    write_song,
    write_uneven,
)
from media import FASTSTART, SPEECH_RATE, sound_packets, speech, write_media

from musetools import AudioError, audit_clip, load_audio, probe_media
from musetools.audio.probe import StreamInfo

RATES = [Fraction(24_000, 1001), 24, 25, NTSC, 30, 50, Fraction(60_000, 1001), 60]


def video_of(path) -> StreamInfo:
    return probe_media(path).video


# --- frames and their rate


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_rates_are_exact(tmp_path, fps):
    video = video_of(write_clip(tmp_path / "clip.mp4", fps, 1, sound_s=0))
    assert video.rate == video.coded_rate == video.timed_rate == fps
    assert video.frames_declared == video.frames_counted == round(fps)
    assert not video.variable
    assert video.duration_s == pytest.approx(round(fps) / fps, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "mpeg4"),
        ("a.avi", "mpeg4"),
        ("a.mov", "mjpeg"),
        ("a.webm", "libvpx-vp9"),
        ("a.3gp", "h263"),
        ("b.avi", "h261"),
    ],
)
def test_what_other_codecs_declare(tmp_path, name, codec):
    """MPEG-4 part 2, which OpenCV writes as mp4v, declares the ticks of a clock, no frame rate; H.263 always 29.97."""
    for fps in (NTSC, 24):
        video = video_of(write_clip(tmp_path / name, fps, 1, sound_s=0, codec=codec, size=(176, 144)))
        assert video.coded_rate in (None, fps)
        assert video.rate == video.timed_rate == fps


@pytest.mark.parametrize(("fps", "seconds"), [*((fps, 1) for fps in RATES), (NTSC, 3), (60, 3)], ids=str)
def test_milliseconds_are_neither_variable_nor_another_rate(tmp_path, fps, seconds):
    """Matroska rounds time stamps to milliseconds, and knows no number of frames."""
    video = video_of(write_clip(tmp_path / "clip.mkv", fps, seconds, sound_s=0))
    assert not video.variable
    assert (video.frames_declared, video.frames_counted) == (None, round(seconds * fps))
    assert video.timed_rate == fps


def one_missing(path):
    return write_clip(path, times=np.delete(np.arange(50), 20) / 25, sound_s=0, codec="mpeg4")


def in_any_order(path):
    return write_clip(path, b_frames=3)


def decoded_unevenly(path):
    """Write frames that are shown evenly; their index says when they are decoded."""
    with av.open(str(in_any_order(path.with_name("even.mp4")))) as source, av.open(str(path), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        for packet in [packet for packet in source.demux(video) if packet.size]:
            packet.dts -= 1024 + (packet.dts // 512 % 3) * 150
            packet.stream = copy
            target.mux(packet)
    return path


IN_ORDER = {"timed_rate": 25, "frames_counted": 50, "variable": False, "start_s": 0}
# AVI counts in whole frames: there, one tick too many is no rounding.
# Cameras film in the codec that covers are stored in.
TIMES = [  # file, how it is written, what is read of it
    ("clip.mp4", write_uneven, {"variable": True, "frames_counted": 50, "coded_rate": 25}),
    *((f"clip.{kind}", one_missing, {"variable": True}) for kind in ("mp4", "mkv", "avi")),
    *((f"in any order.{kind}", in_any_order, IN_ORDER) for kind in ("mp4", "mkv")),
    ("decoded unevenly.mp4", decoded_unevenly, IN_ORDER),
    ("clip.mp4", write_misdeclared, {"coded_rate": NTSC, "timed_rate": 30, "variable": False}),
    (
        "one.mp4",
        lambda path: write_clip(path, times=np.zeros(1)),
        {"frames_counted": 1, "timed_rate": None, "variable": False},
    ),
    # rates that nobody films at are told as they are, not refused
    (
        "fast.mp4",
        lambda path: write_clip(path, times=np.arange(3) / 12_800),
        {"frames_counted": 3, "timed_rate": 12_800},
    ),
    *(
        (f"clip.{kind}", lambda path: write_clip(path, codec="mjpeg"), {"timed_rate": 25, "frames_counted": 50})
        for kind in ("mov", "mkv")
    ),
    ("12:30 {take} 100%d.mp4", lambda path: write_clip(path, seconds=0.2), {"frames_counted": 5, "variable": False}),
]


@pytest.mark.parametrize(("name", "write", "expected"), TIMES, ids=[name for name, *_ in TIMES])
def test_when_frames_are_shown(tmp_path, name, write, expected):
    video = video_of(write(tmp_path / name))
    assert {field: getattr(video, field) for field in expected} == expected


# --- streams


def test_streams_of_a_film(tmp_path):
    info = probe_media(write_clip(tmp_path / "clip.mp4"))
    assert [(s.kind, s.codec) for s in info.streams] == [("video", "h264"), ("audio", "aac")]
    assert "mp4" in info.container
    assert info.duration_s == info.audio.duration_s == info.video.duration_s == 2
    assert info.audio.rate == SPEECH_RATE
    assert info.audio.start_s == info.video.start_s == info.missing_bytes == 0


def test_the_edit_list_tells_of_priming(tmp_path):
    assert probe_media(write_clip(tmp_path / "clip.mp4")).audio.lead_s == pytest.approx(PRIMING / SPEECH_RATE)
    wav = write_media(tmp_path / "clip.wav", speech(1), SPEECH_RATE)
    assert probe_media(wav).audio.lead_s == 0


def test_sound_that_starts_late(tmp_path):
    info = probe_media(write_late(tmp_path / "clip.mp4", 0.12))
    assert info.audio.start_s == pytest.approx(0.12, abs=2e-3)  # edit lists count milliseconds
    assert info.audio.lead_s == info.video.start_s == 0


def test_a_film_without_sound(tmp_path):
    info = probe_media(write_mute(tmp_path / "clip.mp4"))
    assert info.audio is None
    assert info.video.frames_counted == 50


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_lengths_of_sound_and_picture_are_told_apart(tmp_path, name):
    info = probe_media(write_clip(tmp_path / name, seconds=3, sound_s=1))
    assert info.duration_s == pytest.approx(3, abs=0.05)
    assert info.audio.duration_s == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "mp3float"), ("a.m4a", "aac")]
)
def test_streams_of_a_song(tmp_path, name, codec):
    info = probe_media(write_media(tmp_path / name, speech(1), SPEECH_RATE))
    assert info.video is None
    assert (info.audio.codec, info.audio.rate) == (codec, SPEECH_RATE)
    assert info.audio.duration_s == pytest.approx(1, abs=1e-3)


def test_a_length_that_is_guessed_is_none(tmp_path):
    """Raw AAC has no header; FFmpeg guesses from the bit rate, here more than half again too long."""
    with av.open(str(tmp_path / "raw.aac"), "w") as container:
        container.mux(list(sound_packets(container, speech(5), SPEECH_RATE, "aac")))
    assert probe_media(tmp_path / "raw.aac").audio.duration_s is None


@pytest.mark.parametrize("name", ["song.mp3", "song.mp4"])
def test_a_cover_is_no_video(tmp_path, name):
    info = probe_media(write_song(tmp_path / name))
    assert len(info.streams) == 2
    assert info.video is None
    assert info.audio.duration_s == pytest.approx(2, abs=0.05)


# --- what is not there


@pytest.mark.parametrize("keep", [0.4, 0.9])
def test_missing_bytes_are_counted(tmp_path, keep):
    path = write_clip(tmp_path / "clip.mp4", **FASTSTART)
    size = path.stat().st_size
    assert probe_media(path).missing_bytes == 0
    assert probe_media(cut_off(path, keep)).missing_bytes == size - path.stat().st_size > 0


def test_half_a_matroska_has_fewer_frames(tmp_path):
    assert 0 < video_of(cut_off(write_clip(tmp_path / "clip.mkv"), 0.5)).frames_counted < 50


def test_what_cannot_be_opened(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("These are the notes of a meeting, not its recording.\n" * 50)
    cut_off(write_clip(tmp_path / "half.mp4"), 0.5)  # its index would be at the end
    for name, why in (
        ("gone.mp4", "is not there"),
        ("empty.mp4", "is empty"),
        ("notes.mp4", "cannot be opened"),
        ("half.mp4", "is truncated: its index"),
        ("", "is a folder"),
    ):
        with pytest.raises(AudioError, match=why) as caught:
            probe_media(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("read", [probe_media, load_audio, partial(load_audio, decoder="ffmpeg")])
def test_a_piece_of_a_stream_without_its_index(tmp_path, read):
    """As browsers and HLS load them one by one: the index is in a file of its own, and the two make a clip."""
    whole = write_clip(tmp_path / "whole.mp4", movflags="frag_keyframe+empty_moov").read_bytes()
    piece, clip = tmp_path / "piece.m4s", tmp_path / "clip.mp4"
    cut = whole.index(b"moof") - 4
    piece.write_bytes(whole[cut:])
    with pytest.raises(AudioError, match=r"its index \(moov\) is in another file.*cat init.mp4") as caught:
        read(piece)
    assert str(caught.value).startswith(str(piece))
    clip.write_bytes(whole[:cut])  # the index alone
    assert "no frames" in {finding.what for finding in audit_clip(clip, quick=True).findings}
    clip.write_bytes(whole[:cut] + piece.read_bytes())
    read(clip)


# --- how it is read, and shown


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_nothing_is_decoded(tmp_path, monkeypatch, name):
    path = write_clip(tmp_path / name, b_frames=3)
    open_as_it_is = probe_media(path)
    forbid_decoding(monkeypatch)
    assert probe_media(path) == open_as_it_is
    with pytest.raises(AssertionError, match="decoded"):
        load_audio(path)


def test_shown_in_text_and_html(tmp_path):
    info = probe_media(write_uneven(tmp_path / "a<b>&.mp4"))
    first, picture, sound = repr(info).splitlines()
    assert first.startswith(str(info.path))
    assert "video h264" in picture
    assert "variable rate" in picture
    assert "audio aac, 44100 Hz, 2.000 s, from 0.000 s" in sound
    assert "a&lt;b&gt;&amp;.mp4" in info._repr_html_()
    assert "<b>" not in info._repr_html_()
