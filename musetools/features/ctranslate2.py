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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from musetools.errors import EncoderError

__all__ = ["Stored", "read_index"]

BINARY_VERSION, SPEC, REVISION = 6, "WhisperSpec", 3
MOST = 20_000  # variables or aliases: 32 blocks of encoder and decoder, quantized, have 2,000
LONGEST_NAME = 255  # bytes; Whisper's longest has 50
LEAST_SCALE = 1e-30  # a smaller one's weights would leave the range of float32
BFLOAT16 = np.dtype("<u2")  # numpy has none: the upper half of a float32
TYPES = (*map(np.dtype, ("<f4", "i1", "<i2", "<i4", "<f2")), BFLOAT16)  # in the order of CTranslate2's DataType
_OUTSIDE_LAYERS = {
    "position_encodings/encodings": "positional_embedding",
    "layer_norm/gamma": "ln_post.weight",
    "layer_norm/beta": "ln_post.bias",
    **{f"{conv}/{part}": f"{conv}.{part}" for conv in ("conv1", "conv2") for part in ("weight", "bias")},
}
_OF_A_LAYER = {
    "self_attention/layer_norm/gamma": "attn_ln.weight",
    "self_attention/layer_norm/beta": "attn_ln.bias",
    "ffn/layer_norm/gamma": "mlp_ln.weight",
    "ffn/layer_norm/beta": "mlp_ln.bias",
}
for _theirs, _ours in (("self_attention/linear_1", "attn.out"), ("ffn/linear_0", "mlp.0"), ("ffn/linear_1", "mlp.2")):
    _OF_A_LAYER |= {f"{_theirs}/{part}": f"{_ours}.{part}" for part in ("weight", "bias")}
_FUSED = "self_attention/linear_0"  # query, key and value


@dataclass(frozen=True)
class Stored:
    """A variable, or some of its rows, that still lies in its file."""

    path: Path
    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: "Stored | None" = None

    def rows(self, first: int, end: int | None = None) -> "Stored":
        """Return some rows, as slicing would; a scalar stays what it is."""
        if not self.shape:
            return self
        first, end, _ = slice(first, end).indices(self.shape[0])
        start = self.offset + first * math.prod(self.shape[1:]) * self.dtype.itemsize
        shape = (max(0, end - first), *self.shape[1:])
        return replace(self, offset=start, shape=shape, scale=self.scale and self.scale.rows(first, end))

    def read(self) -> np.ndarray:
        """Read the values as float32."""
        try:
            stored = np.fromfile(self.path, self.dtype, math.prod(self.shape), offset=self.offset)
            values = _as_float32(stored).reshape(self.shape)
        except (OSError, ValueError) as error:  # replaced by a shorter file since its head was read
            raise _refused(self.path, f"{self.name} cannot be read: {error}") from None
        return values if self.scale is None else values / self._scales()

    def _scales(self) -> np.ndarray:
        scales = self.scale.read()
        if not (np.isfinite(scales) & (scales > LEAST_SCALE)).all():
            least = f"{scales.min():g} at least, {scales.max():g} at most"
            raise _refused(self.path, f"{self.scale.name}: finite scales above {LEAST_SCALE} are expected, got {least}")
        return scales.reshape(-1, *[1] * (len(self.shape) - 1))


def _as_float32(stored: np.ndarray) -> np.ndarray:
    if stored.dtype == BFLOAT16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):  # a NaN of half precision stays one
        return stored.astype(np.float32, copy=False)


def read_index(path: Path) -> tuple[list[int], dict[str, Stored]]:
    """Read what a ``model.bin`` holds of the encoder, but not its values.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    list of int
        Mel bins, rows, width, heads and blocks, as the variables' shapes tell: ``config.json`` does not hold them.
    dict
        The encoder's variables by openai-whisper's names without ``encoder.``; query, key and value apart.

    Raises
    ------
    EncoderError
        If it is no Whisper model in binary version 6, torn, or has other variables than a Whisper encoder.
    """
    try:
        with open(path, "rb") as file:
            everything = _variables(_Head(path, file))
    except OSError as error:
        raise _refused(path, str(error)) from None
    prefix = "encoder/"
    encoder = {name.removeprefix(prefix): one for name, one in everything.items() if name.startswith(prefix)}
    return _named(path, encoder)


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

    def count(self, what: str) -> int:
        (count,) = self.numbers("I", f"the number of {what}")
        if count > MOST:
            raise _refused(self.path, f"at most {MOST} {what} are expected, got {count}")
        return count


def _variables(head: _Head) -> dict[str, Stored]:
    """List all variables, aliases included, without their data."""
    _check_version(head)
    found: dict[str, Stored] = {}
    for _ in range(head.count("variables")):
        variable = _variable(head)
        if variable.name in found:
            raise _refused(head.path, f"one variable a name is expected, got {variable.name!r} twice")
        found[variable.name] = variable
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


