"""Extractions on a real Ray cluster of two nodes on this machine: ``python two_nodes.py FOLDER``; prints JSON.

A process of its own, since Ray leaves threads, sockets and warnings behind.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import ray
import torch
from checkpoints import small_weights
from media import speech, write_media
from ray.cluster_utils import Cluster
from stores import QUICK, contents

from musetools import FeatureStore, extract
from musetools.features.encoder import Encoder

N_CLIPS, POISON_FRAMES = 40, 77


class Deadly(Encoder):
    """Ends its process at a clip of one length, as a lack of memory would; otherwise slow enough to be killed."""

    def hidden_states(self, mel, **how):
        if mel.shape[-1] == POISON_FRAMES:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)
        return super().hidden_states(mel, **how)


def encoder(kind: type[Encoder] = Encoder) -> Encoder:
    return kind("small", small_weights(), torch.device("cpu"), "float32")


def run(media: Path, root: Path, made_by: Encoder, **how) -> dict:
    """Extract into a new store; return what the report and the store say."""
    store = FeatureStore.create(root, QUICK, made_by)
    report = extract([media], store, made_by, progress=False, workers=1, **how)
    return {
        "added": sorted(report.added),
        "skipped": report.skipped,
        "failed": report.failed,
        "store": sorted(FeatureStore.open(root).clips),
        "lines": len((root / "manifest.jsonl").read_bytes().splitlines()),
        "ok": store.verify().ok and not store.verify().orphans,
        "contents": sum(map(hash, sorted_contents(root).items())),
    }


def sorted_contents(root: Path) -> dict[str, object]:
    found = contents(root)
    return {
        name: b"".join(sorted(content.splitlines())) if name == "manifest.jsonl" else content
        for name, content in found.items()
    }


def kill_when(root: Path, n_clips: int, kill: Callable[[], None]) -> int:
    """Wait until a store holds so many clips, kill, and return how many it holds then."""
    path = root / "manifest.jsonl"
    while not path.exists() or len(path.read_bytes().splitlines()) < n_clips:
        time.sleep(0.02)
    kill()
    return len(path.read_bytes().splitlines())


def nodes_alive(expected: int) -> int:
    """Count the nodes; Ray may take a while to see that one is gone."""
    for _ in range(300):
        if (alive := sum(node["Alive"] for node in ray.nodes())) == expected:
            break
        time.sleep(0.1)
    return alive


def two_nodes(tries: int = 3) -> tuple:
    """Start a cluster and connect to it; Ray gives a node 30 s to come up, which a busy machine may take."""
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=1, include_dashboard=False)
        ray.init(address=cluster.address, log_to_driver=False)  # while this node is alone: the other is to be killed
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
    except Exception:
        if tries == 1:
            raise
        ray.shutdown()
        cluster.shutdown()
        return two_nodes(tries - 1)
    return cluster, second


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    media, poisoned = Path("media"), Path("poisoned")  # below this folder, which is not that of Ray's processes
    for where in (media, poisoned):
        where.mkdir()
    for k in range(N_CLIPS):
        suffix = (".wav", ".flac", ".mp4")[k % 3]
        write_media(media / f"{k:02d}{suffix}", speech(0.4 + k % 5 / 10), 16_000)
    (media / "bad.wav").write_text("no sound")
    for k in range(6):
        write_media(poisoned / f"{k}.wav", speech(0.5), 16_000)
    write_media(poisoned / "poison.wav", speech(0.77, 16_000), 16_000)
    said = {"local": run(media, folder / "local", encoder())}

    cluster, second = two_nodes()
    said["nodes"] = nodes_alive(2)
    said["ray"] = run(media, folder / "ray", encoder(), engine="ray")
    said["poison"] = run(poisoned, folder / "poison", encoder(Deadly), engine="ray")
    with ThreadPoolExecutor(1) as pool:
        kill = partial(cluster.remove_node, second, allow_graceful=False)
        at = pool.submit(kill_when, folder / "killed", 6, kill)
        said["killed"] = run(media, folder / "killed", encoder(Deadly), engine="ray")
        said["killed at"] = at.result()
    said["nodes left"] = nodes_alive(1)
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
