"""Make every sample in this folder from nothing: spoken sentences, a drawn face, and its true mouth openings.

``python data/make.py`` writes beside this script, ``--out DIR`` elsewhere. What is said and how, and how far the mouth
opens, is the rule of `musetools.lab.talker`. A waveform is a float array, ``(samples,)`` or ``(samples, channels)``.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from musetools.errors import ParameterError
from musetools.lab.talker import RATE, VOICES, openings, speak, to_16_bit

PAL, NTSC = Fraction(25), Fraction(30000, 1001)
SIZE = 192

SKY, SHIRT, HAIR, SKIN, SHADE, BLUSH = "#cfe8f3", "#3f7cac", "#5b3a29", "#f6c9a0", "#e9ad80", "#f4ae95"
WHITE, INK, LIPS, THROAT, TONGUE = "#ffffff", "#2b2b35", "#c8524f", "#571a22", "#e88080"

# Nothing that varies from run to run may reach the files: no dates, no thread timing.
STEADY = {"fflags": "+bitexact"}
MP4 = STEADY | {"movflags": "+faststart"}
# Without B-frames, decoding order is showing order, so readers that ignore edit lists are right as well.
X264 = {"crf": "26", "preset": "slow", "tune": "animation", "bf": "0", "g": "48", "threads": "1", "flags": "+bitexact"}

SPEECH = (
    "en-us",
    "Hello! I am a small drawn face. Watch my mouth: it opens on loud sounds, and it rests when I pause. "
    "Now, count with me. One, two, three.",
)


def draw_face(opening: float, eyes: float = 1.0, caption: str = "") -> Image.Image:
    """Draw the talker, 192 x 192 pixels.

    Parameters
    ----------
    opening, eyes : float
        How far the mouth and the eyes are open, 0..1.
    caption : str
        Small text in the top left corner.
    """
    fine = 4  # drawn larger and shrunk, for PIL has no smooth edges of its own
    image = Image.new("RGB", (SIZE * fine, SIZE * fine), SKY)
    draw = ImageDraw.Draw(image)
    for x, y, width, height, colour in _face_ovals(opening, eyes):
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        draw.ellipse([fine * side for side in box], fill=colour)
    draw.text((5 * fine, 3 * fine), caption, fill=INK, font=ImageFont.load_default(9 * fine))
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)


def _face_ovals(opening: float, eyes: float) -> Iterator[tuple[float, float, float, float, str]]:
    """Yield the ovals of the face from back to front: centre x, centre y, width, height, colour."""
    yield from ((96, 202, 150, 60, SHIRT), (96, 88, 128, 138, HAIR), (96, 168, 44, 44, SHADE))
    yield from ((37, 104, 18, 28, SHADE), (155, 104, 18, 28, SHADE), (96, 104, 114, 140, SKIN))
    yield from ((96, 138, 60, 20, LIPS), (96, 134, 66, 21, SKIN))  # what is left of the first is a smile
    for x in (70, 122):
        yield from ((x, 71, 28, 14, HAIR), (x, 75, 32, 15, SKIN), (x, 122, 20, 11, BLUSH))
        yield from ((x, 88, 24, 2 + 20 * eyes, INK), (x, 88, 21, 18 * eyes, WHITE))
        yield from ((x, 88, 13, 15 * eyes, INK), (x + 2, 86, 4, 4 * eyes, WHITE))
    yield (96, 109, 12, 16, SHADE)
    yield from ((96, 144, 50, 8 + 32 * opening, LIPS), (96, 144, 41, 1.5 + 32 * opening, THROAT))
    yield (96, 144 + 10 * opening, 26, 11 * opening, TONGUE)


def eyes_at(time_s: float) -> float:
    """Return how far the eyes are open: they blink for a quarter of a second, every three seconds and a bit."""
    return min(1.0, max(0.0, 10 * abs(time_s % 3.3 - 1.7) - 0.4))


def write_talker(path: Path, waveform: np.ndarray, mouth: Iterable[float], fps: Fraction) -> None:
    """Write a video of the drawn face, one frame for each opening, together with its sound.

    Parameters
    ----------
    path : Path
        The mp4 file: H.264 and AAC.
    waveform : np.ndarray
        The sound, at 44.1 kHz.
    mouth : iterable of float
        The opening of each frame, as `openings` gives it.
    fps : Fraction
        Frames per second.
    """
    with av.open(path, "w", options=MP4) as clip:
        video = clip.add_stream("libx264", rate=fps, width=SIZE, height=SIZE, pix_fmt="yuv420p", options=X264)
        packets = [packet for frame in _video_frames(mouth, fps) for packet in video.encode(frame)]
        packets += video.encode() + _sound_packets(clip, waveform, "aac", 64000)
        clip.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))


def _video_frames(mouth: Iterable[float], fps: Fraction) -> Iterator[av.VideoFrame]:
    """Yield the stamped video frames of a mouth that moves."""
    for number, opening in enumerate(mouth):
        time_s = float(number / fps)
        face = draw_face(opening, eyes_at(time_s), f"{number:03d}  {time_s:.3f} s")
        frame = av.VideoFrame.from_image(face)
        frame.pts, frame.time_base = number, 1 / fps
        yield frame


def write_sound(path: Path, waveform: np.ndarray, codec: str, bit_rate: int = 0) -> None:
    """Write a waveform alone, in the container that the file name asks for; lossless codecs need no bit rate."""
    with av.open(path, "w", options=MP4 if codec == "aac" else STEADY) as sound:
        sound.mux(_sound_packets(sound, waveform, codec, bit_rate))


def _sound_packets(
    container: av.container.OutputContainer, waveform: np.ndarray, codec: str, bit_rate: int
) -> list[av.Packet]:
    """Add a sound stream to an open container and return all its packets."""
    layout = "mono" if waveform.ndim == 1 else "stereo"
    stream = container.add_stream(codec, rate=RATE, layout=layout, bit_rate=bit_rate, options={"flags": "+bitexact"})
    pcm = np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    return stream.encode(frame) + stream.encode()


def write_table(path: Path, mouth: Iterable[float], fps: Fraction) -> None:
    """Write the true opening of each frame as csv."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["frame", "time_s", "opening"])
        table.writerows([n, f"{float(n / fps):.6f}", f"{opening:.4f}"] for n, opening in enumerate(mouth))


def make_speech(out: Path) -> None:
    """Make the stereo speech and the two videos of it."""
    voice, text = SPEECH
    left = speak(text, voice)
    stereo = to_16_bit(np.stack([left, 0.8 * left], axis=1))
    write_sound(out / "speech.flac", stereo, "flac")
    for name, fps in (("talker_25", PAL), ("talker_2997", NTSC)):
        mouth = openings(stereo, RATE, fps)
        write_talker(out / f"{name}.mp4", stereo, mouth, fps)
        write_table(out / f"{name}.csv", mouth, fps)


def make_voices(out: Path) -> None:
    """Make the three longer mono voices."""
    for name, (voice, text) in VOICES.items():
        waveform = speak(text, voice)
        write_sound(out / f"{name}.m4a", waveform, "aac", 48000)
        write_table(out / f"{name}.csv", openings(waveform, RATE, PAL), PAL)


def main() -> None:
    """Make all samples."""
    parser = argparse.ArgumentParser(description="Make the sample media of musetools.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    try:
        make_speech(out)
        make_voices(out)
    except ParameterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
