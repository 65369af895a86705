"""Waveform in, feature rows out: one loop over encoder windows, of which every published pipeline is a special case."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from musetools.audio.container import name_of
from musetools.audio.decode import Source
from musetools.audio.load import audio_blocks
from musetools.errors import AudioError
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.mel import N_FFT, normalised
from musetools.features.spec import FeatureSpec
from musetools.features.windows import MelWindow, MelWindows
from musetools.files import replacing, save_rows

__all__ = ["FeatureRows", "audio2feat", "encode_window"]


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
    encoder = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
    rows = FeatureRows(source, encoder, spec)
    if out is None:
        return rows.array()
    with replacing(out) as file:
        save_rows(file, rows, (encoder.n_layers, encoder.width))
    return np.load(out, mmap_mode="r", allow_pickle=False)


def encode_window(
    encoder: Encoder, spec: FeatureSpec, window: MelWindow, peak: torch.Tensor | None = None
) -> np.ndarray:
    """Encode one window and keep its own rows, shape (n_kept, n_layers, width)."""
    mel = normalised(window.log_mel, window.log_mel.max() if peak is None else peak)
    if spec.padding == "mel" and spec.window.pad_to:
        mel = torch.nn.functional.pad(mel, (0, 2 * spec.window.pad_to - mel.shape[1]))
    position = window.first_row if spec.window.positions == "clip" else 0
    states = encoder.hidden_states(mel, first_position=position, final_norm=spec.final_norm)
    return states[0, window.skip : window.skip + window.keep].cpu().numpy()


class FeatureRows:
    """What `audio2feat` returns, window by window as it comes.

    Iterate once; `n_samples` is known when that is done.

    Parameters
    ----------
    source : path, binary file, or (array, sample_rate)
        See `load_audio`.
    encoder : Encoder
        The weights.
    spec : FeatureSpec
        How features are made.
    shortest : int, default 400
        Fewest samples at 16 kHz that are taken for audio.
    blocks : iterable of ndarray, optional
        The source's waveform, where it is being decoded already.
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
        self._loop = MelWindows(
            spec.window, padding=spec.padding, keep_padding=spec.keep_padding, n_mels=encoder.n_mels
        )

    @property
    def n_samples(self) -> int:
        """Samples decoded so far."""
        return self._loop.n_samples

    def __iter__(self) -> Iterator[np.ndarray]:
        return (encode() for encode in self.passes())

    def passes(self) -> Iterator[Callable[[], np.ndarray]]:
        """Yield a call for each window, which returns its rows; calls may run side by side."""
        windows, peak = self._windows(), None
        with tempfile.SpooledTemporaryFile(max_size=2**20) as spool:
            if self.spec.mel_peak == "file":
                windows, peak = _spooled(windows, spool)
            for window in windows:
                if window.keep:
                    yield partial(encode_window, self.encoder, self.spec, window, peak)

    def array(self) -> np.ndarray:
        """Return all of it as one array."""
        return np.concatenate(list(self))

    def _windows(self) -> Iterator[MelWindow]:
        for block in self._blocks:
            yield from self._loop.push(block)
        if self.n_samples < self.shortest:
            raise AudioError(
                f"{name_of(self.source)} has {self.n_samples} samples at 16 kHz; {self.shortest} (one analysis window) "
                "are the least that have a spectrum. Use a longer clip"
            )
        yield from self._loop.flush()


def _spooled(
    windows: Iterable[MelWindow], spool: tempfile.SpooledTemporaryFile
) -> tuple[Iterator[MelWindow], torch.Tensor]:
    """Keep windows on disk until the last of them has shown the file's peak: cheaper than decoding twice."""
    kept, peaks = [], [-float("inf")]
    for window in windows:
        np.save(spool, window.log_mel.numpy(), allow_pickle=False)
        peaks.append(window.log_mel.max().item())
        kept.append(replace(window, log_mel=None))
    spool.seek(0)
    again = (replace(w, log_mel=torch.from_numpy(np.load(spool, allow_pickle=False))) for w in kept)
    return again, torch.tensor(max(peaks))
