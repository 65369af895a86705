"""Small media files with one fault each: what people send in, made by code, with the right values beside each."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from media import mux, picture, speech

RATE = 48_000
FRAME = 1024  # samples of an AAC packet


def pcm(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Give speech as 16-bit samples, (n_samples, n_channels)."""
    return np.repeat(np.resize(speech(6, rate, 1), (round(seconds * rate), 1)), channels, axis=1)


def sound(
    container: av.container.OutputContainer,
    codec: str,
    seconds: float,
    *,
    late_s: float = 0,
    drop: tuple[float, float] | None = None,
    layout: str = "mono",
    rate: int = RATE,
    default: bool = True,
    level: float = 1.0,
) -> Iterator[av.Packet]:
    """Encode speech whose packets are late, or missing between two times, by their time stamps."""
    stream = container.add_stream(codec, rate=rate, layout=layout)
    if not default:
        stream.disposition = 0
    stream.bit_rate = 128_000
    samples = (level * pcm(seconds, rate, stream.codec_context.layout.nb_channels)).astype(np.int16)
    packets = []
    for at in range(0, len(samples), FRAME):
        block = np.ascontiguousarray(samples[at : at + FRAME]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        packets += stream.encode(frame)
    for packet in [*packets, *stream.encode()]:
        at = packet.pts * packet.time_base
        if drop is None or not drop[0] <= at < drop[1]:
            shift = round(late_s / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            yield packet


def write(
    path: Path,
    *tracks: Callable[[av.container.OutputContainer], Iterator[av.Packet]],
    container_format: str | None = None,
    **options: str,
) -> Path:
    """Mux tracks in the order of their time stamps."""
    with av.open(str(path), "w", format=container_format, options=options) as container:
        mux(container, [packet for track in tracks for packet in track(container)])
    return path


def with_sound(path: Path, codec: str = "aac", video: str = "libx264", seconds: float = 3, **faults: object) -> Path:
    """Write a video whose sound has a fault."""
    options = {"live": "1"} if faults.pop("live", False) else {}
    start_s = faults.pop("picture_starts_s", 0)
    return write(
        path,
        lambda container: picture(container, seconds, video, start_s=start_s),
        lambda container: sound(container, codec, seconds, **faults),
        **options,
    )


def with_bad_packet(path: Path, at_s: float = 1.5) -> Path:
    """Write a video one of whose AAC packets is garbage."""
    with_sound(path)
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        bad = next(packet for packet in packets if packet.pts * packet.time_base >= at_s)
        place, size = bad.pos, bad.size
    content = bytearray(path.read_bytes())
    content[place : place + size] = b"\xff" * size
    path.write_bytes(content)
    return path


def wav_with_size(path: Path, declared: int, seconds: float = 2) -> Path:
    """Write a wav whose data chunk declares another size."""
    soundfile.write(path, pcm(seconds, 16_000), 16_000)
    riff = bytearray(path.read_bytes())
    riff[40:44] = declared.to_bytes(4, "little")
    if declared == 0xFFFFFFFF:  # as programs that write wav to a pipe do
        riff[4:8] = riff[40:44]
    path.write_bytes(riff)
    return path


def rifx(path: Path, seconds: float = 2) -> Path:
    """Write a wav in the other byte order."""
    soundfile.write(path, pcm(seconds, 16_000), 16_000, format="WAV", endian="BIG")
    return path
