"""What `extract` reaches of what the encoder alone does on the same audio: ``python tests/benchmark_extract.py``.

Not a test: times are shown, not asserted. Both are measured in turns in one run, since machines are shared.
``--files N`` instead adds N tiny files to a store, and twice as many to another, and shows how time and memory grow.
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from checkpoints import small_weights
from media import speech, write_media
from stores import QUICK, resident_mib

import musetools as mt
from musetools.features.encoder import Encoder
from musetools.features.mel import normalised
from musetools.features.windows import MelWindows
from musetools.timing import SAMPLE_RATE

SUFFIXES = (".mp4", ".m4a", ".mp4", ".flac", ".mp3", ".wav")


def write_corpus(folder: Path, minutes: float) -> list[Path]:
    """Write clips of 5 to 65 s, a third of them mp4 with a picture."""
    dice, paths, total = np.random.default_rng(0), [], 0.0
    while total < 60 * minutes:
        seconds = float(dice.uniform(5, 65))
        pcm = np.concatenate([speech(12)] * 6)[: int(44_100 * seconds)]
        paths.append(folder / f"{len(paths):04d}{SUFFIXES[len(paths) % len(SUFFIXES)]}")
        write_media(paths[-1], pcm, 44_100)
        total += seconds
    return paths


def seconds_of(call: Callable[[], object]) -> np.ndarray:
    """Return wall time, and processor time of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    began, before = time.perf_counter(), [usage.ru_utime + usage.ru_stime for usage in spent]
    call()
    wall = time.perf_counter() - began
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([wall, *(u.ru_utime + u.ru_stime - b for u, b in zip(spent, before, strict=True))])


def mels_of(waveform: np.ndarray, spec: mt.FeatureSpec, encoder: Encoder) -> list[torch.Tensor]:
    """Return what the encoder sees of a clip."""
    loop = MelWindows(spec, encoder.n_mels)
    windows = [*loop.push(waveform), *loop.flush()]
    return [normalised(window.log_mel, window.log_mel.max()) for window in windows]


def throughput(folder: Path, minutes: float, turns: int, workers: int | None) -> None:
    encoder, spec = mt.load_encoder("tiny.en"), mt.FeatureSpec.named("musetools")
    paths = write_corpus(folder, minutes)
    waveforms = []
    _, decoding, _ = seconds_of(lambda: waveforms.extend(mt.load_audio(path) for path in paths))
    audio_s = sum(map(len, waveforms)) / SAMPLE_RATE
    print(f"{len(paths)} clips, {audio_s / 3600:.3f} h; {audio_s / decoding:.0f} h of audio decoded a core-hour")
    mels = [mel for waveform in waveforms for mel in mels_of(waveform, spec, encoder)]
    times = []
    for turn in range(turns):
        store = mt.FeatureStore.create(folder / f"store {turn}", spec, encoder)
        alone = seconds_of(lambda: [encoder.hidden_states(mel) for mel in mels])
        made = seconds_of(lambda s=store: mt.extract(paths, s, encoder, workers=workers, progress=False))
        assert len(store) == len(paths), store
        shutil.rmtree(store.root)
        times.append([alone, made])
        print(f"encoder alone {alone.round(1)} s, extract {made.round(1)} s (wall, processor, decoders' processor)")
    alone, made = np.median(times, axis=0)
    ratio = np.median([a[0] / m[0] for a, m in times])
    print(f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{audio_s / made[0]:.0f} times real time; {audio_s / made[1:].sum():.0f} h of audio a core-hour in all")
    print(f"extract reaches {ratio:.3f} of the encoder alone by the clock, {alone[1] / made[1]:.3f} by processor time")


def growth(folder: Path, n_files: int) -> None:
    encoder = Encoder("small", small_weights(), torch.device("cpu"), "float32")
    media = folder / "media"
    media.mkdir()
    path = write_media(folder / "tiny.wav", speech(0.1), 44_100)
    for number in range(2 * n_files):
        shutil.copy(path, media / f"{number:06d}.wav")
    shards = [{f.name: f for f in sorted(media.iterdir())[: n_files * k]} for k in (1, 2)]
    for sources in shards:
        store = mt.FeatureStore.create(folder / f"store of {len(sources)}", QUICK, encoder)
        added, cpu, _ = seconds_of(partial(mt.extract, sources, store, encoder, progress=False))
        again, *_ = seconds_of(partial(mt.extract, sources, store, encoder, progress=False))
        _, opened, _ = seconds_of(partial(mt.FeatureStore.open, store.root))
        print(
            f"{len(store)} files: {added:.0f} s ({cpu:.0f} s of processor time) to add them, {again:.1f} s to "
            f"find all there, {opened:.1f} s of processor time to open, {resident_mib():.0f} MiB resident"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--files", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.files:
            growth(Path(folder), given.files)
        else:
            throughput(Path(folder), given.minutes, given.turns, given.workers)
