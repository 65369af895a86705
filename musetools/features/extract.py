"""Waveform in, feature rows out: one loop over encoder windows, of which every published pipeline is a special case."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from whisper.audio import N_FFT

from musetools.audio.decode import Source, name_of
from musetools.audio.load import DECODERS, audio_blocks
from musetools.errors import AudioError, ParameterError
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.mel import normalised
from musetools.features.windows import EncoderWindow, MelWindow, MelWindows
from musetools.files import replacing, save_rows

__all__ = ["EncoderWindow", "FeatureRows", "FeatureSpec", "audio2feat", "encode_window"]

MEL_PEAKS = ("file", "window")
FILLS = ("mel", "audio")


@dataclass(frozen=True)
class FeatureSpec:
    """Everything besides the weights that decides what features a waveform gets.

    Parameters
    ----------
    decoder : {"ffmpeg", "librosa"}
        See `load_audio`.
    mel_peak : {"window", "file"}
        Where the peak is looked for that sets the log-mel floor, 8 decades below: in each window, or in the whole file.
    fill : {"audio", "mel"}
        What fills a window: zeros in the waveform, so that it is silence and the window's STFT stands alone; or zeros
        in the normalised log-mel, with an STFT over the whole file.
    final_norm : bool
        Whether the last layer passes the encoder's final layer norm.
    window : EncoderWindow
        How encoder passes slide.
    keep_fill : bool, default False
        Whether the last window keeps all rows of its hop, those that the encoder makes of the fill too.

    Raises
    ------
    ParameterError
        If a choice is unknown, or the fill is to be kept of windows that are not filled.
    """

    decoder: str = "ffmpeg"
    mel_peak: str = "window"
    fill: str = "audio"
    final_norm: bool = True
    window: EncoderWindow = EncoderWindow()
    keep_fill: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("decoder", DECODERS), ("mel_peak", MEL_PEAKS), ("fill", FILLS)):
            if getattr(self, name) not in choices:
                raise ParameterError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        flags = isinstance(self.final_norm, bool) and isinstance(self.keep_fill, bool)
        if not flags or not isinstance(self.window, EncoderWindow):
            raise ParameterError(f"final_norm and keep_fill must be bools and window an EncoderWindow; got {self}")
        if self.keep_fill and self.window.pad_to < self.window.left + self.window.hop:
            raise ParameterError(f"keep_fill needs windows filled to left_s + hop_s or more; got {self.window}")

    @classmethod
    def named(cls, name: "str | FeatureSpec") -> "FeatureSpec":
        """Return the spec of a name; a spec is returned as it is.

        Names are "musetools", "musetalk-v1", "musetalk-v1.5", and what live streams make: "live-low", "live", and
        "live-exact", which equals "musetalk-v1.5".

        Raises
        ------
        ParameterError
            If there is no spec of this name.
        """
        if isinstance(name, cls):
            return name
        if not isinstance(name, str) or name not in _SPECS:
            raise ParameterError(f"spec must be a FeatureSpec or one of {', '.join(_SPECS)}; got {name!r}")
        return _SPECS[name]


_SPECS = {
    "musetools": FeatureSpec(),
    "musetalk-v1": FeatureSpec(mel_peak="file", fill="mel", final_norm=False),
    "musetalk-v1.5": FeatureSpec(decoder="librosa"),
    # what a `ChunkStream` makes, and so what to train on for it; notebook 05 measures these choices
    "live-low": FeatureSpec(window=EncoderWindow(2, 0.1, 0.1, None, positions="clip")),
    "live": FeatureSpec(window=EncoderWindow(5, 0.3, 0.2, None, positions="clip")),
    "live-exact": FeatureSpec(decoder="librosa"),
}


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
        With ``n_rows = n_samples // 320``, or, with ``keep_fill``, as many whole hops as hold these and six rows more.
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
    if spec.fill == "mel" and spec.window.pad_to:
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
    """

    def __init__(self, source: Source, encoder: Encoder, spec: FeatureSpec, *, shortest: int = N_FFT):
        self.source, self.encoder, self.spec, self.shortest = source, encoder, spec, shortest
        self._loop = MelWindows(spec.window, fill=spec.fill, keep_fill=spec.keep_fill, n_mels=encoder.n_mels)

    @property
    def n_samples(self) -> int:
        """Samples decoded so far."""
        return self._loop.n_samples

    def __iter__(self) -> Iterator[np.ndarray]:
        windows, peak = self._windows(), None
        with tempfile.SpooledTemporaryFile(max_size=2**20) as spool:
            if self.spec.mel_peak == "file":
                windows, peak = _spooled(windows, spool)
            for window in windows:
                if window.keep:
                    yield encode_window(self.encoder, self.spec, window, peak)

    def array(self) -> np.ndarray:
        """Return all of it as one array."""
        return np.concatenate(list(self))

    def _windows(self) -> Iterator[MelWindow]:
        for block in audio_blocks(self.source, decoder=self.spec.decoder):
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
