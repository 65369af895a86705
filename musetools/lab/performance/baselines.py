"""The published ways from a file to features, to compare with: what MuseTalk 1.5 runs, and a stand-in for v1's loop.

Each is made of the weights that ours has, and takes a path; it returns float32 (n_rows, n_layers, width).
"""

import os
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from musetools.audio.load import load_audio
from musetools.features.weights import HUGGING_FACE_NAMES, EncoderWeights
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE

__all__ = ["HUGGING_FACE", "V1", "Extractor", "hugging_face", "v1_style"]

HUGGING_FACE, V1 = "Hugging Face, as MuseTalk 1.5", "v1's loop"
SEGMENT = 30 * SAMPLE_RATE

Extractor = Callable[[str | os.PathLike], np.ndarray]


def hugging_face(weights: EncoderWeights) -> Extractor | None:
    """Return MuseTalk 1.5's way to features, by transformers; None where the extra ``bench`` is not installed.

    As ``get_audio_feature`` and ``get_whisper_chunk`` of ``musetalk/utils/audio_processor.py`` (TMElyralab/MuseTalk).
    Its values are those of the spec "musetalk-v1.5".
    """
    if not find_spec("transformers"):
        return None
    import librosa
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    dims = weights.dims
    config = WhisperConfig(
        num_mel_bins=dims.n_mels,
        d_model=dims.n_state,
        encoder_layers=dims.n_layer,
        encoder_attention_heads=dims.n_head,
        encoder_ffn_dim=4 * dims.n_state,
        max_source_positions=dims.n_ctx,
    )
    net, spectra = WhisperEncoder(config).eval(), WhisperFeatureExtractor(feature_size=dims.n_mels)
    net.load_state_dict({_renamed(name): tensor for name, tensor in weights.state.items()})

    @torch.no_grad()
    def extract(path: str | os.PathLike) -> np.ndarray:
        waveform, _ = librosa.load(path, sr=SAMPLE_RATE)
        segments = [waveform[start : start + SEGMENT] for start in range(0, len(waveform), SEGMENT)]
        made = [spectra(s, return_tensors="pt", sampling_rate=SAMPLE_RATE).input_features for s in segments]
        states = [torch.stack(net(mel, output_hidden_states=True).hidden_states, dim=2) for mel in made]
        return torch.cat(states, dim=1)[0, : len(waveform) // ROW_SAMPLES].numpy()

    return extract


def _renamed(name: str) -> str:
    for theirs, ours in HUGGING_FACE_NAMES:
        name = name.replace(ours, theirs)
    return name


def v1_style(weights: EncoderWeights) -> Extractor:
    """Return a stand-in for MuseTalk v1's loop: openai-whisper's own encoder without fused attention.

    v1's code itself is not run: it brings a copy of openai-whisper of its time, whose attention is a product, a softmax
    and a product over all heads, in float32, on one spectrum of the whole file in segments padded to 30 s. The file is
    decoded here as by us, where v1 starts the ffmpeg program. Its values are those of the spec "musetalk-v1".
    """
    from whisper.audio import log_mel_spectrogram, pad_or_trim
    from whisper.model import AudioEncoder, disable_sdpa

    dims = weights.dims
    net = AudioEncoder(dims.n_mels, dims.n_ctx, dims.n_state, dims.n_head, dims.n_layer).eval()
    net.load_state_dict(weights.state)

    def states(mel: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.gelu(net.conv1(mel[None]))
        x = torch.nn.functional.gelu(net.conv2(x)).permute(0, 2, 1) + net.positional_embedding
        layers = [x]
        for block in net.blocks:
            layers.append(block(layers[-1]))
        return torch.stack(layers, dim=2)[0]

    @torch.no_grad()
    def extract(path: str | os.PathLike) -> np.ndarray:
        mel, rows = log_mel_spectrogram(load_audio(path, decoder="ffmpeg"), dims.n_mels), []
        with disable_sdpa():
            for start in range(0, mel.shape[1], 2 * dims.n_ctx):
                segment = mel[:, start : start + 2 * dims.n_ctx]
                rows.append(states(pad_or_trim(segment, 2 * dims.n_ctx))[: segment.shape[1] // 2])
        return torch.cat(rows).numpy()

    return extract
