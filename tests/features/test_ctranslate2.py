"""CTranslate2 folders: the same encoder as from any other layout, and nothing doubtful let in."""

import os
import re
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_hugging_face, save_openai, small_weights
from ctranslate2_files import (
    as_read,
    decoder_variables,
    encoder_variables,
    model_bin,
    openai_state,
    save_ctranslate2,
    save_folder,
    stored_as,
    variable,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from musetools import EncoderError, load_encoder
from musetools.features.weights import EncoderWeights, read_weights

KINDS = ["float32", "float16", "bfloat16", "int8", "int8_float16", "int8_bfloat16", "int8_linear", "int16"]
WEIGHTS = small_weights(n_layer=2)
VARIABLES = decoder_variables() | encoder_variables(WEIGHTS)
LINEAR, FUSED = "encoder/layer_1/ffn/linear_1/weight", "encoder/layer_0/self_attention/linear_0"
MEL = np.random.RandomState(0).uniform(-1, 1.5, (80, 200)).astype(np.float32)
MIB = 2**20


def meant(kind: str) -> EncoderWeights:
    """What a folder of a kind holds, by the book."""
    state = openai_state(as_read(stored_as(encoder_variables(WEIGHTS), kind)), WEIGHTS.dims.n_layer)
    return EncoderWeights(WEIGHTS.dims, {name: torch.from_numpy(values.copy()) for name, values in state.items()})


# --- the same weights, whatever file they come from


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_changes_neither_fingerprint_nor_features(kind, tmp_path):
    weights = meant(kind)
    paths = [
        save_ctranslate2(tmp_path / "ct2", WEIGHTS, kind),
        save_openai(tmp_path / "small.pt", weights),
        save_hugging_face(tmp_path / "hf", weights),
    ]
    here, *others = (load_encoder(path, device="cpu") for path in paths)
    assert here.fingerprint == weights.fingerprint()
    for other in others:
        assert other.fingerprint == here.fingerprint
        assert torch.equal(other.hidden_states(MEL), here.hidden_states(MEL))


def test_half_precision_is_that_of_a_half_precision_pt(tmp_path):
    half = read_weights(save_openai(tmp_path / "half.pt", WEIGHTS, torch.float16))
    assert read_weights(save_ctranslate2(tmp_path / "m", WEIGHTS, "float16")).fingerprint() == half.fingerprint()


def test_int8_weights_are_within_half_a_step(tmp_path):
    read = read_weights(save_ctranslate2(tmp_path / "m", WEIGHTS, "int8"))
    for name, exact in WEIGHTS.state.items():
        error = (read.state[name] - exact).abs()
        flat = exact.abs().flatten(1) if exact.ndim > 1 else exact.abs()[:, None]
        quantized = name.endswith("weight") and exact.ndim > 1
        allowed = flat.amax(1, keepdim=True) / 127 * (0.5 + 1e-4) if quantized else torch.zeros(1)
        assert (error.reshape(len(flat), -1) <= allowed).all(), name


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_aliases_are_followed(kind, tmp_path):
    """CTranslate2 stores equal variables once, under the first of their names, which may be the decoder's."""
    same = {
        "encoder/layer_norm/beta": "decoder/layer_0/ffn/layer_norm/beta",
        "encoder/layer_1/self_attention/linear_1/weight": "encoder/layer_0/self_attention/linear_1/weight",
        "encoder/layer_1/self_attention/linear_0/bias": f"{FUSED}/bias",
    }
    variables = dict(VARIABLES)
    variables["decoder/layer_0/ffn/layer_norm/beta"] = variables["encoder/layer_norm/beta"]
    whole = stored_as(variables | {alias: variables[name] for alias, name in same.items()}, kind)
    short = {n: v for n, v in whole.items() if n.removesuffix("_scale") not in same}
    folders = [
        save_folder(tmp_path / "a", model_bin(whole)),
        save_folder(tmp_path / "b", model_bin(short, list(same.items()))),
    ]
    one, other = (read_weights(folder).fingerprint() for folder in folders)
    assert one == other


def test_only_the_encoder_is_read(tmp_path):
    """A decoder of a GiB, which is a hole in the file, is passed over."""
    big, empty = "decoder/embeddings/weight", np.zeros(0, "f4")
    parts = {n: v for n, v in VARIABLES.items() if n != big} | {
        big: variable(big, empty, shape=(2**14, 2**14), n_bytes=2**30)
    }
    head, tail = model_bin(parts)[:-4], struct.pack("<I", 0)
    folder = save_folder(tmp_path / "m", head)
    with open(folder / "model.bin", "r+b") as file:
        file.seek(2**30, os.SEEK_END)
        file.write(tail)
    read, peak = _peak(lambda: read_weights(folder))
    assert read.fingerprint() == WEIGHTS.fingerprint()
    assert peak < 4 * MIB


def test_neither_config_nor_vocabulary_is_needed(tmp_path):
    folder = save_ctranslate2(tmp_path / "m", WEIGHTS)
    for path in folder.iterdir():
        if path.name != "model.bin":
            path.unlink()
    assert read_weights(folder).fingerprint() == WEIGHTS.fingerprint()


def test_beside_hugging_face_files_a_model_bin_is_not_looked_at(tmp_path):
    folder = save_hugging_face(tmp_path / "m", WEIGHTS)
    (folder / "model.bin").write_bytes(b"something else")
    assert read_weights(folder).fingerprint() == WEIGHTS.fingerprint()


# --- files that are not what they should be


def _peak(call):
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _with(name: str, values, **lies) -> dict:
    return VARIABLES | {name: variable(name, np.asarray(values), **lies)}


def _without(*names: str) -> dict:
    return {name: values for name, values in VARIABLES.items() if name not in names}


def _quantized(**changed) -> bytes:
    return model_bin({n: v for n, v in (stored_as(VARIABLES, "int8") | changed).items() if v is not None})


F4, SCALE, HUGE = np.zeros(3, "f4"), f"{LINEAR}_scale", 2**32 - 1
GOOD = model_bin(VARIABLES)
HOSTILE = {  # what is told: content
    "the binary version at byte 0 takes 4 bytes, got 0": b"",
    "binary version 6 is read here, got 5": model_bin(VARIABLES, version=5),
    "binary version 6 is read here, got 7": model_bin(VARIABLES, version=7),
    "binary version 6 is read here, got 67324752": b"PK\3\4" + bytes(1000),
    "a model 'WhisperSpec' is expected, got 'TransformerSpec'": model_bin(VARIABLES, spec="TransformerSpec"),
    "revision 3 of WhisperSpec is read here, got 4": model_bin(VARIABLES, revision=4),
    "at most 20000 variables are expected, got 4294967295": model_bin(VARIABLES, count=HUGE),
    "at most 20000 aliases are expected, got 4294967295": model_bin(VARIABLES, n_aliases=HUGE),
    "the name of a variable": model_bin({}, count=20_000),
    "the shape of .* takes 8 bytes, got 3": model_bin({})[:-8] + struct.pack("<I", 1) + b"\3\0ab\0\2" + bytes(3),
    "closing NUL, got 0 in all": model_bin({"a": b"\0\0"}),
    "closing NUL, got 1 in all": model_bin({"a": b"\1\0\0"}),
    "closing NUL, got 65535 in all": model_bin({"a": b"\xff\xff" + bytes(100)}),
    "only NUL, got b'abc'": model_bin({"a": b"\3\0abc"}),
    r"only NUL, got b'a\\x00\\x00'": model_bin({"a": b"\3\0a\0\0"}),
    "takes 4294967292 bytes, got": model_bin({"a": variable("a", F4, shape=(2**30 - 1,), n_bytes=HUGE - 3)}),
    "'encoder/conv1/weight' at byte .* takes 2147483648 bytes": model_bin(
        {"a": variable("encoder/conv1/weight", F4, shape=(2**14, 2**15, 1), n_bytes=2**31)}
    ),
    "over 2.64 bytes are expected, got 12": model_bin({"a": variable("a", F4, shape=(HUGE,) * 255)}),
    "73786976294838206464 bytes|over 2.64": model_bin({"a": variable("a", F4, shape=(2**31, 2**31, 4))}),
    "0 bytes are expected, got 12": model_bin({"a": variable("a", F4, shape=(HUGE, 0))}),
    "12 bytes are expected, got 8": model_bin({"a": variable("a", F4, n_bytes=8)}),
    "6 bytes are expected, got 12": model_bin({"a": variable("a", F4, kind=4)}),
    "types 0 to 5 are known, got 6": model_bin({"a": variable("a", F4, kind=6)}),
    "types 0 to 5 are known, got 255": model_bin({"a": variable("a", F4, kind=255)}),
    "one variable a name is expected, got 'encoder/conv1/bias' twice": model_bin(
        VARIABLES | {"again": variable("encoder/conv1/bias", VARIABLES["encoder/conv1/bias"])}
    ),
    "new name of a variable, got 'encoder/conv1/bias', a variable itself": model_bin(
        VARIABLES, [("encoder/conv1/bias", LINEAR)]
    ),
    "new name of a variable, got 'x' for 'nowhere'": model_bin(VARIABLES, [("x", "nowhere")]),
    "got 'x' for 'x'": model_bin(VARIABLES, [("x", "x")]),
    "aliases are expected to end the file, got 5 more": GOOD + b"12345",
    "1 are missing .'layer_1/ffn/linear_1/weight'.": model_bin(_without(LINEAR)),
    "1 are missing .'num_heads'.": model_bin(_without("encoder/num_heads")),
    "1 are missing .'position_encodings/encodings'.": model_bin(_without("encoder/position_encodings/encodings")),
    "0 are missing .., 1 are none of Whisper's .'layer_0/self_attention/q_norm/gamma'.": model_bin(
        _with("encoder/layer_0/self_attention/q_norm/gamma", F4)
    ),
    "7 are missing|are missing .'layer_2": model_bin(_with("encoder/layer_7/ffn/linear_0/bias", F4)),
    "1 are none of Whisper's .'conv1/weight_scale'.": model_bin(_with("encoder/conv1/weight_scale", F4)),
    "cannot be: .*n_layer=0": model_bin(
        {n: v for n, v in VARIABLES.items() if "layer_0" not in n and "layer_1" not in n}
    ),
    "cannot be: .*n_head=7": model_bin(_with("encoder/num_heads", np.int16(7))),
    "cannot be: .*n_head=0": model_bin(_with("encoder/num_heads", np.int16(0))),
    "cannot be: .*n_head=-6": model_bin(_with("encoder/num_heads", np.int16(-6))),
    "num_heads as one integer": model_bin(_with("encoder/num_heads", np.float32(np.nan))),
    "num_heads as one integer.*got int16 of .2,.": model_bin(_with("encoder/num_heads", np.int16([1, 1]))),
    "conv1 of three are expected, got .*80.[.]": model_bin(_with("encoder/conv1/weight", np.zeros((64, 80), "f4"))),
    "conv1 of three": model_bin(_with("encoder/conv1/weight", np.float32(1))),
    "position_encodings of two": model_bin(_with("encoder/position_encodings/encodings", F4)),
    r"mlp\.2\.weight \(64, 256\) expected, got \(3, 5\)": model_bin(_with(LINEAR, np.zeros((3, 5), "f4"))),
    r"mlp\.2\.weight \(64, 256\) expected, got \(\)": model_bin(_with(LINEAR, np.float32(1))),
    r"attn\.value\.weight \(64, 64\) expected, got \(0, 64\)": model_bin(
        _with(f"{FUSED}/weight", np.zeros((128, 64), "f4"))
    ),
    r"attn\.key\.weight \(64, 64\) expected, got \(\)": model_bin(_with(f"{FUSED}/weight", np.float32(1))),
    r"positional_embedding \(4294967295, 64\) expected, got \(4294967295, 0\)|cannot be|lacks the encoder": model_bin(
        _with("encoder/position_encodings/encodings", np.zeros(0, "f4"), shape=(HUGE, 0))
    ),
    "lacks the encoder|cannot be": model_bin(
        _with("encoder/conv1/weight", np.zeros(0, "f4"), shape=(HUGE - 1, 0, HUGE))
    ),
    "keys without a bias are expected, got one": model_bin(_with(f"{FUSED}/bias", np.full(192, 1, "f4"))),
    "integers of 8 or 16 bits .* got int32 and none": model_bin(_with(LINEAR, np.zeros((64, 256), "i4"))),
    "are expected, got int8 and none": _quantized(**{SCALE: None}),
    "got int8 and float32 of shape .63,.": _quantized(**{SCALE: np.ones(63, "f4")}),
    "got int8 and float32 of shape .64, 1.": _quantized(**{SCALE: np.ones((64, 1), "f4")}),
    "got int8 and int8 of shape .64,.": _quantized(**{SCALE: np.ones(64, "i1")}),
    "finite scales above 1e-30 are expected, got 0 at least": _quantized(**{SCALE: np.zeros(64, "f4")}),
    "finite scales above 1e-30 are expected, got -1 at least": _quantized(**{SCALE: np.full(64, -1, "f4")}),
    "finite scales above 1e-30 are expected, got nan": _quantized(**{SCALE: np.full(64, np.nan, "f4")}),
    "finite scales above 1e-30 are expected, got inf": _quantized(**{SCALE: np.full(64, np.inf, "f4")}),
    "finite scales above 1e-30 are expected, got 1e-35": _quantized(**{SCALE: np.full(64, 1e-35, "f4")}),
}


@pytest.mark.parametrize("told", HOSTILE)
def test_a_hostile_file_is_refused_and_costs_no_memory(told, tmp_path):
    folder = save_folder(tmp_path / "m", HOSTILE[told])
    refusal, peak = _peak(lambda: _refusal(folder))
    assert re.search(told, refusal)
    assert str(folder / "model.bin") in refusal
    assert "Download or copy it again" in refusal or "expected, got" in refusal
    assert len(refusal) < 1000
    assert peak < 4 * MIB


def _refusal(folder: Path) -> str | None:
    """Load, and return why not; anything but an EncoderError is a fault."""
    try:
        load_encoder(folder)
    except EncoderError as error:
        return str(error)
    return None


def test_a_file_cut_anywhere_in_its_head_is_refused(tmp_path):
    folder, told = save_folder(tmp_path / "m", GOOD), set()
    at = [*range(200), *(GOOD.index(name.encode()) + k for name in VARIABLES for k in (-1, 5, len(name) + 4))]
    for kept in (*sorted(at, reverse=True), len(GOOD) - 1):
        (folder / "model.bin").write_bytes(GOOD[:kept])
        told.add((refused := _refusal(folder)) is not None and "model.bin" in refused)
    assert told == {True}


HEADS = sorted(
    {k for name in VARIABLES for k in range(GOOD.index(name.encode()) - 2, GOOD.index(name.encode()) + len(name) + 20)}
    | set(range(40))
    | set(range(len(GOOD) - 4, len(GOOD)))
)


@given(st.dictionaries(st.sampled_from(HEADS), st.integers(0, 255), min_size=1, max_size=6))
@settings(max_examples=200)
def test_any_other_head_is_read_or_refused(changes):
    content = bytearray(GOOD)
    for place, byte in changes.items():
        content[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = save_folder(Path(folder) / "m", bytes(content))
        told, peak = _peak(lambda: _refusal(path))
        assert told is None or str(path / "model.bin") in told
        assert peak < 4 * MIB


@given(st.binary(max_size=64), st.sampled_from([0, 4, 18, 22, 26]))
def test_any_other_bytes_are_refused(content, kept):
    with tempfile.TemporaryDirectory() as folder:
        path = save_folder(Path(folder) / "m", GOOD[:kept] + content)
        assert str(path / "model.bin") in _refusal(path)


def test_values_that_vanish_while_they_are_read_are_refused(tmp_path, monkeypatch):
    """A file replaced by a shorter one between its head and its values."""
    from musetools.features import ctranslate2

    folder, variables = save_ctranslate2(tmp_path / "m", WEIGHTS), ctranslate2._variables

    def replaced(head):
        found = variables(head)
        os.truncate(head.path, 1000)
        return found

    monkeypatch.setattr(ctranslate2, "_variables", replaced)
    with pytest.raises(EncoderError, match=r"model\.bin is refused: .* cannot be read"):
        load_encoder(folder)
