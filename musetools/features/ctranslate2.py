"""Whisper's encoder in CTranslate2's ``model.bin``, the layout of faster-whisper; read without ctranslate2.

The file, little-endian, as ``ModelSpec._serialize`` writes it (OpenNMT/CTranslate2, python/ctranslate2/specs/
model_spec.py)::

    u32 6 (binary version) | string "WhisperSpec" | u32 3 (revision) | u32 n | n variables | u32 m | m aliases
    string    u16 length, closing NUL included | UTF-8 | NUL
    variable  string name | u8 rank | rank u32 dimensions | u8 type | u32 bytes | data, row-major
    alias     string name | string name of the variable that has the same values

Query, key and value are one matrix, ``self_attention/linear_0``; keys have no bias, so zeros stand for it. A quantized
``weight`` has a ``weight_scale``: value = stored / scale, with one scale an output row (int8) or one in all (int16).

What a file declares is held against its size before anything is reserved for it, and only the encoder's data is read.
"""

import math
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from musetools.errors import EncoderError

__all__ = ["read_encoder"]

BINARY_VERSION, SPEC, REVISION = 6, "WhisperSpec", 3
MOST = 20_000  # variables or aliases: 32 blocks of encoder and decoder, quantized, have 2,000
LONGEST_NAME = 255  # bytes; Whisper's longest has 50
LEAST_SCALE = 1e-30  # a smaller one's weights would leave the range of float32
BFLOAT16 = np.dtype("<u2")  # numpy has none: the upper half of a float32
TYPES = (*map(np.dtype, ("<f4", "i1", "<i2", "<i4", "<f2")), BFLOAT16)  # in the order of CTranslate2's DataType
PARTS = "weight", "bias"
POSITIONS = "position_encodings/encodings"
_OUTSIDE_LAYERS = {
    POSITIONS: "positional_embedding",
    "layer_norm/gamma": "ln_post.weight",
    "layer_norm/beta": "ln_post.bias",
    **{f"{conv}/{part}": f"{conv}.{part}" for conv in ("conv1", "conv2") for part in PARTS},
}
_OF_A_LAYER = {
    "self_attention/layer_norm/gamma": "attn_ln.weight",
    "self_attention/layer_norm/beta": "attn_ln.bias",
    "ffn/layer_norm/gamma": "mlp_ln.weight",
    "ffn/layer_norm/beta": "mlp_ln.bias",
}
for _theirs, _ours in (("self_attention/linear_1", "attn.out"), ("ffn/linear_0", "mlp.0"), ("ffn/linear_1", "mlp.2")):
    _OF_A_LAYER |= {f"{_theirs}/{part}": f"{_ours}.{part}" for part in PARTS}
_FUSED = "self_attention/linear_0"  # query, key and value


def read_encoder(path: Path) -> tuple[list[int], dict[str, np.ndarray]]:
    """Read the encoder of a ``model.bin``: sizes, and float32 by openai-whisper's names without ``encoder.``.

    Sizes are mel bins, rows, width, heads and blocks, as the variables' shapes tell: ``config.json`` does not hold
    them. EncoderError if it is no Whisper model in binary version 6, torn, or has other variables than a Whisper
    encoder.
    """
    try:
        with open(path, "rb") as file:
            head = _Head(path, file)
            return _named(head, _variables(head))
    except OSError as error:
        raise _refused(path, str(error)) from None


