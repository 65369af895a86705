"""CTranslate2's ``model.bin`` as its own ModelSpec writes it, by hand: whole models, single parts, and lies.

After OpenNMT/CTranslate2, python/ctranslate2/specs/{model_spec,whisper_spec}.py and converters/transformers.py.
Names and order are typed in here, not taken from musetools' own table.
"""

import json
import struct
from pathlib import Path

import numpy as np

from musetools.features.weights import EncoderWeights

TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
_NORMS = {"self_attention/layer_norm": "attn_ln", "ffn/layer_norm": "mlp_ln"}
_LINEARS = {"self_attention/linear_1": "attn.out", "ffn/linear_0": "mlp.0", "ffn/linear_1": "mlp.2"}


def text(name: str | bytes) -> bytes:
    name = name if isinstance(name, bytes) else name.encode()
    return struct.pack("<H", len(name) + 1) + name + b"\0"


def variable(name: str, values: np.ndarray, *, kind=None, shape=None, n_bytes=None) -> bytes:
    """One variable; what is said of it may differ from what it is."""
    shape, data = values.shape if shape is None else shape, values.tobytes()
    if kind is None:
        kind = TYPES["bfloat16" if values.dtype == np.uint16 else values.dtype.name]
    head = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return text(name) + head + struct.pack("<BI", kind, len(data) if n_bytes is None else n_bytes) + data


def model_bin(variables, aliases=(), *, version=6, spec="WhisperSpec", revision=3, count=None, n_aliases=None) -> bytes:
    """A whole file: `variables` are arrays by name, or bytes by `variable`."""
    parts = [one if isinstance(one, bytes) else variable(name, one) for name, one in variables.items()]
    count, n_aliases = (
        given if said is None else said for given, said in ((len(parts), count), (len(aliases), n_aliases))
    )
    head = struct.pack("<I", version) + text(spec) + struct.pack("<II", revision, count)
    return b"".join([head, *parts, struct.pack("<I", n_aliases), *(text(a) + text(b) for a, b in aliases)])


def encoder_variables(weights: EncoderWeights) -> dict[str, np.ndarray]:
    """The encoder as CTranslate2 names and fuses it, in float32."""
    state = {name: tensor.numpy() for name, tensor in weights.state.items()}
    made = {"encoder/num_heads": np.int16(weights.dims.n_head)[()]}
    made["encoder/position_encodings/encodings"] = state["positional_embedding"]
    norms, linears = {"layer_norm": "ln_post"}, {"conv1": "conv1", "conv2": "conv2"}
    for i in range(weights.dims.n_layer):
        block, layer = f"blocks.{i}.", f"layer_{i}/"
        norms |= {layer + theirs: block + ours for theirs, ours in _NORMS.items()}
        linears |= {layer + theirs: block + ours for theirs, ours in _LINEARS.items()}
        parts = [state[f"{block}attn.{part}.weight"] for part in ("query", "key", "value")]
        biases = [state[block + "attn.query.bias"], np.zeros(len(parts[1]), "f4"), state[block + "attn.value.bias"]]
        made[f"encoder/{layer}self_attention/linear_0/weight"] = np.concatenate(parts)
        made[f"encoder/{layer}self_attention/linear_0/bias"] = np.concatenate(biases)
    for theirs, ours in norms.items():
        made |= {f"encoder/{theirs}/gamma": state[ours + ".weight"], f"encoder/{theirs}/beta": state[ours + ".bias"]}
    for theirs, ours in linears.items():
        made |= {f"encoder/{theirs}/{part}": state[f"{ours}.{part}"] for part in ("weight", "bias")}
    return made


def decoder_variables() -> dict[str, np.ndarray]:
    """Small ones, there to be left alone, sorted before the encoder's."""
    return {
        "decoder/activation": np.int8(3)[()],
        "decoder/alignment_layer": np.int16(-1)[()],
        "decoder/embeddings/weight": np.full((4, 8), 1e4, "f4"),
        "decoder/layer_0/self_attention/linear_0/weight": np.full((24, 8), 1e4, "f4"),
        "decoder/layer_norm/gamma": np.full(8, 1e4, "f4"),
    }


