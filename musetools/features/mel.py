"""Samples in, log-mel out: Whisper's spectrogram in the two steps between which its peak is found."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from musetools.timing import MEL_HOP

__all__ = ["N_FFT", "centred_log_mel", "log_mel", "normalised", "whole_log_mel"]

N_FFT = 400  # samples of one analysis window: 25 ms
POWER_FLOOR = 1e-10
DECADES = 8.0  # the floor of a log-mel below its peak


@cache
def _mel_filters(n_mels: int) -> torch.Tensor:
    """Read openai-whisper's filter bank, (n_mels, 201), without importing whisper, which would bring numba."""
    assets = Path(find_spec("whisper").origin).parent / "assets"
    with np.load(assets / "mel_filters.npz", allow_pickle=False) as filters:
        return torch.from_numpy(filters[f"mel_{n_mels}"])


@cache
def _window() -> torch.Tensor:
    return torch.hann_window(N_FFT, dtype=torch.float32, device="cpu")


def log_mel(padded: np.ndarray, n_mels: int) -> torch.Tensor:
    """Compute log10 mel power, float32 (n_mels, n_frames), not yet clamped to its peak.

    That is what `whisper.audio.log_mel_spectrogram` does first. `padded`, float32 (160·n_frames + 240 or more,), has
    200 samples more either side of what the frames are centred on.
    """
    samples = torch.from_numpy(padded)
    stft = torch.stft(samples, N_FFT, MEL_HOP, window=_window(), center=False, return_complex=True)
    power = _mel_filters(n_mels) @ stft.abs().square_()
    return power.clamp(min=POWER_FLOOR).log10()


def centred_log_mel(samples: np.ndarray, n_mels: int) -> torch.Tensor:
    """Compute the log-mel of a stretch that stands alone, mirrored at its ends: ``len(samples) // 160`` frames."""
    n_frames = len(samples) // MEL_HOP
    padded = np.pad(samples, N_FFT // 2, mode="reflect")
    return log_mel(padded[: n_frames * MEL_HOP + N_FFT - MEL_HOP], n_mels)


def normalised(log_mel: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
    """Clamp a log-mel to 8 decades below `peak` and scale it as Whisper was trained on."""
    return (torch.maximum(log_mel, peak - DECADES) + 4.0) / 4.0


def whole_log_mel(waveform: np.ndarray, n_mels: int = 80) -> np.ndarray:
    """Return a whole waveform's log-mel, normalised by its own peak, shape (n_mels, n_samples // 160)."""
    mel = centred_log_mel(waveform, n_mels)
    return normalised(mel, mel.max()).numpy()
