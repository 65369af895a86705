"""Extraction on a Ray cluster: the local pipeline, run on every machine on a few clips at a time.

Ray's processes keep their encoder and their decoders from task to task. Retries are ours, not Ray's: it would try a
clip that ends its process for ever.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType

import torch

from musetools.errors import AudioError, MissingExtraError, ParameterError
from musetools.features.encoder import Encoder
from musetools.files import sweep
from musetools.train.pipeline import Options, Pipeline, known_outcome
from musetools.train.report import Outcome
from musetools.train.sources import ClipSource
from musetools.train.store import FeatureStore
from musetools.train.stored import CLIPS

__all__ = ["connected", "made_on_ray"]

MOST_CLIPS = 32  # that a task takes
QUEUED = 2  # tasks for each encoder: one that runs and one that waits
DECODERS = 2  # for each encoder: one clip is encoded while the next is read
MOST_DEATHS = 3  # of processes that a clip is tried in


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Join a Ray cluster, or start one here, unless this process has done so; ParameterError if none answers."""
    try:
        import ray
    except ImportError:
        raise MissingExtraError("engine=\"ray\" needs Ray: pip install 'musetools[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address or "local", include_dashboard=False, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"no Ray cluster answers at {address!r} ({why}). Start one with `ray start --head`, or leave --address out "
            "to use this machine"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def made_on_ray(
    ray: ModuleType, todo: Sequence[ClipSource], store: FeatureStore, encoder: Encoder, options: Options
) -> Iterator[Outcome]:
    """Yield what becomes of each clip on a cluster that sees files and store under the same paths, in no fixed order.

    Paths must be absolute. A task takes a GPU and a CPU for each worker, or without GPUs as many CPUs as torch has
    threads here: the same number of threads gives the same bytes. Every encoder is kept busy, and no more than that.
    Clips whose task ended with its process or machine are tried again, alone.
    """
    gpus, cpus, workers = _needs(ray, options.workers)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=0)(_run)
    weights = [ray.put(encoder.to("cpu"))]  # in a list, so that a task fetches it once a process
    threads, device = torch.get_num_threads(), "cuda" if gpus else "cpu"
    how = (str(store.root.resolve()), encoder.fingerprint, device, threads, replace(options, workers=workers))
    waiting, running, deaths = deque(_parts(todo, _encoders(ray, cpus, gpus))), {}, Counter()
    try:
        while waiting or running:
            while waiting and len(running) < QUEUED * _encoders(ray, cpus, gpus):
                part = waiting.popleft()
                running[task.remote(how, weights, part)] = part
            (first, *_), _ = ray.wait(list(running))
            part = running.pop(first)
            try:
                outcomes = ray.get(first)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                deaths.update(part)
                waiting.extendleft([source] for source in part if deaths[source] < MOST_DEATHS)
                outcomes = [_lost(source, store, str(error)) for source in part if deaths[source] >= MOST_DEATHS]
            for outcome in outcomes:  # a clip is new that a task had added before it ended with its machine
                yield replace(outcome, there=False) if deaths[outcome.source] else outcome
    finally:
        for one in running:
            ray.cancel(one, force=True)
        sweep(store.root / CLIPS)  # what killed machines left
        store.manifest.refresh()


def _needs(ray: ModuleType, workers: int | None) -> tuple[int, int, int]:
    """Return the GPUs, the CPUs and the decoders of a task."""
    there = ray.cluster_resources()
    largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if not there.get("GPU"):
        return 0, max(1, int(min(largest, torch.get_num_threads()))), workers or DECODERS
    workers = workers or max(DECODERS, int(there.get("CPU", 0) // there["GPU"]))
    return 1, max(1, int(min(largest, workers))), workers


def _encoders(ray: ModuleType, cpus: int, gpus: int) -> int:
    """Return how many encoders the cluster has room for now: machines come and go."""
    there = ray.cluster_resources()
    return max(1, int(min(there.get("CPU", 0) // cpus, there.get("GPU", 0) if gpus else float("inf"))))


def _parts(todo: Sequence[ClipSource], n_encoders: int) -> Iterator[list[ClipSource]]:
    """Cut the clips into parts, of which every encoder gets several."""
    size = max(1, min(MOST_CLIPS, len(todo) // (4 * n_encoders)))
    return (list(todo[start : start + size]) for start in range(0, len(todo), size))


def _lost(source: ClipSource, store: FeatureStore, reason: str) -> Outcome:
    """Record a clip whose process has died too often, unless it was added all the same."""
    store.manifest.refresh()
    message = f"{source.path}: the process that extracts it has died {MOST_DEATHS} times: {reason.splitlines()[0]}"
    return known_outcome(store, source) or Outcome(source, AudioError(message))


# --- in Ray's processes


def _run(how: tuple, weights: list, part: list[ClipSource]) -> list[Outcome]:
    """Add some clips with this process's pipeline, which is made once."""
    if how not in _kept:
        import ray

        root, _, device, threads, options = how
        torch.set_num_threads(threads)
        store, encoder = FeatureStore.open(root), ray.get(weights[0]).to(device)
        store.check_provenance(encoder)
        while _kept:
            _kept.popitem()[1].close()
        _kept[how] = Pipeline(store, encoder, options)
    _kept[how].store.manifest.refresh()
    return list(_kept[how].run(part))


_kept: dict[tuple, Pipeline] = {}