def stored_as(variables: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """What ModelSpec's ``_quantize`` makes of float32 variables; ``int8_linear`` leaves convolutions as they are."""
    weights_as, _, rest_as = kind.partition("_")
    made = {}
    for name, values in variables.items():
        if (
            name.endswith("/weight")
            and weights_as in ("int8", "int16")
            and not ("conv" in name and rest_as == "linear")
        ):
            made[name], made[name + "_scale"] = _quantized(values, weights_as)
        else:
            rest = {"int8": "float32", "int16": "float32"}.get(weights_as, weights_as)
            rest = rest_as if rest_as.startswith(("float", "bfloat")) else rest
            made[name] = _half(values, rest) if values.dtype == np.float32 else values
    return made


def _quantized(values: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    if kind == "int16":
        scale = np.float32(2**10 / np.abs(values).max())[()]
        return np.rint(values * scale).astype(np.int16), np.asarray(scale)
    flat = values.reshape(len(values), -1)
    peak = np.abs(flat).max(1)
    peak[peak == 0] = 127
    scale = np.float32(127) / peak
    return np.rint(flat * scale[:, None]).astype(np.int8).reshape(values.shape), scale


def _half(values: np.ndarray, kind: str) -> np.ndarray:
    if kind == "bfloat16":  # cut off, not rounded: any value will do
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(kind)


def as_read(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The float32 values that stored ones stand for, scales used up."""
    made = {}
    for name, values in variables.items():
        if values.dtype == np.uint16:
            made[name] = (values.astype(np.uint32) << 16).view(np.float32)
        elif name + "_scale" in variables:
            scale = variables[name + "_scale"]
            made[name] = values / scale.reshape(-1, *[1] * (values.ndim - 1))
        elif not name.endswith("_scale"):
            made[name] = values.astype(np.float32)
    return made


def openai_state(read: dict[str, np.ndarray], n_layer: int) -> dict[str, np.ndarray]:
    """CTranslate2's variables under openai-whisper's names again."""
    names = {"position_encodings/encodings": "positional_embedding"}
    norms, linears, made = {"layer_norm": "ln_post"}, {"conv1": "conv1", "conv2": "conv2"}, {}
    for i in range(n_layer):
        norms |= {f"layer_{i}/{theirs}": f"blocks.{i}.{ours}" for theirs, ours in _NORMS.items()}
        linears |= {f"layer_{i}/{theirs}": f"blocks.{i}.{ours}" for theirs, ours in _LINEARS.items()}
        fused = f"encoder/layer_{i}/self_attention/linear_0"
        for part, weight, bias in zip(
            ("query", "key", "value"),
            np.split(read[f"{fused}/weight"], 3),
            np.split(read[f"{fused}/bias"], 3),
            strict=True,
        ):
            made[f"blocks.{i}.attn.{part}.weight"] = weight
            if part != "key":
                made[f"blocks.{i}.attn.{part}.bias"] = bias
    names |= {f"{t}/{a}": f"{o}.{b}" for t, o in norms.items() for a, b in (("gamma", "weight"), ("beta", "bias"))}
    names |= {f"{t}/{a}": f"{o}.{a}" for t, o in linears.items() for a in ("weight", "bias")}
    return made | {ours: read[f"encoder/{theirs}"] for theirs, ours in names.items()}


def save_ctranslate2(folder: Path, weights: EncoderWeights, kind: str = "float32") -> Path:
    """Write ``model.bin``, ``config.json`` and a vocabulary, as faster-whisper keeps them."""
    variables = stored_as(decoder_variables() | encoder_variables(weights), kind)
    return save_folder(folder, model_bin(variables, [("decoder/projection/weight", "decoder/embeddings/weight")]))


def save_folder(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(content)
    config = {"alignment_heads": [[1, 0]], "lang_ids": [50259], "suppress_ids": [1, 2], "suppress_ids_begin": [220]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocabulary.txt").write_text("!\n", encoding="utf-8")
    return folder


def read_plain(path: Path) -> dict[str, np.ndarray]:
    """Read a trusted file, encoder and decoder, without a check."""
    dtypes, read = ("<f4", "i1", "<i2", "<i4", "<f2", "<u2"), {}
    with open(path, "rb") as file:

        def numbers(form: str) -> tuple:
            return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))

        def name() -> str:
            return file.read(numbers("H")[0])[:-1].decode()

        numbers("I"), name(), numbers("I")
        for _ in range(numbers("I")[0]):
            one, rank = name(), numbers("B")[0]
            shape, (kind, n_bytes) = numbers(f"{rank}I"), numbers("BI")
            read[one] = np.frombuffer(file.read(n_bytes), dtypes[kind]).reshape(shape)
        for _ in range(numbers("I")[0]):
            one, other = name(), name()
            read[one] = read[other]
    return read