def _variable(head: _Head) -> Stored:
    """Read a variable's head, and pass over its data."""
    name = head.text("the name of a variable")
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
    return Stored(head.path, name, offset, shape, TYPES[kind])


def _short(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) < 5 else f"({', '.join(map(str, shape[:4]))}, … {len(shape)} dimensions)"


def _add_aliases(head: _Head, found: dict[str, Stored]) -> None:
    """Let equal variables, which are stored once, be found by all their names; a scale goes with its variable."""
    for _ in range(head.count("aliases")):
        alias, name = head.text("an alias"), head.text("the variable of an alias")
        if alias in found or name not in found:
            got = f"{alias!r}, a variable itself," if alias in found else f"{alias!r}"
            raise _refused(head.path, f"an alias is expected to be a new name of a variable, got {got} for {name!r}")
        found[alias] = found[name]
        if f"{name}_scale" in found:
            found.setdefault(f"{alias}_scale", found[f"{name}_scale"])


def _named(path: Path, encoder: Mapping[str, Stored]) -> tuple[list[int], dict[str, Stored]]:
    """Give the encoder's variables openai-whisper's names, and see that none is missing and none left."""
    n_layer = len({found[0] for name in encoder if (found := re.match(r"layer_[0-9]{1,4}/", name))})
    in_layers = ((f"layer_{i}/{t}", f"blocks.{i}.{o}") for i in range(n_layer) for t, o in _OF_A_LAYER.items())
    names = _OUTSIDE_LAYERS | dict(in_layers)
    fused = [f"layer_{i}/{_FUSED}/{part}" for i in range(n_layer) for part in ("weight", "bias")]
    _check_names(path, encoder, {"num_heads", *names, *fused})
    scaled = {name: _scaled(path, name, encoder) for name in (*names, *fused)}
    found = {ours: scaled[theirs] for theirs, ours in names.items()}
    width = (*found["conv1.weight"].shape, 0)[0]
    for name in fused:
        found |= _split(path, name, scaled[name], width)
    return _sizes(path, encoder["num_heads"], found, n_layer), found


def _check_names(path: Path, encoder: Mapping[str, Stored], expected: set[str]) -> None:
    scales = {f"{name}_scale" for name in expected if name in encoder and encoder[name].dtype.kind == "i"}
    missing, extra = sorted(expected - set(encoder)), sorted(set(encoder) - expected - scales)
    if missing or extra:
        names = f"{len(missing)} are missing {missing[:3]}, {len(extra)} are none of Whisper's {extra[:3]}"
        raise _refused(path, f"a Whisper encoder's variables are expected, got others: {names}")


def _scaled(path: Path, name: str, encoder: Mapping[str, Stored]) -> Stored:
    """Join a quantized variable with its scale."""
    variable = encoder[name]
    if variable.dtype.kind != "i":
        return variable
    scale, rows = encoder.get(f"{name}_scale"), variable.shape[:1]
    if variable.dtype.itemsize > 2 or scale is None or scale.dtype.kind == "i" or scale.shape not in ((), rows):
        got = f"{scale.dtype} of shape {_short(scale.shape)}" if scale else "none"
        wanted = f"integers of 8 or 16 bits and {name}_scale, floats of shape () or {_short(rows)}"
        raise _refused(path, f"{wanted}, are expected, got {variable.dtype} and {got}")
    return replace(variable, scale=scale)


def _split(path: Path, name: str, fused: Stored, width: int) -> dict[str, Stored]:
    """Cut query, key and value apart."""
    block, part = name.split("/")[0].replace("layer_", "blocks."), name.rpartition("/")[2]
    query, key, value = fused.rows(0, width), fused.rows(width, 2 * width), fused.rows(2 * width)
    if part == "weight":
        return {f"{block}.attn.{p}.weight": one for p, one in (("query", query), ("key", key), ("value", value))}
    if fused.shape == (3 * width,) and key.read().any():
        raise _refused(path, f"keys without a bias are expected, got one in {fused.name!r}")
    return {f"{block}.attn.query.bias": query, f"{block}.attn.value.bias": value}


def _sizes(path: Path, heads: Stored, found: Mapping[str, Stored], n_layer: int) -> list[int]:
    positions, conv1 = found["positional_embedding"].shape, found["conv1.weight"].shape
    if heads.shape or heads.dtype.kind != "i" or len(positions) != 2 or len(conv1) != 3:
        got = f"{heads.dtype} of {_short(heads.shape)}, {_short(positions)} and {_short(conv1)}"
        wanted = "num_heads as one integer, position_encodings of two dimensions and conv1 of three"
        raise _refused(path, f"{wanted} are expected, got {got}")
    return [conv1[1], positions[0], conv1[0], int(heads.read()), n_layer]


def _refused(path: Path, reason: str) -> EncoderError:
    mend = "Download or copy it again, convert the model anew, or pass an OpenAI .pt file or a Hugging Face folder"
    return EncoderError(f"{path} is refused: {reason}. {mend}")
