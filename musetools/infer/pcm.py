"""PCM as a live source sends it: checked, and resampled without a seam."""

from collections.abc import Iterable

import numpy as np

from musetools.audio.decode import frame_of, planes_of_array, scaled
from musetools.audio.resample import LOUDEST, SoxrMono, SwresampleMono
from musetools.errors import AudioError, ParameterError, as_array, one_of
from musetools.timing import SAMPLE_RATE

__all__ = ["NON_FINITE", "PcmInput", "checked_pcm"]

NON_FINITE = ("error", "silence")


class PcmInput:
    """Turns blocks of PCM into the 16 kHz waveform that `load_audio` makes of them in one piece.

    `non_finite` says what becomes of a block that holds NaN, infinity, or samples beyond eight times full scale.
    """

    def __init__(self, sample_rate: int, decoder: str, non_finite: str):
        planes_of_array(np.empty(0, np.float32), sample_rate)  # raises for what is no rate
        one_of("non_finite", non_finite, NON_FINITE)
        self.rate, self.decoder, self.non_finite = int(sample_rate), decoder, non_finite
        self.n_in = self.n_silenced = 0  # samples pushed so far, and those of them that were put to zero
        self._resampler = None
        if self.rate != SAMPLE_RATE:
            self._resampler = SoxrMono(self.rate) if decoder == "librosa" else SwresampleMono()

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take a block as `checked_pcm` returns it, return the samples at 16 kHz that are now certain."""
        samples = self._finite(scaled(planes_of_array(pcm, self.rate))[0])
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
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero(~(np.abs(samples) <= LOUDEST))
        if not len(bad):
            return samples
        if self.non_finite == "silence":
            self.n_silenced += len(samples)
            return np.zeros_like(samples)
        first, value = self.n_in + int(bad[0]), samples[bad[0]]
        fault = f"reaches {value:.6g}, full scale is 1" if np.isfinite(value) else "is not finite"
        raise AudioError(
            f"sample {first} of the stream (at {first / self.rate:.3f} s) {fault}: its block of {len(samples)} samples "
            "was not taken. Scale the samples (pass 16-bit integers as int16), start anew with reset(), or stream with "
            "non_finite='silence'"
        )


def checked_pcm(pcm: np.ndarray) -> np.ndarray:
    """Return mono PCM as an array, or say what else it is."""
    pcm = as_array(pcm)
    if pcm.ndim != 1 or not (pcm.dtype.kind == "f" or pcm.dtype.newbyteorder("=") == np.int16):
        raise ParameterError(
            f"a stream takes mono PCM, (n_samples,) of floats with full scale at 1 or of int16; got {pcm.dtype} "
            f"{pcm.shape}. Convert it first: numpy.frombuffer(data, 'int16'), or samples.mean(axis=0) of channels"
        )
    return pcm


def _joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.float32), *blocks])
