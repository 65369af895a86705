"""Writes the matrix of clicks against flashes as a page: ``python tests/page_clicks.py docs/clicks.md``.

Needs the ffmpeg program, for two of its columns.
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

os.environ.setdefault("SVT_LOG", "0")  # an encoder that talks

from flashes import PAIRS, Pair, Stamps, click_times, stamps_of, write_flashes

from musetools import load_audio
from musetools.table import signed
from musetools.timing import SAMPLE_RATE

COLUMNS = ("timeline", "ffmpeg", "librosa", "program", "program by stamps")
BY_STAMPS = ("-af", "aresample=async=1:min_hard_comp=0.005:first_pts=0")
NEAR_MS = 1.0


def by_program(path: Path, *options: str) -> np.ndarray:
    """Decode as the ffmpeg program does."""
    made = ["-ac", "1", "-ar", str(SAMPLE_RATE), *options, "-f", "s16le", "-"]
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), *made], capture_output=True, check=False)
    return np.frombuffer(done.stdout, "<i2") / 32768


def row_of(path: Path, pair: Pair) -> tuple[Stamps, dict[str, float]]:
    """Return a clip's stamps and, for each column, the largest difference between click and flash, in ms."""
    stamps = stamps_of(write_flashes(path, pair), pair)
    sounds = {decoder: load_audio(path, decoder=decoder) for decoder in COLUMNS[:3]}
    sounds |= {"program": by_program(path), "program by stamps": by_program(path, *BY_STAMPS)}
    return stamps, {name: largest_ms(samples, stamps) for name, samples in sounds.items()}


def largest_ms(samples: np.ndarray, stamps: Stamps) -> float:
    """Return the largest difference; not a number where a click is missing."""
    if len(samples) < SAMPLE_RATE:
        return float("nan")
    late = 1000 * (click_times(samples, SAMPLE_RATE) - (stamps.flashes_s - stamps.zero_s))
    return float(late[np.abs(late).argmax()])


def sentences(rows: Iterable[tuple[Pair, Stamps, dict[str, float]]]) -> str:
    """Say what is seen."""
    rows = list(rows)
    seen = [(pair, stamps, late) for pair, stamps, late in rows if pair.picture]
    near = [late for _, _, late in seen if abs(late["timeline"]) < NEAR_MS]
    by_stamp = max(
        abs(late["timeline"] - stamps.offset_ms[np.abs(stamps.offset_ms).argmax()]) for _, stamps, late in rows
    )
    off = {name: [abs(late[name]) for *_, late in seen if not abs(late[name]) < NEAR_MS] for name in COLUMNS}
    counts = f"`ffmpeg` and `librosa` in {len(off['ffmpeg'])} and {len(off['librosa'])}"
    worst = max(off["ffmpeg"] + off["librosa"])
    elsewhere, alone = len(seen) - len(near), len(rows) - len(seen)
    return (
        f"By decoder `timeline` every click of {len(near)} of {len(seen)} clips with a picture lies within "
        f"{NEAR_MS:.0f} ms of its flash; in the other {elsewhere}, and in the {alone} of sound alone, it lies where "
        f"the file's own stamps put it (within {by_stamp:.2f} ms).\n"
        f"Decoders that count samples are off by more, {counts} clips, by up to {worst:.0f} ms; so is the ffmpeg "
        f"program in {len(off['program'])}, and in {len(off['program by stamps'])} where it is told to follow stamps."
    )


def page(rows: list[tuple[Pair, Stamps, dict[str, float]]]) -> str:
    """Return the page."""
    head = ["container", "sound", "picture", "stamps", *COLUMNS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 3 + "---:|" * (len(head) - 3)]
    for pair, stamps, late in rows:
        options = " ".join(value if len(value) > 1 else f"{name}={value}" for name, value in pair.options)
        container = f"{pair.suffix} ({options})" if options else pair.suffix
        rate = "" if pair.rate == 44_100 else f" {pair.rate} Hz"
        frames = f", {pair.b_frames} B-frames" if pair.b_frames else ""
        stamp = stamps.offset_ms[np.abs(stamps.offset_ms).argmax()]
        numbers = [signed(value, 1) if np.isfinite(value) else "–" for value in (stamp, *late.values())]
        lines.append(f"| {container} | {pair.sound}{rate} | {(pair.picture + frames) or '–'} | {' | '.join(numbers)} |")
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return "\n".join(
        [
            "# Clicks against flashes",
            "",
            sentences(rows),
            "",
            "Numbers are ms, the largest of four clicks, positive where the click is late against its flash (in sound "
            "alone: against its place before encoding). `stamps` is where the stamp of the decoded frame that holds "
            "the click puts it, read apart from musetools. `program` is `ffmpeg -i X -ac 1 -ar 16000` (version "
            f"{version}), `program by stamps` the same with `{' '.join(BY_STAMPS)}`. Files are made with PyAV "
            f"{av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}.",
            "",
            "Made by `python tests/page_clicks.py docs/clicks.md`; `tests/audio/test_clicks.py` asserts it.",
            "",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [(pair, *row_of(Path(folder) / f"clip.{pair.suffix}", pair)) for pair in PAIRS]
    given.page.parent.mkdir(exist_ok=True)
    given.page.write_text(page(rows), "utf-8")


if __name__ == "__main__":
    main()
