"""Encoder weights in every layout they are published in: ``.pt`` files, Hugging Face folders, CTranslate2 folders.

Whatever the file calls them, they end as openai-whisper's names in float32: the same weights, one fingerprint.
"""

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musetools.errors import EncoderError, ParameterError
from musetools.features.ctranslate2 import read_encoder
from musetools.features.published import PUBLISHED, find_published
from musetools.features.spec import MAX_WINDOW_S
from musetools.timing import ROW_RATE

__all__ = ["HUGGING_FACE_NAMES", "EncoderDims", "EncoderWeights", "load_pickled", "read_weights", "untrained_weights"]

UNTRAINED = "untrained-"
N_CTX = MAX_WINDOW_S * ROW_RATE  # rows that every Whisper encoder sees
_SIZES = {  # mel bins, width, heads, blocks: openai-whisper's model card
    "tiny": (80, 384, 6, 4),
    "base": (80, 512, 8, 6),
    "small": (80, 768, 12, 12),
    "medium": (80, 1024, 16, 24),
    "large": (80, 1280, 20, 32),
    "large-v2": (80, 1280, 20, 32),
    "large-v3": (128, 1280, 20, 32),
}
HUGGING_FACE_NAMES = (
    ("embed_positions.weight", "positional_embedding"),
    ("self_attn_layer_norm", "attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("self_attn.q_proj", "attn.query"),
    ("self_attn.k_proj", "attn.key"),
    ("self_attn.v_proj", "attn.value"),
    ("self_attn.out_proj", "attn.out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("layers.", "blocks."),
    ("layer_norm", "ln_post"),
)


@dataclass(frozen=True)
class EncoderDims:
    """Size of a Whisper encoder."""

    n_mels: int
    n_ctx: int
    n_state: int
    n_head: int
    n_layer: int


@dataclass(frozen=True)
class EncoderWeights:
    """Weights under openai-whisper's names without the ``encoder.`` prefix, in float32 on the CPU."""

    dims: EncoderDims
    state: Mapping[str, torch.Tensor]

    def fingerprint(self) -> str:
        """Return the SHA-256 of sizes, names and float32 values."""
        digest = hashlib.sha256(repr(self.dims).encode())
        for name in sorted(self.state):
            digest.update(f"{name} {tuple(self.state[name].shape)}".encode())
            digest.update(self.state[name].numpy().astype("<f4", copy=False).tobytes())
        return digest.hexdigest()

    def shallow(self) -> "EncoderWeights":
        """Return these weights up to the first block, on which speed can be measured."""
        kept = {name: x for name, x in self.state.items() if not name.startswith("blocks.") or name[:9] == "blocks.0."}
        return EncoderWeights(replace(self.dims, n_layer=1), kept)


def read_weights(name: str | os.PathLike) -> EncoderWeights:
    """Find and read the weights that a name or a path stands for; see `musetools.load_encoder`."""
    if str(name).startswith(UNTRAINED):
        return untrained_weights(str(name).removeprefix(UNTRAINED))
    if not isinstance(name, (str, os.PathLike)):
        raise ParameterError(f"an encoder is named by text or a path; got {name!r}")
    path = find_published(str(name)) if str(name) in PUBLISHED else Path(name)
    try:
        read = _read_folder if path.is_dir() else _read_openai if path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        read = None
    if read:
        return read(path)
    raise ParameterError(
        f"no encoder {str(name)[:200]!r}: neither a file nor a folder, nor one of {', '.join(PUBLISHED)}, "
        f"nor {UNTRAINED}{{{','.join(_SIZES)}}}"
    )


def untrained_weights(size: str, seed: int = 0) -> EncoderWeights:
    """Make seeded random weights of a Whisper encoder, the same for everyone; ParameterError for other sizes."""
    if size not in _SIZES:
        sizes = ", ".join(UNTRAINED + size for size in _SIZES)
        raise ParameterError(f"untrained weights come as {sizes}; got {UNTRAINED + size!r}")
    n_mels, n_state, n_head, n_layer = _SIZES[size]
    dims = EncoderDims(n_mels, N_CTX, n_state, n_head, n_layer)
    random = np.random.RandomState(seed)  # this generator's stream never changes
    state = {name: _drawn(name, shape, random) for name, shape in sorted(_shapes(dims).items())}
    return EncoderWeights(dims, _with_positions(state, dims))


def _drawn(name: str, shape: tuple[int, ...], random: np.random.RandomState) -> torch.Tensor:
    z = random.standard_normal(shape)
    if name.endswith(("ln.weight", "ln_post.weight")):
        z = 1 + 0.1 * z
    elif len(shape) == 1:
        z = 0.1 * z
    else:
        z = z / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(z.astype(np.float32))


def _shapes(dims: EncoderDims) -> dict[str, tuple[int, ...]]:
    """Name the parameters of an encoder, by openai-whisper's names, with their shapes."""
    width, weights = dims.n_state, {"conv1": (dims.n_state, dims.n_mels, 3), "conv2": (dims.n_state, dims.n_state, 3)}
    for block in (f"blocks.{i}" for i in range(dims.n_layer)):
        weights |= {f"{block}.attn.{part}": (width, width) for part in ("query", "key", "value", "out")}
        weights |= {f"{block}.mlp.0": (4 * width, width), f"{block}.mlp.2": (width, 4 * width)}
        weights |= {f"{block}.attn_ln": (width,), f"{block}.mlp_ln": (width,)}
    weights["ln_post"] = (width,)
    biases = {f"{name}.bias": shape[:1] for name, shape in weights.items() if not name.endswith(".key")}
    return {f"{name}.weight": shape for name, shape in weights.items()} | biases


def _with_positions(state: dict[str, torch.Tensor], dims: EncoderDims) -> dict[str, torch.Tensor]:
    """Add the sinusoids, which are no parameter, where a file leaves them out; as `whisper.model.sinusoids`."""
    half = dims.n_state // 2
    dimension, place = (torch.arange(n, dtype=torch.float32, device="cpu") for n in (half, dims.n_ctx))
    angles = place[:, None] * torch.exp(-np.log(10_000) / (half - 1) * dimension)
    return {"positional_embedding": torch.cat([angles.sin(), angles.cos()], dim=1), **state}


def _read_openai(path: Path) -> EncoderWeights:
    checkpoint = load_pickled(path)
    try:
        given, state = checkpoint["dims"], checkpoint["model_state_dict"]
        sizes = [given["n_mels"], *(given[f"n_audio_{key}"] for key in ("ctx", "state", "head", "layer"))]
    except (KeyError, TypeError, IndexError):
        got = sorted(map(str, checkpoint))[:5] if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise EncoderError(
            f"{path} is no OpenAI Whisper checkpoint: 'dims' and 'model_state_dict' expected, got {got}. "
            "A Hugging Face or CTranslate2 model is loaded by its folder"
        ) from None
    return _checked(path, sizes, _encoder_tensors(path, state))


def _read_folder(folder: Path) -> EncoderWeights:
    files = [folder / name for name in ("model.safetensors", "pytorch_model.bin", "model.bin")]
    if [file.is_file() for file in files] == [False, False, True]:
        return _checked(files[-1], *read_encoder(files[-1]))
    return _read_hugging_face(folder)


def _read_hugging_face(folder: Path) -> EncoderWeights:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        keys = ("num_mel_bins", "max_source_positions", "d_model", "encoder_attention_heads", "encoder_layers")
        sizes = [config[key] for key in keys]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise EncoderError(
            f"{folder} is no Whisper model in Hugging Face layout, config.json: {reason}; "
            "nor in CTranslate2's, which has a model.bin and neither model.safetensors nor pytorch_model.bin. "
            "Download the folder again, or name the one that holds these files"
        ) from None
    state = {}
    for name, tensor in _hugging_face_tensors(folder).items():
        for theirs, ours in HUGGING_FACE_NAMES:
            name = name.replace(theirs, ours)
        state[name] = tensor
    return _checked(folder, sizes, state)


def _hugging_face_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read the encoder's tensors of either file format, by their names without ``model.``."""
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if safe.is_file():
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(safe, framework="pt") as file:
                return {n.removeprefix("model."): file.get_tensor(n) for n in file.keys() if "encoder." in n}  # noqa: SIM118
        except SafetensorError as error:
            raise EncoderError(f"{safe} cannot be read: {error}. Download or copy it again") from None
    if pickled.is_file():
        tensors = load_pickled(pickled)
        names = tensors if isinstance(tensors, dict) else {}
        return _encoder_tensors(pickled, {str(name).removeprefix("model."): tensors[name] for name in names})
    raise EncoderError(f"{folder} has neither model.safetensors nor pytorch_model.bin: copy one of them there")


def load_pickled(path: str | os.PathLike) -> Any:
    """Read a torch file without running what may hide in it; EncoderError if it is damaged, or more than tensors."""
    try:
        return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:  # its text advises to load the file unsafely
        raise EncoderError(
            f"{path} is refused: it holds more than weights, which could run code, or it is damaged. Do not open it in "
            "another way; download it again from who publishes it"
        ) from None
    except Exception as error:  # torch raises whatever foreign bytes make it stumble over
        raise EncoderError(f"{path} cannot be read ({error!r}). Download or copy it again") from None


def _encoder_tensors(path: Path, state: Any) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors of a state dict, by openai-whisper's or Hugging Face's names."""
    found = (
        {name: t for name, t in state.items() if str(name).startswith("encoder.")} if isinstance(state, dict) else {}
    )
    if not found or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise EncoderError(
            f"{path} holds no tensors of an encoder ('encoder.conv1.weight', …). Download or copy it again"
        )
    return found


def _checked(path: Path, sizes: list[Any], found: Mapping[str, torch.Tensor | np.ndarray]) -> EncoderWeights:
    """See that all of the encoder is there in the right shape, then copy it out of its file."""
    dims = EncoderDims(*sizes)
    impossible = not all(type(size) is int and size > 0 for size in sizes) or dims.n_state % dims.n_head
    if impossible or dims.n_state % 2 or dims.n_layer > len(found):  # each layer has tensors of its own
        raise EncoderError(f"{path} declares an encoder that cannot be: {dims}. Download or copy it again")
    state = {name.removeprefix("encoder."): tensor for name, tensor in found.items()}
    no_positions = "positional_embedding" not in state and dims.n_ctx == N_CTX
    shapes = _shapes(dims) | ({} if no_positions else {"positional_embedding": (dims.n_ctx, dims.n_state)})
    wrong = [
        f"{name} {shape} expected, got {tuple(state[name].shape) if name in state else 'nothing'}"
        for name, shape in shapes.items()
        if name not in state or tuple(state[name].shape) != shape
    ]
    if wrong:
        raise EncoderError(
            f"{path} lacks the encoder that it declares, {len(wrong)} tensors: {'; '.join(wrong[:3])}. "
            "Download or copy it again"
        )
    # only now: what is declared is there to be read
    loaded = {name: _float32(state[name], f"{path}: {name}") for name in shapes}
    return EncoderWeights(dims, _with_positions(loaded, dims) if no_positions else loaded)


def _float32(values: torch.Tensor | np.ndarray, name: str) -> torch.Tensor:
    """Return finite float32; a copy of tensors, which may lie in a mapped file."""
    tensor = torch.as_tensor(values, device="cpu")
    if tensor.layout != torch.strided or not tensor.is_floating_point():
        kind = f"{tensor.dtype} {str(tensor.layout).removeprefix('torch.')}"
        raise EncoderError(f"{name} must be plain floats, got {kind}. Save the weights again as float32 or float16")
    tensor = tensor.detach().to(torch.float32, copy=tensor is values)
    if not tensor.isfinite().all():
        raise EncoderError(f"{name} holds values that are not finite. Download or copy it again")
    return tensor
