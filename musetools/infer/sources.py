"""Live sources that may stall: read with a time limit, in a thread or in an event loop; nothing that comes is lost."""

import asyncio
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from numbers import Real
from queue import Empty, Full, Queue

import numpy as np

from musetools.errors import ParameterError, StreamError
from musetools.infer.pcm import checked_pcm

__all__ = ["Sources", "awaited"]

QUEUED = 8  # blocks that a source may be ahead of the stream
END = object()  # after a source's last block


def _checked_limit(stall_s: float | None) -> float | None:
    """Return how long a source may be silent, or say what is no such time."""
    if stall_s is None or (isinstance(stall_s, Real) and not isinstance(stall_s, bool) and stall_s > 0):
        return stall_s
    raise ParameterError(f"stall_s must be a number of seconds above zero, or None to wait for ever; got {stall_s!r}")


class Sources:
    """Reads sources one after the other; the one that has stalled is kept, for it may go on."""

    def __init__(self) -> None:
        self._stalled: _Reader | None = None

    def read(self, blocks: Iterable[np.ndarray], stall_s: float | None) -> Iterator[np.ndarray]:
        """Pass on a source's blocks; StreamError if it is silent for `stall_s` seconds. None waits for ever."""
        if _checked_limit(stall_s) is None:
            yield from blocks
            return
        reader = self._stalled if self._stalled and self._stalled.blocks is blocks else _Reader(blocks)
        try:
            yield from reader.read(stall_s)
        finally:
            self._stalled = reader if reader.stalled else None


class _Reader:
    """Reads one source in a thread; what comes after a stall waits for whoever reads on."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self.stalled = blocks, False
        self._iterator, self._queue = iter(blocks), Queue(QUEUED)
        self._next: tuple | None = None  # what has come and is not queued yet
        self._thread: threading.Thread | None = None

    def read(self, stall_s: float) -> Iterator[np.ndarray]:
        """Pass on its blocks; StreamError if it is silent for `stall_s` seconds."""
        self.stalled, left, heard = False, threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(left, self._thread), daemon=True)
        self._thread.start()
        try:
            while True:
                block, error = self._queue.get(timeout=max(0, heard + stall_s - time.monotonic()))
                if error:
                    break
                if block is END:
                    return
                yield block
                if checked_pcm(block).size:
                    heard = time.monotonic()
                elif time.monotonic() > heard + stall_s:  # a source that sends blocks without samples
                    raise Empty
        except Empty:
            self.stalled = True
            raise _stalled(stall_s) from None
        finally:
            left.set()
        raise error  # out here: it may itself be queue.Empty

    def _run(self, left: threading.Event, before: threading.Thread | None) -> None:
        """Queue blocks, then what ended them, as long as there is a reader."""
        if before:
            before.join()  # it may still wait for the block that came too late, and queues that first
        while not left.is_set():
            self._next = self._next or self._asked()
            try:
                self._queue.put(self._next, timeout=0.1)
            except Full:
                continue
            if self._next[0] is END:
                return
            self._next = None

    def _asked(self) -> tuple:
        try:
            return next(self._iterator, END), None
        except Exception as error:
            return END, error


async def awaited(blocks: AsyncIterable[np.ndarray], stall_s: float | None) -> AsyncIterator[np.ndarray]:
    """Pass on the blocks of an asynchronous source; StreamError if it is silent for `stall_s` seconds."""
    iterator, stall_s = aiter(blocks), _checked_limit(stall_s)
    while True:
        limit = asyncio.timeout(stall_s)
        try:
            async with limit:
                while not checked_pcm(block := await anext(iterator)).size:
                    pass
        except StopAsyncIteration:
            return
        except TimeoutError:
            if limit.expired():
                raise _stalled(stall_s) from None
            raise  # the source's own
        yield block


def _stalled(stall_s: float) -> StreamError:
    return StreamError(
        f"no audio came for {stall_s:g} s: the source has stalled. The stream is as it was: iterate over a source that "
        "goes on where this one stopped, flush() to end here, or reset()"
    )
