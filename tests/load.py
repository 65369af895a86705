"""Everything at once for minutes: ``python tests/load.py --minutes 10``.

One process extracts clips into a new store again and again, one trains epochs with two workers, one pushes four live
streams, whose chunks it compares with offline ones. What each gets in all its rounds must be one result. Memory is that
of each process and its children.
"""

import argparse
import hashlib
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
from media import speech as recorded
from media import write_media
from oracles import speech
from torch.utils.data import DataLoader

import musetools as mt

N_CLIPS, SUFFIXES, FPS, STREAMS = 12, (".wav", ".mp4", ".m4a", ".flac"), 25, 4
SETTLED_S = 60  # after which memory counts


def extracting(folder: Path) -> Iterator[str]:
    encoder, number = mt.load_encoder("tiny.en"), 0
    while True:
        store = mt.FeatureStore.create(folder / f"store {number}", "musetools", encoder)
        report = mt.extract(folder / "media", store, encoder, progress=False)
        assert len(store) == report.found == N_CLIPS, report
        files = sorted((clip, store.record(clip).sha256) for clip in store)
        shutil.rmtree(store.root)
        number += 1
        yield hashlib.sha256(repr(files).encode()).hexdigest()


def training(folder: Path) -> Iterator[str]:
    dataset = mt.ChunkDataset(mt.FeatureStore.open(folder / "store"), FPS)
    while True:
        seen = np.zeros(len(dataset), np.float32)
        first = 0
        for batch in DataLoader(dataset, batch_size=64, num_workers=2):
            seen[first : first + len(batch["audio"])] = batch["audio"].numpy().sum((1, 2))
            first += len(batch["audio"])
        assert first == len(dataset), first
        yield hashlib.sha256(seen.tobytes()).hexdigest()


def live(folder: Path) -> Iterator[str]:
    encoder, sound = mt.load_encoder("tiny.en"), speech(10 * 16_000)
    expected = mt.feature2chunks(mt.audio2feat((sound, 16_000), encoder, spec="live"), FPS)
    while True:
        streams = [mt.ChunkStream(encoder, FPS) for _ in range(STREAMS)]
        frames = [0] * STREAMS
        blocks = [sound[i : i + 10_240] for i in range(0, len(sound), 10_240)]
        for block in [*blocks, None]:
            for k, stream in enumerate(streams):
                for frame, chunk in stream.flush() if block is None else stream.push(block):
                    assert frame == frames[k]
                    np.testing.assert_allclose(chunk, expected[frame], rtol=0, atol=1e-3)
                    frames[k] += 1
        assert frames == [len(expected)] * STREAMS
        yield "equal"


def run(work: Callable[[Path], Iterator[str]], folder: Path, told: multiprocessing.Queue) -> None:
    for digest in work(folder):
        told.put((work.__name__, digest))


def mib(process: psutil.Process) -> float:
    every = [process, *process.children(recursive=True)]
    return sum(one.memory_full_info().uss for one in every if one.is_running()) / 2**20


def main(minutes: float, folder: Path) -> None:
    (folder / "media").mkdir()
    for i in range(N_CLIPS):
        pcm = np.concatenate([recorded(12)] * 4)[: 44_100 * (5 + 3 * i)]
        write_media(folder / "media" / f"{i:02d}{SUFFIXES[i % 4]}", pcm, 44_100)
    encoder = mt.load_encoder("tiny.en")
    store = mt.FeatureStore.create(folder / "store", "musetools", encoder)
    mt.extract(folder / "media", store, encoder, progress=False)
    context = multiprocessing.get_context("spawn")
    told, works = context.Queue(), (extracting, training, live)
    processes = [context.Process(target=run, args=(work, folder, told)) for work in works]
    for process in processes:
        process.start()
    watched = {work.__name__: psutil.Process(one.pid) for work, one in zip(works, processes, strict=True)}
    rounds, memory = {name: [] for name in watched}, {name: [] for name in watched}
    began = time.monotonic()
    while (at := time.monotonic() - began) < 60 * minutes:
        time.sleep(2)
        while not told.empty():
            name, digest = told.get()
            rounds[name].append(digest)
        assert all(process.is_alive() for process in processes), [process.exitcode for process in processes]
        for name, process in watched.items() if at > SETTLED_S else ():
            try:
                memory[name].append(mib(process))
            except psutil.Error:  # a child that has just ended
                continue
    for process in watched.values():
        for one in [*process.children(recursive=True), process]:
            one.kill()
    for name, digests in rounds.items():
        half = len(memory[name]) // 2
        first, second = (max(part, default=0) for part in (memory[name][:half], memory[name][half:]))
        print(
            f"{name}: {len(digests)} rounds, {len(set(digests))} different results; "
            f"at most {first:.0f} MiB in the first half, {second:.0f} in the second"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    with tempfile.TemporaryDirectory() as place:
        main(parser.parse_args().minutes, Path(place))
