"""Waveform in, feature rows out: one loop over encoder windows, of which every published pipeline is a special case."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from musetools.audio.buffer import joined
from musetools.audio.container import name_of
from musetools.audio.decode import Source
from musetools.audio.load import audio_blocks
from musetools.errors import AudioError
from musetools.features.encoder import Encoder, as_encoder
from musetools.features.mel import N_FFT, normalised
from musetools.features.spec import FeatureSpec
from musetools.features.windows import MelWindow, MelWindows
from musetools.files import replacing, save_rows
from musetools.timing import MEL_PER_ROW
from musetools.worker import Ahead

__all__ = ["FeatureRows", "audio2feat", "encode_batch", "encode_in_batches", "encode_window"]

Mark = TypeVar("Mark")  # says whose a window is

BATCH_BYTES = 2**28  # of a GPU's states: 23 windows of tiny, one of large
AHEAD = 64  # windows that are decoded before a GPU asks for them: 1 MB each


def audio2feat(
    source: Source,
    encoder: str | os.PathLike | Encoder = "tiny",
    *,
    spec: str | FeatureSpec = "musetools",
    out: str | os.PathLike | None = None,
) -> np.ndarray:
    """Turn audio into feature rows, 50 a second.

    Parameters
    ----------
    source : path, binary file, or (array, sample_rate)
        See `load_audio`. It is read once, in blocks.
    encoder : Encoder, str or path, default "tiny"
        An encoder, or what `load_encoder` takes.
    spec : FeatureSpec or str, default "musetools"
        How features are made.
    out : path, optional
        A ``.npy`` file to which rows are written as they come, so that memory stays flat however long the audio is. It
        appears under its name when it is whole.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_layers, width)
        With ``n_rows = n_samples // 320``, or, with ``keep_padding``, the rows of whole hops, of padding too.
        With `out`, the finished file, mapped read-only.

    Raises
    ------
    AudioError
        If the audio cannot be trusted (see `load_audio`) or is shorter than 400 samples, one analysis window.
    EncoderError, ParameterError
        If the encoder cannot be loaded, or an argument is unknown.
    OutputError
        If `out` cannot be written; what stood there before is kept.

    Notes
    -----
    "musetalk-v1" gives the values of ``Audio2Feature.audio2feat`` (``musetalk/whisper/audio2feature.py``),
    "musetalk-v1.5" those of ``whisper_feature`` in ``AudioProcessor.get_whisper_chunk``
    (``musetalk/utils/audio_processor.py``), both of TMElyralab/MuseTalk.
    """
    spec = FeatureSpec.named(spec)
    encoder = as_encoder(encoder)
    rows = FeatureRows(source, encoder, spec)
    if out is None:
        return rows.array()
    with replacing(out) as file:
        save_rows(file, rows, (encoder.n_layers, encoder.width))
    return np.load(out, mmap_mode="r", allow_pickle=False)


def encode_window(encoder: Encoder, spec: FeatureSpec, window: MelWindow) -> np.ndarray:
    """Encode one window and keep its own rows, shape (n_kept, n_layers, width)."""
    return next(_kept([window], _states(encoder, spec, [window]).cpu()))


def encode_batch(encoder: Encoder, spec: FeatureSpec, windows: list[MelWindow]) -> list[np.ndarray]:
    """Encode windows of different streams, those of one length at once; return each one's own rows."""
    alike: dict[int, list[int]] = {}
    for i, window in enumerate(windows):
        alike.setdefault(_length(spec, window), []).append(i)
    rows: dict[int, np.ndarray] = {}
    for length, numbers in alike.items():
        most = _most_windows(encoder, -(-length // MEL_PER_ROW))
        for some in (numbers[i : i + most] for i in range(0, len(numbers), most)):
            chosen = [windows[i] for i in some]
            rows |= zip(some, _kept(chosen, _states(encoder, spec, chosen).cpu()), strict=True)
    return [rows[i] for i in range(len(windows))]


def _most_windows(encoder: Encoder, n_rows: int) -> int:
    """Return how many windows of so many rows fill a GPU without filling its memory."""
    return max(1, BATCH_BYTES // (4 * n_rows * encoder.n_layers * encoder.width))


def encode_in_batches(
    encoder: Encoder, spec: FeatureSpec, windows: Iterator[tuple[Mark, MelWindow | None]]
) -> Iterator[tuple[Mark, np.ndarray | None]]:
    """Encode windows of any number of clips on a GPU; yield each mark with its rows, in order, and None with None.

    While the GPU computes a batch, a thread makes the next one's windows and the last one is copied out. Never run on a
    GPU so far, since none was at hand; its batches are tested on a CPU.
    """
    before: list[tuple[Mark, MelWindow | None]] = []
    wait: Callable[[], torch.Tensor] | None = None
    with closing(Ahead(windows, AHEAD)) as ahead:
        for batch in _batches(ahead, encoder, spec):
            to_encode = _windows_of(batch)
            after = _fetched(_states(encoder, spec, to_encode)) if to_encode else None
            yield from _with_rows(before, wait)
            before, wait = batch, after
    yield from _with_rows(before, wait)


def _batches(
    marked: Iterable[tuple[Mark, MelWindow | None]], encoder: Encoder, spec: FeatureSpec
) -> Iterator[list[tuple[Mark, MelWindow | None]]]:
    """Gather windows of one length that follow each other, as many as make a batch."""
    most = _most_windows(encoder, encoder.max_rows)
    batch: list[tuple[Mark, MelWindow | None]] = []
    for mark, window in marked:
        others = _windows_of(batch)
        if window and others and (len(others) == most or _length(spec, window) != _length(spec, others[0])):
            yield batch
            batch = []
        batch.append((mark, window))
    if batch:
        yield batch


def _windows_of(batch: list[tuple[Mark, MelWindow | None]]) -> list[MelWindow]:
    return [window for _, window in batch if window]


def _with_rows(
    batch: list[tuple[Mark, MelWindow | None]], wait: Callable[[], torch.Tensor] | None
) -> Iterator[tuple[Mark, np.ndarray | None]]:
    rows = _kept(_windows_of(batch), wait()) if wait else iter(())
    for mark, window in batch:
        yield mark, next(rows) if window else None


def _length(spec: FeatureSpec, window: MelWindow) -> int:
    """Return how many mel frames the encoder is given."""
    return max(window.log_mel.shape[-1], 2 * spec.window.pad_to if spec.padding == "mel" else 0)


def _states(encoder: Encoder, spec: FeatureSpec, windows: list[MelWindow]) -> torch.Tensor:
    """Encode windows of one length; shape (n_windows, n_rows, n_layers, width)."""
    mels = [normalised(w.log_mel, w.log_mel.max() if w.peak is None else w.peak) for w in windows]
    mels = [F.pad(mel, (0, _length(spec, w) - mel.shape[-1])) for mel, w in zip(mels, windows, strict=True)]
    mel = torch.stack(mels) if len(mels) > 1 else mels[0]
    position = windows[0].first_row if spec.window.positions == "clip" else 0
    if spec.window.positions == "clip" and len(windows) > 1:
        position = torch.tensor([window.first_row for window in windows], device="cpu")
    if encoder.device.type == "cuda":  # from pinned memory, so that the processor goes on with the next windows
        mel = mel.pin_memory().to(encoder.device, non_blocking=True)
        position = position.pin_memory() if isinstance(position, torch.Tensor) else position
    return encoder.hidden_states(mel, first_position=position, final_norm=spec.final_norm)


def _kept(windows: list[MelWindow], states: torch.Tensor) -> Iterator[np.ndarray]:
    """Yield each window's own rows; a view would hold all of its states, 18 times as many where windows overlap."""
    for window, one in zip(windows, states, strict=True):
        rows = one[window.skip : window.skip + window.keep]
        yield (rows if len(rows) == len(one) else rows.clone()).numpy()


def _fetched(states: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Start to copy a GPU's states into pinned memory; return what waits for them."""
    host = torch.empty(states.shape, dtype=states.dtype, device="cpu", pin_memory=True)
    host.copy_(states, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(states.device))  # which may be another GPU than the current one

    def wait() -> torch.Tensor:
        done.synchronize()
        return host.clone()  # pinned memory is scarce: it goes back at once

    return wait


class FeatureRows:
    """What `audio2feat` returns, window by window as it comes; iterate once.

    `shortest` is the fewest samples at 16 kHz that are taken for audio; `blocks` are the source's waveform, where it is
    being decoded already. `n_samples` is known when all is iterated.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoder,
        spec: FeatureSpec,
        *,
        shortest: int = N_FFT,
        blocks: Iterable[np.ndarray] | None = None,
    ):
        self.source, self.encoder, self.spec, self.shortest = source, encoder, spec, shortest
        self._blocks = audio_blocks(source, decoder=spec.decoder) if blocks is None else blocks
        self._loop = MelWindows(spec, encoder.n_mels)

    @property
    def n_samples(self) -> int:
        """Samples decoded so far."""
        return self._loop.n_samples

    def __iter__(self) -> Iterator[np.ndarray]:
        if self.encoder.in_batches:
            marked = ((None, window) for window in self.windows())
            return (rows for _, rows in encode_in_batches(self.encoder, self.spec, marked))
        return (encode_window(self.encoder, self.spec, window) for window in self.windows())

    def array(self) -> np.ndarray:
        """Return all of it as one array."""
        return joined(self).reshape(-1, self.encoder.n_layers, self.encoder.width)

    def windows(self) -> Iterator[MelWindow]:
        """Yield the windows that give rows, each when the file's peak is known, where that is asked for."""
        windows = self._windows()
        with tempfile.SpooledTemporaryFile(max_size=2**20) as spool:
            if self.spec.mel_peak == "file":
                windows = _with_peak(windows, spool)
            yield from (window for window in windows if window.keep)

    def _windows(self) -> Iterator[MelWindow]:
        for block in self._blocks:
            yield from self._loop.push(block)
        if self.n_samples < self.shortest:
            raise AudioError(
                f"{name_of(self.source)} has {self.n_samples} samples at 16 kHz; {self.shortest} (one analysis window) "
                "are the least that have a spectrum. Use a longer clip"
            )
        yield from self._loop.flush()


def _with_peak(windows: Iterable[MelWindow], spool: tempfile.SpooledTemporaryFile) -> Iterator[MelWindow]:
    """Keep windows on disk until the last of them has shown the file's peak: cheaper than decoding twice."""
    kept, peaks = [], [-float("inf")]
    for window in windows:
        np.save(spool, window.log_mel.numpy(), allow_pickle=False)
        peaks.append(window.log_mel.max().item())
        kept.append(replace(window, log_mel=None))
    spool.seek(0)
    peak = torch.tensor(max(peaks), dtype=torch.float32, device="cpu")
    for window in kept:
        yield replace(window, log_mel=torch.from_numpy(np.load(spool, allow_pickle=False)), peak=peak)
