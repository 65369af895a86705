"""Whole clips for ``test_fuzz_media.py``, one container and codec each, made with PyAV; and ways to damage them."""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as factory
from pathlib import Path

import av
import soundfile
from media import mux, picture, sound_packets, speech

SECONDS = 3
Mutation = Callable[[bytearray, list[int], random.Random], bytes]


@dataclass(frozen=True)
class Kind:
    """How a clip is made."""

    sound: str  # codec
    picture: str = ""
    rate: int = 44_100
    container: str | None = None
    options: dict[str, str] = factory(default_factory=dict)


CLIPS = {  # by name
    "pcm.wav": Kind("pcm_s16le"),
    "float.wav": Kind("pcm_f32le"),
    "pcm.aiff": Kind("pcm_s16be"),
    "pcm.caf": Kind("pcm_s16le"),
    "pcm.w64": Kind("pcm_s16le"),
    "pcm.au": Kind("pcm_s16be"),
    "flac.flac": Kind("flac"),
    "vorbis.ogg": Kind("vorbis"),
    "opus.opus": Kind("libopus", rate=48_000),
    "flac.ogg": Kind("flac"),
    "xing.mp3": Kind("libmp3lame"),
    "no_xing.mp3": Kind("libmp3lame", options={"write_xing": "0"}),
    "aac.m4a": Kind("aac", container="ipod"),
    "front.mp4": Kind("aac", "libx264", options={"movflags": "+faststart"}),
    "end.mp4": Kind("aac", "mpeg4"),
    "fragments.mp4": Kind("aac", "libx264", options={"movflags": "frag_keyframe+delay_moov"}),
    "pcm.mov": Kind("pcm_s16le", "mpeg4"),
    "aac.mkv": Kind("aac", "libx264"),
    "opus.webm": Kind("libopus", "libvpx", 48_000),
    "live.webm": Kind("libopus", "libvpx", 48_000, options={"live": "1"}),
    "mp3.avi": Kind("libmp3lame", "mpeg4"),
    "pcm.avi": Kind("pcm_s16le", "mpeg4"),
    "aac.ts": Kind("aac", "libx264"),
    "mp2.mpg": Kind("mp2", "mpeg1video"),
    "aac.flv": Kind("aac", "flv1"),
    "mp3.asf": Kind("libmp3lame", "mpeg4"),
    "aac.aac": Kind("aac"),
}
NO_CHECKSUM = set(CLIPS) - {"flac.flac", "flac.ogg", "vorbis.ogg", "opus.opus"}  # samples may change unseen


def write_clips(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Write the clips of some names."""
    for name in names:
        kind, path = CLIPS[name], folder / name
        if kind.sound == "vorbis":  # PyAV brings no good encoder
            soundfile.write(path, speech(SECONDS), kind.rate)
            yield path
            continue
        with av.open(str(path), "w", format=kind.container, options=kind.options) as container:
            pcm = speech(SECONDS, kind.rate)
            packets = list(sound_packets(container, pcm, kind.rate, kind.sound))
            if kind.picture:
                packets += picture(container, SECONDS, kind.picture, b_frames=0)
            mux(container, packets)
        yield path


# --- mutations: of a file's bytes and the places where its packets begin


def span(n: int, r: random.Random) -> tuple[int, int]:
    start = r.randrange(n)
    return start, min(n, start + r.choice((1, 2, 16, 188, 1000, 8000, n // 4)))


def flip(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    for _ in range(r.choice((1, 1, 1, 4, 32))):
        data[r.randrange(len(data))] ^= 1 << r.randrange(8)
    return bytes(data)


def field(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    """Overwrite bytes near the start, near the end, or after a name of four letters or a packet's start."""
    names = [m.end() for m in re.finditer(rb"[A-Za-z ]{4}", bytes(data[:4096]))]
    place = r.choice(
        (r.randrange(64), r.randrange(512), len(data) - 1 - r.randrange(512), *r.choices(names + starts, k=4))
    )
    for i in range(place + r.randrange(16), place + r.randrange(1, 20)):
        if i < len(data):
            data[i] = r.choice((0, 1, 0x7F, 0x80, 0xFF, r.randrange(256)))
    return bytes(data)


def noise(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    start, stop = span(len(data), r)
    data[start:stop] = r.choice((r.randbytes, bytes))(stop - start)
    return bytes(data)


def cut(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    return bytes(data[: r.randrange(1, len(data))])


def cut_at_packet(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    return bytes(data[: max(1, r.choice(starts))])


def remove(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    start, stop = span(len(data), r)
    return bytes(data[:start] + data[stop:])


def remove_packets(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    start, stop = sorted(r.choices(starts, k=2))
    return bytes(data[:start] + data[stop:])


def repeat_packets(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    start, stop = sorted(r.choices(starts, k=2))
    return bytes(data[:stop] + data[start:])


def insert(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    start, stop = span(len(data), r)
    return bytes(data[:start] + r.randbytes(stop - start) + data[start:])


def join(data: bytearray, starts: list[int], r: random.Random) -> bytes:
    return bytes(data + data)


MUTATIONS: tuple[Mutation, ...] = (
    *(flip, flip, field, field, field, noise, noise, cut, cut_at_packet),
    *(remove, remove_packets, repeat_packets, insert, join),
)
