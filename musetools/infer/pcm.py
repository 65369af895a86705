"""PCM as a live source sends it: checked, put where its time stamps say, mixed and resampled as one piece."""

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from musetools.audio.decode import frame_of, planes_of_array, scaled
from musetools.audio.resample import SoxrMono, SwresampleMono, first_unsound, planes_of_frame
from musetools.audio.timeline import BREAK_S
from musetools.errors import AudioError, ParameterError, as_array, one_of
from musetools.timing import SAMPLE_RATE

if TYPE_CHECKING:
    import av

__all__ = ["NON_FINITE", "PcmInput", "checked_pcm", "n_samples_of"]

NON_FINITE = ("error", "silence")
BYTES = (bytes, bytearray, memoryview)
LONGEST_JUMP_S = 60  # of time stamps: beyond, they belong to another stream


class PcmInput:
    """Turns blocks of PCM into the 16 kHz waveform that `load_audio` makes of them in one piece.

    `non_finite` says what becomes of a block that holds NaN, infinity, or samples beyond eight times full scale.
    """

    def __init__(self, sample_rate: int, decoder: str, non_finite: str):
        planes_of_array(np.empty(0, np.float32), sample_rate)  # raises for what is no rate
        one_of("non_finite", non_finite, NON_FINITE)
        self.rate, self.decoder, self.non_finite = int(sample_rate), decoder, non_finite
        self.n_in = self.n_silenced = 0  # samples so far, and those of them that were put to zero
        self.n_lost = self.n_late = 0  # samples of silence for what never came, and samples that came again or too late
        self._half, self._start_s, self._n_channels = b"", None, None
        self._resampler = None

    def push(self, pcm: Any) -> np.ndarray:
        """Take a block that `checked_pcm` lets pass, return the samples at 16 kHz that are now certain."""
        if isinstance(pcm, BYTES):
            pcm = self._whole(pcm)
        if not n_samples_of(pcm):  # which says nothing of channels or time
            return _joined([])
        at_s = _at_s(pcm)
        samples = planes_of_frame(pcm) if _is_frame(pcm) else pcm
        planes = self._finite(scaled(planes_of_array(samples, self.rate)))
        if len(planes) != (self._n_channels or len(planes)):
            change, at = f"from {self._n_channels} to {len(planes)} channels", self.n_in / self.rate
            raise AudioError(f"the stream changes {change} at {at:.3f} s. Send one kind, or reset()")
        self._n_channels = len(planes)
        planes = planes if at_s is None else self._placed(planes, at_s)
        self.n_in += planes.shape[1]
        return self._mono(planes) if planes.shape[1] else planes[0]

    def _whole(self, data: bytes) -> np.ndarray:
        """Return whole samples; a byte that is left over waits for the next."""
        data = self._half + bytes(data)
        n = len(data) // 2 * 2
        self._half = data[n:]
        return np.frombuffer(data[:n], "<i2")

    def _placed(self, planes: np.ndarray, at_s: Fraction) -> np.ndarray:
        """Put samples where their time stamp says: after silence for lost ones; without those whose time has passed."""
        if self._start_s is None:
            self._start_s = at_s - Fraction(self.n_in, self.rate)
        off = round((at_s - self._start_s) * self.rate) - self.n_in
        if abs(off) <= BREAK_S * self.rate:
            return planes
        if abs(off) > LONGEST_JUMP_S * self.rate:
            raise AudioError(
                f"time stamps of the stream jump by {off / self.rate:+.3f} s at {self.n_in / self.rate:.3f} s; "
                f"{LONGEST_JUMP_S} s are the most that may be lost. reset() starts anew"
            )
        if off > 0:
            self.n_lost += off
            return np.pad(planes, ((0, 0), (off, 0)))
        late = min(-off, planes.shape[1])
        self.n_late += late
        return planes[:, late:]

    def _mono(self, planes: np.ndarray) -> np.ndarray:
        if self.decoder == "librosa":
            mono = np.mean(planes, axis=0)
            if self.rate == SAMPLE_RATE:
                return mono
            self._resampler = self._resampler or SoxrMono(self.rate)
            return self._resampler.push(mono)
        if self.rate == SAMPLE_RATE and len(planes) == 1:
            return planes[0]
        self._resampler = self._resampler or SwresampleMono()
        return _joined(self._resampler.push(frame_of(planes, self.rate)))

    def flush(self) -> np.ndarray:
        """Return what the resampler still holds."""
        if self._resampler is None:
            return _joined([])
        return self._resampler.flush() if self.decoder == "librosa" else _joined(self._resampler.push(None))

    def _finite(self, samples: np.ndarray) -> np.ndarray:
        if (unsound := first_unsound(samples)) is None:
            return samples
        if self.non_finite == "silence":
            self.n_silenced += samples.shape[1]
            return np.zeros_like(samples)
        at, value = self.n_in + unsound[0], unsound[1]
        fault = f"reaches {value:.6g}, full scale is 1" if np.isfinite(value) else "is not finite"
        raise AudioError(
            f"sample {at} of the stream (at {at / self.rate:.3f} s) {fault}: its block of {samples.shape[1]} samples "
            "was not taken. Scale the samples (pass 16-bit integers as int16), start anew with reset(), or stream with "
            "non_finite='silence'"
        )


def checked_pcm(pcm: Any, rate: int) -> "np.ndarray | bytes | av.AudioFrame":
    """Return PCM as `PcmInput` takes it, or say what else it is."""
    if isinstance(pcm, BYTES) and memoryview(pcm).itemsize == 1:  # a view of floats is an array
        return pcm
    if _is_frame(pcm):
        _check_frame(pcm, rate)
        return pcm
    pcm = as_array(pcm)
    if pcm.ndim != 1 or not (pcm.dtype.kind == "f" or pcm.dtype.newbyteorder("=") == np.int16):
        raise ParameterError(
            "a stream takes mono PCM, (n_samples,) of floats with full scale at 1 or of int16, bytes of int16, or "
            f"av.AudioFrame; got {pcm.dtype} {pcm.shape}. Convert it first: samples.mean(axis=0) of channels, "
            "samples.astype(np.int16) of 16-bit values in a wider type; leave out messages of text"
        )
    return pcm


def n_samples_of(pcm: Any) -> int:
    """Return how many samples a block has, nearly: 0 where it has none."""
    return pcm.samples if _is_frame(pcm) else len(pcm) if isinstance(pcm, BYTES) else np.size(pcm)


def _is_frame(pcm: Any) -> bool:
    """Tell whether it is an ``av.AudioFrame``, without importing PyAV."""
    return hasattr(pcm, "to_ndarray") and hasattr(pcm, "samples")


def _check_frame(frame: "av.AudioFrame", rate: int) -> None:
    if frame.sample_rate != rate:
        raise ParameterError(
            f"a frame has {frame.sample_rate} samples a second, the stream {rate}. Make the stream with "
            f"sample_rate={frame.sample_rate}, resample where a call changes its rate: av.AudioResampler(rate={rate}); "
            "or set frame.sample_rate where it is missing (0)"
        )
    if frame.layout.nb_channels > 2 or frame.format.name.startswith("u8"):
        raise ParameterError(
            f"a frame of a stream has one or two channels of signed integers or floats; got {frame.format.name}, "
            f"{frame.layout.name}. Convert it first: av.AudioResampler('s16', 'mono')"
        )


def _at_s(pcm: Any) -> Fraction | None:
    """Return when a frame begins, by its time stamp; None for what has none."""
    pts = getattr(pcm, "pts", None)
    return None if pts is None or not pcm.time_base else pts * Fraction(pcm.time_base)


def _joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.float32), *blocks])
