"""Slow and plain second opinions: the published pipelines in whisper's own functions, windows cut by hand."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from whisper.audio import log_mel_spectrogram, mel_filters, pad_or_trim
from whisper.model import AudioEncoder

from musetools.features.encoder import Encoder
from musetools.features.spec import FeatureSpec
from musetools.features.weights import EncoderWeights

SAMPLE_RATE = 16_000
SEGMENT = 30 * SAMPLE_RATE
SPEECH = Path(__file__).resolve().parents[1] / "data" / "speech.flac"


@cache
def _speech() -> np.ndarray:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    at = np.arange(0, len(samples) - 1, rate / SAMPLE_RATE)
    return np.interp(at, np.arange(len(samples)), samples.mean(1)).astype(np.float32)


def speech(n_samples: int) -> np.ndarray:
    """Speech of any length; every 30 s another loudness, so that the file's peak is not each window's."""
    gains = np.resize(np.float32([0.05, 1.0, 0.3]), n_samples // SEGMENT + 1)
    return np.resize(_speech(), n_samples) * np.repeat(gains, SEGMENT)[:n_samples]


def encoder_of(weights: EncoderWeights) -> Encoder:
    return Encoder("small", weights, torch.device("cpu"), "float32")


def reference(weights: EncoderWeights, n_rows: int = 1500, first_position: int = 0) -> AudioEncoder:
    """openai-whisper's encoder, made for stretches of just this length and place."""
    positions = (first_position + np.arange(n_rows)) % 1500
    net = AudioEncoder(
        weights.dims.n_mels, n_rows, *(getattr(weights.dims, f"n_{x}") for x in ("state", "head", "layer"))
    )
    net.load_state_dict(weights.state | {"positional_embedding": weights.state["positional_embedding"][positions]})
    return net.eval()


@torch.no_grad()
def reference_states(net: AudioEncoder, mel: torch.Tensor, *, final_norm: bool) -> np.ndarray:
    """Run whisper's own forward, listening to what enters and leaves its blocks: (rows, layers, width)."""
    heard = []
    hooks = [net.blocks[0].register_forward_pre_hook(lambda block, given: heard.append(given[0]))]
    hooks += [block.register_forward_hook(lambda block, given, made: heard.append(made)) for block in net.blocks]
    normed = net(mel[None])
    for hook in hooks:
        hook.remove()
    return torch.stack([*heard[:-1], normed if final_norm else heard[-1]], dim=2)[0].numpy()


def published_v1(waveform: np.ndarray, weights: EncoderWeights) -> np.ndarray:
    """FACTS section 1, v1: one STFT and one peak for the file, segments padded with 0.0 in normalised mel."""
    mel, net, rows = log_mel_spectrogram(waveform, weights.dims.n_mels), reference(weights), []
    for seek in range(0, mel.shape[1], 3000):
        segment = mel[:, seek : seek + 3000]
        states = reference_states(net, pad_or_trim(segment, 3000), final_norm=False)
        rows.append(states[: segment.shape[1] // 2])
    return np.concatenate(rows)


def published_v15(waveform: np.ndarray, weights: EncoderWeights, *, trim: bool = True) -> np.ndarray:
    """FACTS section 1, v1.5: segments padded with silence, each with its own STFT and peak; last layer normed."""
    net, rows = reference(weights), []
    for seek in range(0, len(waveform), SEGMENT):
        mel = log_mel_spectrogram(pad_or_trim(waveform[seek : seek + SEGMENT], SEGMENT), weights.dims.n_mels)
        rows.append(reference_states(net, mel, final_norm=True))
    return np.concatenate(rows)[: len(waveform) * 50 // SAMPLE_RATE if trim else None]


def error_by_layer(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Root mean square of the difference by the standard deviation, of each layer."""
    return np.sqrt(np.square(got - expected).mean((0, 2))) / expected.std((0, 2))


def raw_log_mel(waveform: np.ndarray, n_mels: int = 80) -> torch.Tensor:
    """The log-mel before its floor: STFT centred, mirrored at the ends, last frame dropped."""
    stft = torch.stft(torch.from_numpy(waveform), 400, 160, window=torch.hann_window(400), return_complex=True)
    return (mel_filters("cpu", n_mels) @ stft[:, :-1].abs().square()).clamp(min=1e-10).log10()


def windows_by_hand(waveform: np.ndarray, weights: EncoderWeights, spec: FeatureSpec) -> np.ndarray:
    """Features of overlapping windows, each cut out of the clip and encoded alone."""
    whole, n_rows, rows = raw_log_mel(waveform), len(waveform) // 320, []
    left, hop, right = (round(50 * s) for s in (spec.window.left_s, spec.window.hop_s, spec.window.right_s))
    for row in range(0, n_rows, hop):
        first, end = max(0, row - left), row + hop + right
        mel = _window_mel(waveform, whole, first, end, spec)
        net = reference(weights, -(-mel.shape[1] // 2), first if spec.window.positions == "clip" else 0)
        states = reference_states(net, mel, final_norm=spec.final_norm)
        rows.append(states[row - first : min(row + hop, n_rows) - first])
    return np.concatenate(rows)


def _window_mel(waveform: np.ndarray, whole: torch.Tensor, first: int, end: int, spec: FeatureSpec) -> torch.Tensor:
    pad_to = 0 if spec.window.pad_to_s is None else round(100 * spec.window.pad_to_s)
    if spec.padding == "mel":
        mel = whole[:, 2 * first : 2 * end]
    else:
        samples = waveform[320 * first : 320 * end]
        mel = raw_log_mel(np.pad(samples, (0, max(0, 160 * pad_to - len(samples)))))
    peak = whole.max() if spec.mel_peak == "file" else mel.max()
    mel = (torch.maximum(mel, peak - 8) + 4) / 4
    return torch.nn.functional.pad(mel, (0, max(0, pad_to - mel.shape[1])))