class _Stored(NamedTuple):
    """Where the values of a variable lie."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype


class _Head:
    """The file between the data of its variables; never reads beyond its end."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file, self.size = path, file, os.fstat(file.fileno()).st_size

    def room_for(self, n_bytes: int, what: str) -> int:
        """Return where the next bytes begin, if the file has them."""
        at = self.file.tell()
        if n_bytes > self.size - at:
            raise _refused(self.path, f"{what} at byte {at} takes {n_bytes} bytes, got {self.size - at} to its end")
        return at

    def numbers(self, form: str, what: str) -> tuple[int, ...]:
        self.room_for(struct.calcsize("<" + form), what)
        return struct.unpack("<" + form, self.file.read(struct.calcsize("<" + form)))

    def text(self, what: str) -> str:
        (length,) = self.numbers("H", what)
        if not 2 <= length <= LONGEST_NAME + 1:
            raise _refused(self.path, f"{what} has 1 to {LONGEST_NAME} bytes and a closing NUL, got {length} in all")
        self.room_for(length, what)
        *name, end = self.file.read(length)
        if end or 0 in name:
            raise _refused(self.path, f"{what} ends with its only NUL, got {bytes([*name, end])[:40]!r}")
        return bytes(name).decode("utf-8", "backslashreplace")

    def values(self, name: str, stored: _Stored) -> np.ndarray:
        """Read a variable as float32."""
        try:
            values = np.fromfile(self.path, stored.dtype, math.prod(stored.shape), offset=stored.offset)
            if stored.dtype == BFLOAT16:
                values = (values.astype(np.uint32) << 16).view(np.float32)
            with np.errstate(invalid="ignore"):  # a NaN of half precision stays one
                return values.astype(np.float32, copy=False).reshape(stored.shape)
        except (OSError, ValueError) as error:  # replaced by a shorter file since its head was read
            raise _refused(self.path, f"{name} cannot be read: {error}") from None

    def count(self, what: str) -> int:
        (count,) = self.numbers("I", f"the number of {what}")
        if count > MOST:
            raise _refused(self.path, f"at most {MOST} {what} are expected, got {count}")
        return count


def _variables(head: _Head) -> dict[str, _Stored]:
    """List all variables, aliases included, without their data."""
    _check_version(head)
    found: dict[str, _Stored] = {}
    for _ in range(head.count("variables")):
        name = head.text("the name of a variable")
        if name in found:
            raise _refused(head.path, f"one variable a name is expected, got {name!r} twice")
        found[name] = _variable(head, name)
    _add_aliases(head, found)
    if (rest := head.size - head.file.tell()) > 0:
        raise _refused(head.path, f"the aliases are expected to end the file, got {rest} more bytes")
    return found


def _check_version(head: _Head) -> None:
    (version,) = head.numbers("I", "the binary version")
    if version != BINARY_VERSION:
        raise _refused(head.path, f"CTranslate2's binary version {BINARY_VERSION} is read here, got {version}")
    if (spec := head.text("the name of the model")) != SPEC:
        raise _refused(head.path, f"a model {SPEC!r} is expected, got {spec!r}")
    if (revision := head.numbers("I", "the revision")[0]) != REVISION:
        raise _refused(head.path, f"revision {REVISION} of {SPEC} is read here, got {revision}")


def _variable(head: _Head, name: str) -> _Stored:
    """Read what is said of a variable, and pass over its data."""
    (rank,) = head.numbers("B", f"the rank of {name!r}")
    shape = head.numbers(f"{rank}I", f"the shape of {name!r}")
    kind, n_bytes = head.numbers("BI", f"the type of {name!r}")
    if kind >= len(TYPES):
        raise _refused(head.path, f"types 0 to {len(TYPES) - 1} are known, got {kind} in {name!r}")
    if n_bytes != (expected := math.prod(shape) * TYPES[kind].itemsize):  # exact, however large the dimensions
        got = f"got {n_bytes} in {name!r} of shape {_short(shape)} and type {kind}"
        raise _refused(head.path, f"{expected if expected < 2**64 else 'over 2^64'} bytes are expected, {got}")
    offset = head.room_for(n_bytes, f"{name!r}")
    head.file.seek(offset + n_bytes)
    return _Stored(offset, shape, TYPES[kind])


def _short(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) < 5 else f"({', '.join(map(str, shape[:4]))}, … {len(shape)} dimensions)"


def _add_aliases(head: _Head, found: dict[str, _Stored]) -> None:
    """Let equal variables, which are stored once, be found by all their names; a scale goes with its variable."""
    for _ in range(head.count("aliases")):
        alias, name = head.text("an alias"), head.text("the variable of an alias")
        if alias in found or name not in found:
            got = f"{alias!r}, a variable itself," if alias in found else f"{alias!r}"
            raise _refused(head.path, f"an alias is expected to be a new name of a variable, got {got} for {name!r}")
        found[alias] = found[name]
        if f"{name}_scale" in found:
            found.setdefault(f"{alias}_scale", found[f"{name}_scale"])


