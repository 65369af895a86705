"""The nearest to recordings of phones, screens and browsers that encoders and muxers here can make."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from clips import NTSC, PRIMING
from media import copied, film_packets, mux, sound_packets, speech

FPS, SECONDS, RATE = 30, 4, 48_000
TS_PACKET = 188
UPRIGHT = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # matrix of a picture that is turned by 90 degrees
LOST_S = (2.0, 2.4)  # of the call, where no packet came
PAUSE_S, SENT = (1.0, 1.6), 20  # of the call, where nobody speaks: one packet of so many is sent


def sound(seconds: float = SECONDS) -> np.ndarray:
    """Return speech, 16-bit samples."""
    return speech(seconds, RATE)


def even(fps: float | Fraction = FPS, seconds: float = SECONDS) -> np.ndarray:
    """Return when each frame of a constant rate is shown."""
    return np.arange(round(seconds * fps)) / float(fps)


def write(
    path: Path, times: np.ndarray, pcm: np.ndarray, *, fps: Fraction = Fraction(FPS), first: int = 0, **given
) -> Path:
    """Write one picture and one sound."""
    codecs = given.pop("codecs", ("libx264", "aac"))
    b_frames, kind = given.pop("b_frames", 0), given.pop("format", None)
    with av.open(str(path), "w", format=kind, options=given) as container:
        film = list(film_packets(container, times, fps, b_frames, codecs[0], (64, 64), FPS))
        mux(container, film + list(sound_packets(container, pcm, RATE, codecs[1], first)))
    return path


def phone_variable_rate(folder: Path) -> Path:
    """A phone lengthens exposure in the dark, and stands still for half a second."""
    steps = np.where(np.arange(round(SECONDS * FPS)) % 8 < 3, 1 / 24, 1 / FPS)
    steps[40] = 0.5
    times = np.concatenate([[0], np.cumsum(steps)])
    return write(folder / "phone_variable_rate.mp4", times[times < SECONDS], sound())


def phone_trimmed(folder: Path) -> Path:
    """A phone trims without encoding again: edit lists hide what comes before 1.3 s, back to the key frame."""
    whole, path = write(folder / "whole.mp4", even(), sound(), b_frames=2), folder / "phone_trimmed.mp4"
    copied(whole, path, 1.3, lambda packet: packet.stream.type == "video" or packet.pts * packet.time_base > 1)
    whole.unlink()
    return path


def phone_portrait(folder: Path) -> Path:
    """A phone held upright: the picture is turned by its header; a second sound in a codec that nobody else knows."""
    path = folder / "phone_portrait.mov"
    with av.open(str(path), "w") as container:
        film = list(film_packets(container, even(), Fraction(FPS), 0, "libx264", (96, 64), FPS))
        tracks = [list(sound_packets(container, sound(), RATE, codec)) for codec in ("aac", "aac")]
        mux(container, film + tracks[0] + tracks[1])
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", *UPRIGHT)
    last = data.rindex(b"mp4a", 0, data.rindex(b"esds"))
    data[last : last + 4] = b"apac"
    path.write_bytes(data)
    return path


def browser_recorder(folder: Path) -> Path:
    """MediaRecorder of a browser: a live webm, with neither lengths nor index."""
    live = {"live": "1", "codecs": ("libvpx", "libopus")}
    return write(folder / "browser_recorder.webm", even(), sound(), **live)


def browser_fragments(folder: Path) -> Path:
    """MediaRecorder as mp4: fragments, an empty index in front, none at the end, priming that is decoded as sound."""
    flags = {"movflags": "+frag_keyframe+empty_moov+skip_trailer", "first": PRIMING}
    return write(folder / "browser_fragments.mp4", even(), sound(), **flags)


def browser_call(folder: Path) -> Path:
    """A call: Opus with discontinuous transmission, which sends little in pauses, and 400 ms that got lost."""
    path, pcm = folder / "browser_call.webm", sound().copy()
    first, last = (round(at * RATE) for at in PAUSE_S)
    pcm[first:last] = 0
    with av.open(str(path), "w", options={"live": "1"}) as container:
        film = list(film_packets(container, even(), Fraction(FPS), 0, "libvpx", (64, 64), FPS))
        options = {"application": "voip", "dtx": "1", "b": "24k"}
        packets = list(sound_packets(container, pcm, RATE, "libopus", **options))
        silent = [packet for packet in packets if PAUSE_S[0] <= float(packet.pts * packet.time_base) < PAUSE_S[1]]
        lost = [packet for packet in packets if LOST_S[0] <= float(packet.pts * packet.time_base) < LOST_S[1]]
        gone = {packet.pts for i, packet in enumerate(silent) if i % SENT} | {packet.pts for packet in lost}
        mux(container, film + [packet for packet in packets if packet.pts not in gone])
    return path


def screen_late_sound(folder: Path) -> Path:
    """A screen recorder opens the microphone when the picture runs already."""
    first = round(0.48 * RATE) + PRIMING
    return write(folder / "screen_late_sound.mp4", even(), sound(SECONDS - 0.48), first=first)


def screen_obs(folder: Path) -> Path:
    """OBS: Matroska with B-frames, a track for the desktop's sound and one for the microphone."""
    path = folder / "screen_obs.mkv"
    with av.open(str(path), "w") as container:
        film = list(film_packets(container, even(60), Fraction(60), 2, "libx264", (64, 64), FPS))
        tracks = [list(sound_packets(container, pcm, RATE, "aac")) for pcm in (sound(), sound() // 2)]
        mux(container, film + tracks[0] + tracks[1])
    return path


def camera_dropped_frames(folder: Path) -> Path:
    """A camera at 29.97 fps loses seven frames, while the card is busy."""
    times = even(NTSC)
    return write(folder / "camera_dropped_frames.mp4", np.delete(times, range(40, 47)), sound(), fps=NTSC)


def stream_segment(folder: Path) -> Path:
    """The second segment of a stream (HLS), saved alone."""
    options = {"hls_time": "2", "hls_segment_filename": str(folder / "segment%d.ts")}
    write(folder / "list.m3u8", even(), sound(), format="hls", b_frames=2, **options)
    for other in ("list.m3u8", "segment0.ts"):
        (folder / other).unlink()
    return (folder / "segment1.ts").rename(folder / "stream_segment.ts")


def stream_cut(folder: Path) -> Path:
    """A transport stream that somebody cut in its middle: inside a group of pictures, inside an AAC frame."""
    path = write(folder / "stream_cut.ts", even(), sound(), b_frames=2)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 3 // TS_PACKET * TS_PACKET :])
    return path


def stream_cmaf(folder: Path) -> Path:
    """A film saved from a stream (CMAF): fragments, B-frames with offsets below 0."""
    flags = {"movflags": "+cmaf+delay_moov+frag_keyframe", "b_frames": 2}
    return write(folder / "stream_cmaf.mp4", even(), sound(), **flags)


RECORDINGS = (
    phone_variable_rate,
    phone_trimmed,
    phone_portrait,
    browser_recorder,
    browser_fragments,
    browser_call,
    screen_late_sound,
    screen_obs,
    camera_dropped_frames,
    stream_segment,
    stream_cut,
    stream_cmaf,
)
