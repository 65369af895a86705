"""Many live streams at once: the windows that one round of pushes completes are encoded in batches."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np

from musetools.errors import MusetoolsError, ParameterError
from musetools.features.extract import encode_batch
from musetools.infer.frames import push_together
from musetools.infer.live import LiveChunk
from musetools.infer.stream import ChunkStream

__all__ = ["push_many"]


def push_many(
    streams: Sequence[ChunkStream], blocks: Sequence["np.ndarray | bytes"]
) -> list[list[LiveChunk] | MusetoolsError]:
    """Push a block into each of many streams and encode what all of them complete in batches.

    Parameters
    ----------
    streams : sequence of ChunkStream
        Different ones, with one encoder and one spec; frame rates, contexts and sample rates may differ.
    blocks : sequence
        For each stream what `ChunkStream.push` takes.

    Returns
    -------
    list
        For each stream what `ChunkStream.push` returns, within rounding, or the error that it would raise: one
        stream's bad block costs the others nothing.

    Raises
    ------
    ParameterError
        If there are not as many blocks as streams, a stream is named twice, or encoders or specs differ.
    """
    n_different = len({id(stream) for stream in streams})
    if not len(streams) == len(blocks) == n_different:
        got = f"{n_different} different streams, {len(blocks)} blocks"
        raise ParameterError(f"each stream takes one block; got {got}. Pair them")
    if len({(id(stream.encoder), stream.spec) for stream in streams}) > 1:
        raise ParameterError("streams in one batch share one encoder and one spec: make them with the same two")
    results: list[list[LiveChunk] | MusetoolsError] = [[] for _ in streams]
    with ExitStack() as running:
        taken: dict[int, np.ndarray] = {}
        for number in sorted(range(len(streams)), key=lambda number: id(streams[number])):  # one order in all threads
            try:
                taken[number] = running.enter_context(streams[number].taking(blocks[number]))
            except MusetoolsError as error:
                results[number] = error
        frames = [streams[number].frames for number in taken]
        encode = partial(encode_batch, streams[0].encoder, streams[0].spec) if taken else list
        for number, live in zip(taken, push_together(frames, list(taken.values()), encode), strict=True):
            results[number] = live
    return results
