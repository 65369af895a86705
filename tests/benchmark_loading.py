"""Loader throughput as a ratio to the one-npy-a-frame layout, both in one run: ``python tests/benchmark_loading.py``.

Not a test: times are shown, not asserted.
"""

import argparse
import tempfile
from pathlib import Path

import musetools as mt
from musetools.lab.storage import FrameFiles, fill_store, loading_rate, resident_growth
from musetools.train.layouts import export_frame_files

ROOT = Path(__file__).resolve().parents[1]


def measure(folder: Path, n_clips: int, seconds: float, n_samples: int) -> dict[str, float]:
    """Return samples per second of the baseline and of stores in float32 and float16, and the memory of an epoch."""
    encoder = mt.load_encoder("untrained-tiny")
    features, rates = mt.audio2feat(ROOT / "data" / "speech.flac", encoder), {}
    for dtype in ("float32", "float16"):
        store = mt.FeatureStore.create(folder / dtype, "musetalk-v1", encoder, dtype=dtype)
        fill_store(store, features, n_clips, seconds)
        dataset = mt.ChunkDataset(store)
        if dtype == "float32":
            export_frame_files(store, folder / "frames")
            rates["one npy a frame"] = loading_rate(FrameFiles(folder / "frames"), min(n_samples, 20_000))
            rates["MiB more resident after an epoch"] = resident_growth(lambda d=dataset: loading_rate(d, len(d)))
        rates[dtype] = loading_rate(dataset, n_samples)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--samples", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(Path(folder), given.clips, given.seconds, given.samples)
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f} ({rate / rates['one npy a frame']:.1f} times the baseline)")


if __name__ == "__main__":
    main()
