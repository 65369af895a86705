"""Small test videos: plain coloured frames with the bundled speech, whole or with one known fault each."""

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import FASTSTART, SPEECH_RATE, coloured, film_packets, mux, sound_packets, speech

NTSC = Fraction(30_000, 1001)
PRIMING = 1024  # samples that the AAC encoder puts in front


def write_clip(
    path: Path,
    fps: float | Fraction = 25,
    seconds: float = 2,
    *,
    times: np.ndarray | None = None,
    coded_fps: Fraction | None = None,
    sound_s: float | None = None,
    late_s: float = 0,
    b_frames: int = 0,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 64),
    **options: str,
) -> Path:
    """Write a video with as much sound as picture.

    Parameters
    ----------
    times : ndarray, optional
        When each frame is shown, in seconds; by default `fps` a second.
    coded_fps : Fraction, optional
        What the codec's own header declares; by default `fps`.
    sound_s, late_s : float
        Another length of the sound, and its start, in seconds.
    **options : str
        Of the container.
    """
    times = np.arange(round(seconds * fps)) / float(fps) if times is None else times
    n_samples = round((seconds if sound_s is None else sound_s) * SPEECH_RATE)
    with av.open(str(path), "w", options=options) as container:
        packets = list(film_packets(container, times, coded_fps or Fraction(fps), b_frames, codec, size))
        if n_samples:
            pcm = np.resize(speech(12), (n_samples, 2))
            # where sound starts late no edit list hides what the encoder puts in front, so this is heard, too
            first = round(late_s * SPEECH_RATE) + PRIMING if late_s else 0
            packets += sound_packets(container, pcm, SPEECH_RATE, "aac", first)
        mux(container, packets)
    return path


def write_uneven(path: Path, seconds: float = 2) -> Path:
    """Write a video as a telephone films: every fifth frame comes half a frame late."""
    frames = np.arange(round(seconds * 25))
    return write_clip(path, seconds=seconds, times=(frames + 0.5 * (frames % 5 == 4)) / 25)


def write_late(path: Path, late_s: float = 0.12) -> Path:
    """Write a video whose sound starts late."""
    return write_clip(path, late_s=late_s)


def write_mute(path: Path) -> Path:
    """Write a video without sound."""
    return write_clip(path, sound_s=0)


def write_misdeclared(path: Path) -> Path:
    """Write a video whose codec declares 29.97 frames a second where time stamps show 30."""
    return write_clip(path, 30, coded_fps=NTSC)


def write_truncated(path: Path, keep: float = 0.6) -> Path:
    """Write a video with its index in front, and lose its end."""
    return cut_off(write_clip(path, **FASTSTART), keep)


def cut_off(path: Path, keep: float) -> Path:
    """Keep the first part of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    return path


def write_good(folder: Path, n_clips: int) -> list[Path]:
    """Write clips that are as they should be, of several kinds in turn."""
    kinds = [
        write_clip(folder / "good 00.mp4"),
        write_clip(folder / "good 01.mp4", NTSC, 3.003),
        write_clip(folder / "good 02.mp4", 30, b_frames=3),
        write_clip(folder / "good 03.mkv"),
        write_clip(folder / "good 04.mov", size=(96, 48)),
    ]
    copies = (folder / f"good {i:02d}{kinds[i % 5].suffix}" for i in range(5, n_clips))
    return kinds[:n_clips] + [Path(shutil.copy(kinds[i % 5], copy)) for i, copy in enumerate(copies, 5)]


FAULTS = {
    "variable rate": write_uneven,
    "start offset": write_late,
    "truncated": write_truncated,
    "no audio": write_mute,
    "declared rate": write_misdeclared,
}


def write_song(path: Path, seconds: float = 2) -> Path:
    """Write a song with its cover, which a container holds as a video of one picture."""
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        codec = "libmp3lame" if path.suffix == ".mp3" else "aac"
        sound = list(sound_packets(container, speech(seconds), SPEECH_RATE, codec))
        container.mux([*cover.encode(coloured(0, (64, 64), "yuvj420p")), *cover.encode(), *sound])
    return path


class Sealed:
    """What PyAV gave, but nothing can be decoded with it."""

    def __init__(self, opened: object):
        self._opened = opened

    def __getattr__(self, name: str) -> object:
        if name == "decode":
            raise AssertionError("decoded, where headers and packets must do")
        return getattr(self._opened, name)

    def __enter__(self) -> "Sealed":
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def demux(self, *streams: object) -> Iterator["Sealed"]:
        yield from map(Sealed, self._opened.demux(*streams))


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever decodes from now on fail: PyAV's own classes cannot be patched, so what it opens is wrapped."""
    unsealed = av.open
    monkeypatch.setattr(av, "open", lambda *given, **named: Sealed(unsealed(*given, **named)))
