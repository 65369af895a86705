"""Live sources that may stall: read with a time limit, in a thread or in an event loop; nothing that comes is lost."""

import asyncio
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from concurrent.futures import Future, wait
from numbers import Real

import numpy as np

from musetools.errors import ParameterError, StreamError
from musetools.infer.pcm import n_samples_of

__all__ = ["AwaitedSource", "WatchedSource", "checked_limit"]

END = object()  # after a source's last block


class WatchedSource:
    """A source whose blocks are awaited for a limited time; after a stall it can be read on.

    Each block is asked for in a thread of its own, since nothing else can be left while it waits. A block that comes
    too late is kept for whoever reads on.
    """

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self._iterator = blocks, iter(blocks)
        self._asked: Future | None = None

    @property
    def stalled(self) -> bool:
        """Whether a block was asked for that has not been handed out."""
        return self._asked is not None

    def read(self, stall_s: float | None) -> Iterator[np.ndarray]:
        """Yield the blocks; StreamError if no sample comes for `stall_s` seconds, where that is limited."""
        last = time.monotonic()
        while True:
            self._asked = self._asked or _in_thread(self._iterator)
            if not wait([self._asked], stall_s and max(0, last + stall_s - time.monotonic())).done:
                raise _stall_error(stall_s)
            asked, self._asked = self._asked, None
            if (block := asked.result()) is END:
                return
            yield block
            if n_samples_of(block):
                last = time.monotonic()
            elif stall_s and time.monotonic() > last + stall_s:  # a source that sends blocks without samples
                raise _stall_error(stall_s)


def _in_thread(iterator: Iterator[np.ndarray]) -> Future:
    """Ask an iterator for its next block, in a thread that no exit of the process waits for."""
    future: Future = Future()

    def ask() -> None:
        try:
            future.set_result(next(iterator, END))
        except BaseException as error:  # SystemExit and CancelledError too: who reads would wait for ever
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return future


class AwaitedSource:
    """An asynchronous source whose blocks are awaited for a limited time; after a stall it can be read on.

    The block that was asked for is not cancelled by a stall, which would end an asynchronous generator: it is kept for
    whoever reads on in the same event loop. In another one it can no longer come.
    """

    def __init__(self, blocks: AsyncIterable[np.ndarray]):
        self.blocks, self._iterator = blocks, aiter(blocks)
        self._asked: asyncio.Task | None = None

    @property
    def stalled(self) -> bool:
        """Whether a block was asked for that can still come."""
        asked = self._asked
        return asked is not None and not asked.cancelled() and asked.get_loop() is asyncio.get_running_loop()

    async def close(self) -> None:
        """Ask for nothing more: what comes from now on is left to other readers of the same device."""
        can_come, asked, self._asked = self.stalled, self._asked, None
        if can_come and asked.cancel():
            await asyncio.wait({asked})  # `await asked` would hide that whoever waits here is cancelled, too

    async def read(self, stall_s: float | None) -> AsyncIterator[np.ndarray]:
        """Yield the blocks that have samples; StreamError if none comes for `stall_s` seconds."""
        while True:
            asked = self._asked = self._asked or asyncio.ensure_future(_with_samples(self._iterator))
            try:
                done, _ = await asyncio.wait({asked}, timeout=stall_s)
            except asyncio.CancelledError:  # whoever reads is gone
                await self.close()
                raise
            if not done:
                raise _stall_error(stall_s)
            self._asked = None
            if (block := asked.result()) is END:
                return
            yield block


async def _with_samples(iterator: AsyncIterator[np.ndarray]) -> np.ndarray:
    """Return the next block that has samples; END after the last."""
    while (block := await anext(iterator, END)) is not END and not n_samples_of(block):
        await asyncio.sleep(0)  # a source that never waits would block the event loop, and so the limit
    return block


def checked_limit(stall_s: float | None) -> float | None:
    """Return how long a source may be silent, or say what is no such time."""
    if stall_s is None or (isinstance(stall_s, Real) and not isinstance(stall_s, bool) and stall_s > 0):
        return stall_s
    raise ParameterError(f"stall_s must be a number of seconds above zero, or None to wait for ever; got {stall_s!r}")


def _stall_error(stall_s: float) -> StreamError:
    return StreamError(
        f"no audio came for {stall_s:g} s: the source has stalled. The stream is as it was: iterate over a source that "
        "goes on where this one stopped, flush() to end here, or reset()"
    )