def _named(head: _Head, everything: Mapping[str, _Stored]) -> tuple[list[int], dict[str, np.ndarray]]:
    """Read the encoder's variables under openai-whisper's names, and see that none is missing and none left."""
    prefix = "encoder/"
    encoder = {name.removeprefix(prefix): one for name, one in everything.items() if name.startswith(prefix)}
    n_layer = len({found[0] for name in encoder if (found := re.match(r"layer_[0-9]{1,4}/", name))})
    in_layers = ((f"layer_{i}/{t}", f"blocks.{i}.{o}") for i in range(n_layer) for t, o in _OF_A_LAYER.items())
    names = _OUTSIDE_LAYERS | dict(in_layers)
    fused = [f"layer_{i}/{_FUSED}" for i in range(n_layer)]
    _check_names(head, encoder, {"num_heads", *names, *(f"{name}/{part}" for name in fused for part in PARTS)})
    sizes = [*_sizes(head, encoder), n_layer]
    found = {ours: _values(head, theirs, encoder) for theirs, ours in names.items()}
    for i, name in enumerate(fused):
        weight, bias = (_values(head, f"{name}/{part}", encoder) for part in PARTS)
        found |= _split(head, f"blocks.{i}.attn", weight, bias, width=sizes[2])
    return sizes, found


def _check_names(head: _Head, encoder: Mapping[str, _Stored], expected: set[str]) -> None:
    scales = {f"{name}_scale" for name in expected if name in encoder and encoder[name].dtype.kind == "i"}
    missing, extra = sorted(expected - set(encoder)), sorted(set(encoder) - expected - scales)
    if missing or extra:
        names = f"{len(missing)} are missing {missing[:3]}, {len(extra)} are none of Whisper's {extra[:3]}"
        raise _refused(head.path, f"a Whisper encoder's variables are expected, got others: {names}")


def _values(head: _Head, name: str, encoder: Mapping[str, _Stored]) -> np.ndarray:
    """Read a variable; what is quantized is divided by its scale."""
    stored = encoder[name]
    if stored.dtype.kind != "i":
        return head.values(name, stored)
    scale, rows = encoder.get(f"{name}_scale"), stored.shape[:1]
    if stored.dtype.itemsize > 2 or scale is None or scale.dtype.kind == "i" or scale.shape not in ((), rows):
        got = f"{scale.dtype} of shape {_short(scale.shape)}" if scale else "none"
        wanted = f"integers of 8 or 16 bits and {name}_scale, floats of shape () or {_short(rows)}"
        raise _refused(head.path, f"{wanted}, are expected, got {stored.dtype} and {got}")
    scales = head.values(f"{name}_scale", scale)
    if not (np.isfinite(scales) & (scales > LEAST_SCALE)).all():
        got = f"{scales.min():g} at least, {scales.max():g} at most"
        raise _refused(head.path, f"{name}_scale: finite scales above {LEAST_SCALE} are expected, got {got}")
    return head.values(name, stored) / scales.reshape(-1, *[1] * (len(stored.shape) - 1))


def _split(head: _Head, name: str, weight: np.ndarray, bias: np.ndarray, *, width: int) -> dict[str, np.ndarray]:
    """Cut query, key and value apart; a scalar, which is no matrix, stays what it is."""
    cuts = {"query": slice(width), "key": slice(width, 2 * width), "value": slice(2 * width, None)}
    weights = {f"{name}.{part}.weight": weight[cut] if weight.ndim else weight for part, cut in cuts.items()}
    biases = {f"{name}.{part}.bias": bias[cut] if bias.ndim else bias for part, cut in cuts.items()}
    if biases.pop(f"{name}.key.bias").any() and bias.shape == (3 * width,):
        raise _refused(head.path, f"keys without a bias are expected, got one in {name}")
    return weights | biases


def _sizes(head: _Head, encoder: Mapping[str, _Stored]) -> list[int]:
    heads, positions, conv1 = (encoder[name] for name in ("num_heads", POSITIONS, "conv1/weight"))
    if heads.shape or heads.dtype.kind != "i" or len(positions.shape) != 2 or len(conv1.shape) != 3:
        got = f"{heads.dtype} of {_short(heads.shape)}, {_short(positions.shape)} and {_short(conv1.shape)}"
        wanted = "num_heads as one integer, position_encodings of two dimensions and conv1 of three"
        raise _refused(head.path, f"{wanted} are expected, got {got}")
    return [conv1.shape[1], positions.shape[0], conv1.shape[0], int(head.values("num_heads", heads))]


def _refused(path: Path, reason: str) -> EncoderError:
    mend = "Download or copy it again, convert the model anew, or pass an OpenAI .pt file or a Hugging Face folder"
    return EncoderError(f"{path} is refused: {reason}. {mend}")
