"""Whisper checkpoints as they are published, written by hand: OpenAI's ``.pt`` and Hugging Face's folders.

The names are those that openai-whisper and transformers save, not taken from musetools' own table.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from whisper.model import AudioEncoder

from musetools.features.weights import EncoderDims, EncoderWeights

N_VOCAB = 51865
TEXT_WIDTH = 8  # the decoder's few tensors are there to be left alone, so they may be small

_OF_A_LAYER = {  # transformers' name: openai-whisper's
    "self_attn.q_proj.weight": "attn.query.weight",
    "self_attn.q_proj.bias": "attn.query.bias",
    "self_attn.k_proj.weight": "attn.key.weight",
    "self_attn.v_proj.weight": "attn.value.weight",
    "self_attn.v_proj.bias": "attn.value.bias",
    "self_attn.out_proj.weight": "attn.out.weight",
    "self_attn.out_proj.bias": "attn.out.bias",
    "self_attn_layer_norm.weight": "attn_ln.weight",
    "self_attn_layer_norm.bias": "attn_ln.bias",
    "fc1.weight": "mlp.0.weight",
    "fc1.bias": "mlp.0.bias",
    "fc2.weight": "mlp.2.weight",
    "fc2.bias": "mlp.2.bias",
    "final_layer_norm.weight": "mlp_ln.weight",
    "final_layer_norm.bias": "mlp_ln.bias",
}
_OUTSIDE_LAYERS = {
    "conv1.weight": "conv1.weight",
    "conv1.bias": "conv1.bias",
    "conv2.weight": "conv2.weight",
    "conv2.bias": "conv2.bias",
    "embed_positions.weight": "positional_embedding",
    "layer_norm.weight": "ln_post.weight",
    "layer_norm.bias": "ln_post.bias",
}


def small_weights(n_mels: int = 80, width: int = 64, n_layer: int = 1, seed: int = 0) -> EncoderWeights:
    """Random weights of an encoder that no one published: small, so that many lengths can be tried."""
    dims = EncoderDims(n_mels, 1500, width, 1, n_layer)
    random = np.random.RandomState(seed)
    state = {}
    for name, tensor in AudioEncoder(n_mels, 1500, width, 1, n_layer).state_dict().items():
        z = random.standard_normal(tensor.shape) / np.sqrt(np.prod(tensor.shape[1:]))
        z = 1 + 0.1 * z if "ln" in name and name.endswith("weight") else z
        state[name] = tensor if name == "positional_embedding" else torch.tensor(z, dtype=torch.float32)
    return EncoderWeights(dims, state)


def openai_checkpoint(weights: EncoderWeights, dtype: torch.dtype = torch.float32) -> dict:
    """What openai-whisper publishes: ``dims`` and one flat state of encoder and decoder."""
    dims = weights.dims
    decoder = {
        "decoder.token_embedding.weight": torch.zeros(4, TEXT_WIDTH),
        "decoder.positional_embedding": torch.zeros(448, TEXT_WIDTH),
        "decoder.blocks.0.attn.query.weight": torch.zeros(TEXT_WIDTH, TEXT_WIDTH),
        "decoder.blocks.0.cross_attn.key.weight": torch.zeros(TEXT_WIDTH, TEXT_WIDTH),
        "decoder.ln.weight": torch.ones(TEXT_WIDTH),
    }
    state = {f"encoder.{name}": tensor for name, tensor in weights.state.items()} | decoder
    return {
        "dims": {
            "n_mels": dims.n_mels,
            "n_vocab": N_VOCAB,
            "n_audio_ctx": dims.n_ctx,
            "n_audio_state": dims.n_state,
            "n_audio_head": dims.n_head,
            "n_audio_layer": dims.n_layer,
            "n_text_ctx": 448,
            "n_text_state": dims.n_state,
            "n_text_head": dims.n_head,
            "n_text_layer": dims.n_layer,
        },
        "model_state_dict": {name: tensor.to(dtype) for name, tensor in state.items()},
    }


def save_openai(path: Path, weights: EncoderWeights, dtype: torch.dtype = torch.float32, **how) -> Path:
    torch.save(openai_checkpoint(weights, dtype), path, **how)
    return path


def hugging_face_config(weights: EncoderWeights) -> dict:
    dims = weights.dims
    return {
        "_name_or_path": "openai/whisper-tiny",
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "d_model": dims.n_state,
        "encoder_attention_heads": dims.n_head,
        "encoder_ffn_dim": 4 * dims.n_state,
        "encoder_layers": dims.n_layer,
        "decoder_attention_heads": dims.n_head,
        "decoder_layers": dims.n_layer,
        "max_source_positions": dims.n_ctx,
        "max_target_positions": 448,
        "num_hidden_layers": dims.n_layer,
        "num_mel_bins": dims.n_mels,
        "torch_dtype": "float32",
        "vocab_size": N_VOCAB,
    }


def hugging_face_state(weights: EncoderWeights, prefix: str = "model.") -> dict[str, torch.Tensor]:
    """The same tensors under the names that transformers' WhisperForConditionalGeneration saves."""
    names = {f"encoder.{theirs}": ours for theirs, ours in _OUTSIDE_LAYERS.items()}
    for i in range(weights.dims.n_layer):
        names |= {f"encoder.layers.{i}.{theirs}": f"blocks.{i}.{ours}" for theirs, ours in _OF_A_LAYER.items()}
    decoder = {
        "decoder.embed_tokens.weight": torch.zeros(4, TEXT_WIDTH),
        "decoder.layers.0.self_attn.q_proj.weight": torch.zeros(TEXT_WIDTH, TEXT_WIDTH),
        "decoder.layers.0.encoder_attn.k_proj.weight": torch.zeros(TEXT_WIDTH, TEXT_WIDTH),
        "decoder.layers.0.encoder_attn_layer_norm.weight": torch.ones(TEXT_WIDTH),
        "decoder.layer_norm.weight": torch.ones(TEXT_WIDTH),
    }
    state = {theirs: weights.state[ours] for theirs, ours in names.items()} | decoder
    assert len(names) == len(weights.state)
    return {prefix + name: tensor for name, tensor in state.items()}


def save_hugging_face(folder: Path, weights: EncoderWeights, kind: str = "safetensors", prefix: str = "model.") -> Path:
    """Write ``config.json`` beside ``model.safetensors`` or ``pytorch_model.bin``."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(hugging_face_config(weights)), encoding="utf-8")
    state = hugging_face_state(weights, prefix)
    if kind == "safetensors":
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(state, folder / "pytorch_model.bin")
    return folder


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, sentinel: Path):
        self.sentinel = sentinel

    def __reduce__(self) -> tuple:
        return Path.touch, (self.sentinel,)
