"""What a check costs beside decoding the same clips, both in one run: ``python tests/benchmark_check.py``.

Not a test: times are shown, not asserted.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import av
from media import copied

import musetools as mt
from musetools.check.folder import audit_folder

TALKER = Path(__file__).resolve().parents[1] / "data" / "talker_25.mp4"


def enlarge(source: Path, path: Path, width: int, height: int) -> Path:
    """Write the clip again with other pixels and the same sound."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        picture, sound = new.add_stream("libx264", rate=25), new.add_stream_from_template(old.streams.audio[0])
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        for packet in old.demux(old.streams.video[0], old.streams.audio[0]):
            if packet.stream.type == "video":
                for frame in packet.decode():
                    new.mux(picture.encode(frame.reformat(width, height)))
            elif packet.dts is not None:
                packet.stream = sound
                new.mux(packet)
        new.mux(picture.encode())
    return path


def decode(paths: Iterable[Path], kinds: Iterable[str]) -> None:
    for path in paths:
        for kind in kinds:
            with av.open(str(path)) as clip:
                for _ in clip.decode(**{kind: 0}):
                    pass


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(source: Path, folder: Path, n_clips: int, seconds: float) -> dict[str, float]:
    """Return seconds a clip of both checks and of what they are compared with."""
    folder.mkdir()
    paths = [folder / f"{i:04d}.mp4" for i in range(n_clips)]
    for i, path in enumerate(paths):  # of other lengths, since a check remembers what it said of one length
        end_s = seconds - 0.04 * (i % 50)
        copied(source, path, keep=lambda packet, end_s=end_s: packet.dts * packet.time_base < end_s)
    work = {
        "decode sound and picture": lambda: decode(paths, ("audio", "video")),
        "load_audio": lambda: [mt.load_audio(path) for path in paths],
        "quick check": lambda: audit_folder(folder, quick=True),
        "full check": lambda: audit_folder(folder),
    }
    rounds = [{name: seconds_of(task) / n_clips for name, task in work.items()} for _ in range(3)]
    return {name: min(times[name] for times in rounds) for name in work}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audit_folder(TALKER)  # what is imported on first use is no part of it
        sources = {"192x192": TALKER, "640x360": enlarge(TALKER, folder / "large.mp4", 640, 360)}
        for size, source in sources.items():
            took = measure(source, folder / size, given.clips, given.seconds)
            print(size, *(f"  {what}: {1000 * each:.2f} ms a clip" for what, each in took.items()), sep="\n")
            print(f"  quick check / decoding: {took['quick check'] / took['decode sound and picture']:.3f}")
            print(f"  full check / load_audio: {took['full check'] / took['load_audio']:.3f}")


if __name__ == "__main__":
    main()
