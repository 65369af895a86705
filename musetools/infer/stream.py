"""Endless audio in, chunks out: the window loop of `audio2feat`, pushed instead of pulled."""

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from musetools.chunks.rows import EDGES, checked_context, chunk_offsets
from musetools.errors import ParameterError, StreamError, one_of
from musetools.features.encoder import Encoder, as_encoder
from musetools.features.spec import EncoderWindow, FeatureSpec
from musetools.infer.frames import LiveFrames
from musetools.infer.live import ComputeTime, LiveChunk
from musetools.infer.pcm import PcmInput, checked_pcm
from musetools.infer.sources import AwaitedSource, WatchedSource, checked_limit
from musetools.recipes.contract import AudioContract, checked_contract
from musetools.table import ShownAsText
from musetools.timing import ROW_RATE, SAMPLE_RATE, exact_fps

if TYPE_CHECKING:
    import av

__all__ = ["ChunkStream"]


class ChunkStream(ShownAsText):
    """Cuts live audio into chunks, one per video frame, as soon as each is certain.

    It gives exactly what ``feature2chunks(audio2feat(audio, encoder, spec=stream.spec), fps, context)`` gives of the
    whole recording, each frame once, in order, however the audio is split into pushes. So a training set of live
    features is ``FeatureStore.create(root, "live", encoder)``. Memory does not grow with time.

    Parameters
    ----------
    encoder : Encoder, str or path
        An encoder, or what `load_encoder` takes.
    fps : float or Fraction
        Video frames per second, exactly: 29.97 is 30000/1001.
    context : (int, int), default (2, 2)
        Frames of audio, 40 ms each, left and right of a frame.
    window : str, EncoderWindow or FeatureSpec, default "live"
        How encoder passes slide: "live-low" (0.3 s behind the sound), "live" (0.6 s), "live-near" (1.6 s, nearest to
        offline features), "live-exact" (30.1 s: waits for its 30 s segment and equals "musetalk-v1.5"); a window of
        your own; or all that makes features.
    edge : {"clamp", "zeros", "drop"}
        What becomes of rows before the first and after the last, see `chunk_rows`.
    sample_rate : int, default 16000
        Samples a second of what is pushed; other rates are resampled as one piece.
    non_finite : {"error", "silence"}
        Whether a block that holds NaN, infinity or a sample beyond eight times full scale is an error, or is taken for
        silence of its length.

    Raises
    ------
    ParameterError
        If an argument is out of range, or the spec needs the whole file before its first row (``mel_peak="file"``).
    EncoderError
        If the encoder cannot be loaded.

    Examples
    --------
    >>> stream = ChunkStream("untrained-tiny", fps=25, window="live-low")
    >>> for frame, chunk in stream.push(np.zeros(16_000, np.float32)):
    ...     assert chunk.shape == (50, 384)
    """

    def __init__(
        self,
        encoder: str | os.PathLike | Encoder,
        fps: float | Fraction,
        context: tuple[int, int] = (2, 2),
        *,
        window: str | EncoderWindow | FeatureSpec = "live",
        edge: str = "clamp",
        sample_rate: int = SAMPLE_RATE,
        non_finite: str = "error",
    ):
        self.spec = _spec_of(window)
        self.fps, self.context = exact_fps(fps), checked_context(context)
        one_of("edge", edge, EDGES)
        self.edge, self.sample_rate, self.non_finite = edge, sample_rate, non_finite
        PcmInput(sample_rate, self.spec.decoder, non_finite)  # raises before weights are loaded
        self.encoder = as_encoder(encoder)
        self._source, self._awaited, self._busy = None, None, threading.Lock()
        self.reset()

    @classmethod
    def from_contract(
        cls, contract: AudioContract, encoder: Encoder | str, fps: float | Fraction | None = None, **options
    ) -> "ChunkStream":
        """Stream exactly what was trained on; ``contract.model_input`` adds the positional encoding to a chunk.

        Parameters
        ----------
        contract : AudioContract
            Of features that can be made live ("live", say).
        encoder : Encoder or str
            With the contract's weights; a name is passed to `load_encoder`.
        fps : float or Fraction, optional
            Frame rate; by default the one of training, where that had one.
        **options
            `sample_rate` and `non_finite`.

        Raises
        ------
        ContractError
            If the weights are others.
        ParameterError
            If training saw no clip of this frame rate, its features need the whole file, or it is no contract.
        """
        contract, encoder = checked_contract(contract), as_encoder(encoder)
        contract.check_encoder(encoder)
        fps, context = contract.checked_rate(fps), contract.settings.context
        return cls(encoder, fps, context, window=contract.spec, edge=contract.edge, **options)

    def reset(self) -> None:
        """Start anew with frame 0, whatever came before."""
        with self._busy:
            self._pcm = PcmInput(self.sample_rate, self.spec.decoder, self.non_finite)
            self.frames = LiveFrames(self.encoder, self.spec, self.fps, self.context, self.edge)
            self._ended = ""

    @property
    def latency_s(self) -> float:
        """Seconds after which a frame's chunk is certain, at most.

        Hop + look-ahead + right context, or until a slow frame is whole. A resampler adds its own: 5 ms at most; with
        the decoder "librosa" ("live-exact") 38 ms from 24 or 48 kHz, 117 ms from 8 kHz.
        """
        window, rows_a_frame = self.spec.window, ROW_RATE / self.fps
        encoded = Fraction(window.hop + window.right + int(chunk_offsets(self.context)[-1]), ROW_RATE)
        encoded += Fraction(self.frames.reach, SAMPLE_RATE)
        # a frame is whole when the row in which it ends is: at slow rates that may come later
        whole = (rows_a_frame + 1 - Fraction(1, rows_a_frame.denominator)) / ROW_RATE
        return float(max(encoded, whole))

    @property
    def compute(self) -> ComputeTime:
        """What the stream has cost so far."""
        return self.frames.compute

    @property
    def n_silenced(self) -> int:
        """Samples, at the rate of what is pushed, that were put to silence by `non_finite`."""
        return self._pcm.n_silenced

    @property
    def n_lost(self) -> int:
        """Samples of silence in the place of those that never came, by the time stamps of frames."""
        return self._pcm.n_lost

    @property
    def n_late(self) -> int:
        """Samples that were left out since their time had passed."""
        return self._pcm.n_late

    def push(self, pcm: "np.ndarray | bytes | av.AudioFrame") -> list[LiveChunk]:
        """Take the next samples, any number of them; return the frames that are now certain.

        Parameters
        ----------
        pcm : ndarray (n_samples,), bytes, or av.AudioFrame
            Mono, floats with full scale at 1 or int16; bytes are int16, little-endian. A frame, of one or two channels,
            lies where its time stamp says, counted from the first one's: what was lost before it is silence of its
            length, what came too late is left out, both from 5 ms on.

        Returns
        -------
        list of LiveChunk
            Pairs (frame, chunk), in order.

        Raises
        ------
        ParameterError
            If it is no such PCM, or of another rate; nothing was taken.
        AudioError
            If a sample is not finite or beyond eight times full scale, with its time, or time stamps jump by more than
            60 s; the stream then waits for `reset`, for what follows would be out of sync.
        StreamError
            If the stream has ended.
        """
        with self.taking(pcm) as waveform:
            return self.frames.push(waveform)

    @contextmanager
    def taking(self, pcm: "np.ndarray | bytes | av.AudioFrame") -> Iterator[np.ndarray]:
        """Give the 16 kHz samples that a push adds; inside, `frames` must take them."""
        pcm = checked_pcm(pcm, self.sample_rate)
        with self._running():
            yield self._pcm.push(pcm)

    def flush(self) -> list[LiveChunk]:
        """End the stream; return the last frames, their missing rows by the edge rule.

        Fewer than 400 samples in all, one analysis window, give none.
        """
        with self._running(then="it was flushed"):
            return self.frames.push(self._pcm.flush()) + self.frames.flush()

    def iterate(self, blocks: Iterable[np.ndarray], *, stall_s: float | None = None) -> Iterator[LiveChunk]:
        """Push every block of a source, yield frames as they become certain, flush at its end.

        Parameters
        ----------
        blocks : iterable
            PCM, as `push` takes it.
        stall_s : float, optional
            Seconds without a sample after which StreamError is raised; the source is then read in a thread. By default
            it is waited for. After a stall, iterating over the same source, with a limit or without, goes on with what
            came late.

        Notes
        -----
        Whoever stops iterating early, or cancels the task that does, gives up the frames of that push.
        """
        goes_on = self._source and self._source.blocks is blocks and self._source.stalled
        if checked_limit(stall_s) is not None or goes_on:
            self._source = self._source if goes_on else WatchedSource(blocks)
            blocks = self._source.read(stall_s)
        try:
            for block in blocks:
                yield from self.push(block)
        finally:
            if self._source and not self._source.stalled:
                self._source = None  # so that a device is closed by whoever leaves it
        yield from self.flush()

    async def aiterate(
        self, blocks: AsyncIterable[np.ndarray], *, stall_s: float | None = None
    ) -> AsyncIterator[LiveChunk]:
        """Do as `iterate` for an asynchronous source; the encoder works in a thread, so the event loop stays free."""
        stall_s = checked_limit(stall_s)
        if not (self._awaited and self._awaited.blocks is blocks and self._awaited.stalled):
            if self._awaited:
                await self._awaited.close()
            self._awaited = AwaitedSource(blocks)
        try:
            async for block in self._awaited.read(stall_s):
                for live in await asyncio.to_thread(self.push, block):
                    yield live
        finally:
            if self._awaited and not self._awaited.stalled:
                self._awaited = None  # as above
        for live in await asyncio.to_thread(self.flush):
            yield live

    @contextmanager
    def _running(self, then: str = "") -> Iterator[None]:
        """Let nothing be taken after the end, after a push that failed half way, or while another thread pushes."""
        with self._busy:
            if self._ended:
                raise StreamError(f"this stream has ended: {self._ended}. reset() starts it anew")
            self._ended = f"an error after {self._pcm.n_in / self._pcm.rate:.3f} s"
            yield
            self._ended = then

    def __repr__(self) -> str:
        how = f"{float(self.fps):.6g} fps, context {self.context}, {self.spec.window}, {self.sample_rate} Hz"
        so_far = f"{self.frames.next_frame} frames so far: {self.compute}"
        return f"ChunkStream({how}, {self.latency_s:.2f} s behind; {so_far})"


def _spec_of(window: str | EncoderWindow | FeatureSpec) -> FeatureSpec:
    spec = FeatureSpec(window=window) if isinstance(window, EncoderWindow) else FeatureSpec.named(window)
    if spec.mel_peak != "window":
        raise ParameterError(
            "a stream cannot know the whole file's peak before its end: choose a spec with mel_peak='window', such as "
            f"'live'; got {spec}"
        )
    return spec
