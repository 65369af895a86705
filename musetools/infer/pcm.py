"""PCM as a live source sends it: checked, resampled without a seam, and watched for stalls."""

import asyncio
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from queue import Empty, Full, Queue

import numpy as np

from musetools.clock import SAMPLE_RATE
from musetools.decode import frame_of, planes_of_array
from musetools.errors import AudioError, ParameterError, StreamError
from musetools.resample import SoxrMono, SwresampleMono

__all__ = ["NON_FINITE", "PcmInput", "awaited", "watched"]

NON_FINITE = ("error", "silence")
QUEUED = 8  # blocks that a source may be ahead of the stream


class PcmInput:
    """Turns blocks of PCM into the 16 kHz waveform that `load_audio` makes of them in one piece.

    Parameters
    ----------
    sample_rate : int
        Samples a second of what is pushed.
    decoder : {"ffmpeg", "librosa"}
        Which resampler, see `load_audio`.
    non_finite : {"error", "silence"}
        What becomes of a block that holds NaN or infinity.
    """

    def __init__(self, sample_rate: int, decoder: str, non_finite: str):
        planes_of_array(np.empty(0, np.float32), sample_rate)  # raises for what is no rate
        if non_finite not in NON_FINITE:
            raise ParameterError(f"non_finite must be one of {', '.join(NON_FINITE)}; got {non_finite!r}")
        self.rate, self.decoder, self.non_finite = int(sample_rate), decoder, non_finite
        self.n_in = self.n_silenced = 0  # samples pushed so far, and those of them that were put to zero
        self._resampler = None
        if self.rate != SAMPLE_RATE:
            self._resampler = SoxrMono(self.rate) if decoder == "librosa" else SwresampleMono()

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take a block, return the samples at 16 kHz that are now certain; see `ChunkStream.push` for errors."""
        samples = self._finite(planes_of_array(checked_pcm(pcm), self.rate)[0])
        self.n_in += len(samples)
        if self._resampler is None or not len(samples):
            return samples
        if self.decoder == "librosa":
            return self._resampler.push(samples)
        return _joined(self._resampler.push(frame_of(samples[None], self.rate)))

    def flush(self) -> np.ndarray:
        """Return what the resampler still holds."""
        if self._resampler is None or not self.n_in:
            return _joined([])
        return self._resampler.flush() if self.decoder == "librosa" else _joined(self._resampler.push(None))

    def _finite(self, samples: np.ndarray) -> np.ndarray:
        bad = np.flatnonzero(~np.isfinite(samples))
        if not len(bad):
            return samples
        if self.non_finite == "silence":
            self.n_silenced += len(samples)
            return np.zeros_like(samples)
        first = self.n_in + int(bad[0])
        raise AudioError(
            f"sample {first} of the stream (at {first / self.rate:.3f} s) is not finite: its block of "
            f"{len(samples)} samples was not taken. reset() and start anew, or make the stream with non_finite='silence'"
        )


def checked_pcm(pcm: np.ndarray) -> np.ndarray:
    """Return mono PCM as an array, or say what else it is."""
    pcm = np.asarray(pcm)
    if pcm.ndim != 1 or not (pcm.dtype.kind == "f" or pcm.dtype == np.int16):
        raise ParameterError(
            f"a stream takes mono PCM, (n_samples,) of floats with full scale at 1 or of int16; got {pcm.dtype} "
            f"{pcm.shape}. Convert it first: numpy.frombuffer(data, 'int16'), or samples.mean(axis=0) of channels"
        )
    return pcm


def _joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.float32), *blocks])


# --- sources that may stall


def watched(blocks: Iterable[np.ndarray], stall_s: float | None) -> Iterator[np.ndarray]:
    """Pass on the blocks of a source that is read in a thread; StreamError if it is silent for `stall_s` seconds."""
    if stall_s is None:
        yield from blocks
        return
    queue, left = Queue(QUEUED), threading.Event()
    threading.Thread(target=_read, args=(blocks, queue, left), daemon=True).start()
    deadline = time.monotonic() + stall_s
    try:
        while True:
            block, error = queue.get(timeout=max(0, deadline - time.monotonic()))
            if error:
                raise error
            if block is None:
                return
            yield block
            if np.size(block):  # a source that sends blocks without samples has stalled as well
                deadline = time.monotonic() + stall_s
    except Empty:
        raise _stalled(stall_s) from None
    finally:
        left.set()


def _read(blocks: Iterable[np.ndarray], queue: Queue, left: threading.Event) -> None:
    """Queue a source's blocks, then what ended them, as long as there is a reader."""
    error, iterator = None, iter(blocks)
    while not left.is_set():
        try:
            block = next(iterator, None)
        except Exception as raised:
            block, error = None, raised
        while not left.is_set():
            try:
                queue.put((block, error), timeout=0.1)
                break
            except Full:
                continue
        if block is None:
            return


async def awaited(blocks: AsyncIterable[np.ndarray], stall_s: float | None) -> AsyncIterator[np.ndarray]:
    """Pass on the blocks of an asynchronous source; StreamError if it is silent for `stall_s` seconds."""
    iterator = aiter(blocks)
    while True:
        limit = asyncio.timeout(stall_s)
        try:
            async with limit:
                while not np.size(block := await anext(iterator)):
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
