"""Encoder weights: the same from every file layout, the untrained ones by the book, and nothing doubtful let in."""

import io
import json
import os
import socket
import tempfile
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from checkpoints import Payload, hugging_face_state, openai_checkpoint, save_hugging_face, save_openai, small_weights
from ctranslate2_files import save_ctranslate2
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file
from whisper.model import AudioEncoder, sinusoids

from musetools import EncoderError, ParameterError, load_encoder
from musetools.features.weights import _SIZES, EncoderWeights, read_weights, untrained_weights

PUBLISHED = {  # openai-whisper's model card: mel bins, rows, width, heads, blocks
    "tiny": (80, 1500, 384, 6, 4),
    "base": (80, 1500, 512, 8, 6),
}
LAYOUTS = {
    "pt": lambda tmp, w: save_openai(tmp / "small.pt", w),
    "legacy-pt": lambda tmp, w: save_openai(tmp / "small.pt", w, _use_new_zipfile_serialization=False),
    "safetensors": lambda tmp, w: save_hugging_face(tmp / "model", w),
    "safetensors-bare": lambda tmp, w: save_hugging_face(tmp / "model", w, prefix=""),
    "bin": lambda tmp, w: save_hugging_face(tmp / "model", w, "bin"),
    "bin-bare": lambda tmp, w: save_hugging_face(tmp / "model", w, "bin", prefix=""),
    "ctranslate2": lambda tmp, w: save_ctranslate2(tmp / "model", w),
}


# --- untrained


@pytest.mark.parametrize(("size", "seed"), [("tiny", 0), ("tiny", 7), ("base", 0)])
def test_untrained_weights_follow_the_book(size, seed):
    made, net = untrained_weights(size, seed), AudioEncoder(*PUBLISHED[size])
    rs, shapes = np.random.RandomState(seed), {name: tuple(p.shape) for name, p in net.named_parameters()}
    for name in sorted(shapes):
        z = rs.standard_normal(shapes[name])
        if name.endswith("ln.weight") or name == "ln_post.weight":
            z = 1 + 0.1 * z
        elif z.ndim == 1:
            z = 0.1 * z
        else:
            z = z / np.sqrt(np.prod(z.shape[1:]))
        np.testing.assert_array_equal(made.state[name].numpy(), z.astype(np.float32), err_msg=name)
    assert torch.equal(made.state["positional_embedding"], sinusoids(1500, PUBLISHED[size][2]))
    assert set(made.state) == set(net.state_dict())
    assert tuple(vars(made.dims).values()) == PUBLISHED[size]


def test_untrained_by_name_is_seed_0(encoder):
    assert encoder.fingerprint == untrained_weights("tiny", 0).fingerprint()
    assert (encoder.n_layers, encoder.width, encoder.n_mels) == (5, 384, 80)


def test_large_v3_has_128_mel_bins():
    assert _SIZES["large-v3"][0] == 128
    assert {_SIZES[size][0] for size in _SIZES if size != "large-v3"} == {80}


def test_another_seed_or_another_value_is_another_fingerprint():
    one = small_weights()
    last = dict(one.state) | {"ln_post.bias": one.state["ln_post.bias"].clone()}
    last["ln_post.bias"][-1] += 1e-6
    prints = {w.fingerprint() for w in (one, small_weights(seed=1), EncoderWeights(one.dims, last))}
    assert len(prints) == 3
    assert small_weights().fingerprint() == one.fingerprint()


# --- one set of weights in every layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_neither_fingerprint_nor_features(layout, tmp_path, weights, small):
    loaded = load_encoder(LAYOUTS[layout](tmp_path, weights), device="cpu")
    mel = np.sin(np.arange(80 * 200) ** 1.5 / 999).reshape(80, 200).astype(np.float32)
    assert loaded.fingerprint == small.fingerprint  # of names, sizes and values: nothing of the decoder is kept
    assert torch.equal(loaded.hidden_states(mel), small.hidden_states(mel))


def test_half_precision_checkpoints_become_float32(tmp_path, weights):
    """OpenAI publishes float16."""
    read = read_weights(save_openai(tmp_path / "half.pt", weights, torch.float16))
    for name, tensor in weights.state.items():
        assert read.state[name].dtype == torch.float32
        assert torch.equal(read.state[name], tensor.half().float()), name
    assert read.fingerprint() != weights.fingerprint()


def weights_file(path: Path) -> Path:
    """The file of a layout that holds the tensors."""
    return path if path.is_file() else next(p for p in path.iterdir() if p.suffix in (".safetensors", ".bin"))


@pytest.mark.parametrize("layout", ["pt", "safetensors", "bin", "ctranslate2"])
def test_weights_do_not_hang_on_their_file(layout, tmp_path, weights):
    """A file written over after loading would otherwise change the encoder, or kill the process."""
    path = LAYOUTS[layout](tmp_path, weights)
    read, file = read_weights(path), weights_file(path)
    with open(file, "r+b") as opened:
        opened.write(b"\xff" * file.stat().st_size)
    assert read.fingerprint() == weights.fingerprint()


def test_a_file_without_sinusoids_gets_them(tmp_path, weights):
    checkpoint = openai_checkpoint(weights)
    del checkpoint["model_state_dict"]["encoder.positional_embedding"]
    torch.save(checkpoint, tmp_path / "a.pt")
    assert read_weights(tmp_path / "a.pt").fingerprint() == weights.fingerprint()


# --- names


@pytest.mark.parametrize("name", ["tinny", "untrained-huge", "untrained-", "no/such/file.pt"])
def test_unknown_names_list_the_known(name):
    with pytest.raises(ParameterError) as caught:
        load_encoder(name)
    assert repr(name) in str(caught.value)
    assert "tiny" in str(caught.value)
    assert "large-v3" in str(caught.value)
    assert "untrained-" in str(caught.value)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """whisper's cache in an empty folder, and no way out."""

    def refuse(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "whisper" / "tiny.pt"


def test_a_network_that_never_answers_is_given_up(tmp_path, monkeypatch):
    """A proxy that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr("musetools.features.published.SILENT_S", 0.2)
        with pytest.raises(EncoderError, match=r"cannot get the weights of 'tiny'.*timed out.*Ways out"):
            load_encoder("tiny")
    assert socket.getdefaulttimeout() is None


def test_a_torn_download_is_not_used(no_network, weights):
    """The file is a whole checkpoint, but not the one that whisper's checksum is for."""
    no_network.parent.mkdir(parents=True)
    save_openai(no_network, weights)
    with pytest.warns(UserWarning, match="SHA256"), pytest.raises(EncoderError) as caught:
        load_encoder("tiny")
    assert str(no_network) in str(caught.value)


@pytest.mark.filterwarnings("ignore:unclosed file")  # whisper's own checksum leaves it to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_download_that_breaks_off_is_not_used(no_network, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url: Response(b"half of a checkpoint"))
    with pytest.raises(EncoderError, match="SHA256") as caught:
        load_encoder("tiny")
    assert str(no_network) in str(caught.value)


class Response(io.BytesIO):
    """What urlopen gives, of a connection that ends too soon."""

    def info(self) -> dict:
        return {"Content-Length": "1000"}


# --- files that are not what they should be


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["dims", "extra", "whole"])
def test_a_payload_in_a_pt_is_refused(zipped, place, tmp_path, weights):
    bad = Payload(tmp_path / "sentinel")
    checkpoint = bad if place == "whole" else openai_checkpoint(weights) | {place: bad}
    torch.save(checkpoint, tmp_path / "bad.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(EncoderError, match=r"bad\.pt is refused"):
        load_encoder(tmp_path / "bad.pt")
    assert not bad.sentinel.exists()


def test_a_payload_in_a_hugging_face_folder_is_refused(tmp_path, weights):
    folder, bad = save_hugging_face(tmp_path / "model", weights, "bin"), Payload(tmp_path / "sentinel")
    torch.save(hugging_face_state(weights) | {"model.encoder.extra": bad}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"pytorch_model\.bin is refused"):
        load_encoder(folder)
    assert not bad.sentinel.exists()


@pytest.mark.parametrize("layout", ["pt", "legacy-pt", "safetensors", "bin"])
@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -100, -1])
def test_truncated_files_are_refused(layout, kept, tmp_path, weights):
    path = LAYOUTS[layout](tmp_path, weights)
    file = weights_file(path)
    size = file.stat().st_size
    os.truncate(file, int(size * kept) if isinstance(kept, float) else kept % size if kept < 0 else kept)
    with pytest.raises(EncoderError) as caught:
        load_encoder(path)
    assert str(file) in str(caught.value)


def _without(mapping: dict, name: str) -> dict:
    return {key: value for key, value in mapping.items() if key != name}


STRANGE = {
    "a state alone": lambda c: c["model_state_dict"],
    "no dims": lambda c: _without(c, "dims"),
    "empty dims": lambda c: c | {"dims": {}},
    "dims in words": lambda c: c | {"dims": c["dims"] | {"n_audio_state": "64"}},
    "heads that do not divide the width": lambda c: c | {"dims": c["dims"] | {"n_audio_head": 7}},
    "no heads": lambda c: c | {"dims": c["dims"] | {"n_audio_head": 0}},
    "no state": lambda c: c | {"model_state_dict": None},
    "numbers for tensors": lambda c: c | {"model_state_dict": dict.fromkeys(c["model_state_dict"], 1.0)},
    "a list": lambda c: [1, 2, 3],
    "a tensor": lambda c: torch.zeros(3),
    "a number": lambda c: 42,
    "a decoder alone": lambda c: c | {"model_state_dict": {"decoder.ln.weight": torch.ones(3)}},
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_pt_of_something_else_is_refused(kind, tmp_path, weights):
    torch.save(STRANGE[kind](openai_checkpoint(weights)), tmp_path / "strange.pt")
    with pytest.raises(EncoderError, match=r"strange\.pt"):
        load_encoder(tmp_path / "strange.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(st.binary(max_size=64))
@example(b"no weights at all, only text\n")
@example(b"RIFF\x00\x00\x00\x00WAVEfmt ")
@example(b"\x80\x04.")
def test_any_other_bytes_are_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strange.pt"
        path.write_bytes(content)
        with pytest.raises(EncoderError, match=r"strange\.pt"):
            load_encoder(path)


@pytest.mark.parametrize("layout", ["safetensors", "ctranslate2"])
def test_a_file_of_a_folder_is_loaded_by_its_folder(layout, tmp_path, weights):
    file = weights_file(LAYOUTS[layout](tmp_path, weights))
    with pytest.raises(EncoderError, match=file.name.replace(".", r"\.")):
        load_encoder(file)


CONFIGS = {
    "absent": None,
    "no json": "{",
    "not utf-8": "\udcff",
    "a list": "[]",
    "another model": json.dumps({"model_type": "bert", "hidden_size": 768}),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_folder_without_a_whisper_config_is_refused(kind, tmp_path, weights):
    folder = save_hugging_face(tmp_path / "model", weights)
    (folder / "config.json").unlink()
    if CONFIGS[kind] is not None:
        (folder / "config.json").write_bytes(CONFIGS[kind].encode(errors="surrogateescape"))
    with pytest.raises(EncoderError, match=r"config\.json") as caught:
        load_encoder(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"d_model": "64"},
        {"d_model": 32},
        {"num_mel_bins": 128},
        {"encoder_layers": 2},
        {"encoder_layers": 0},  # whisper's own load_state_dict is strict, too
        {"encoder_attention_heads": 7},
    ],
)
def test_a_config_that_does_not_fit_its_weights_is_refused(change, tmp_path, weights):
    folder = save_hugging_face(tmp_path / "model", weights)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(EncoderError) as caught:
        load_encoder(folder)
    assert str(folder) in str(caught.value)


def test_a_folder_without_weights_is_refused(tmp_path, weights):
    folder = save_hugging_face(tmp_path / "model", weights)
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_encoder(folder)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("fault", ["missing", "shape"])
def test_tensors_that_are_missing_or_misshapen_are_named(kind, fault, tmp_path, weights):
    folder = save_hugging_face(tmp_path / "model", weights, kind)
    state, name = hugging_face_state(weights), "model.encoder.layers.0.fc2.weight"
    state = _without(state, name) | ({} if fault == "missing" else {name: torch.zeros(3, 5)})
    if kind == "bin":
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")
    got = "nothing" if fault == "missing" else r"\(3, 5\)"
    with pytest.raises(EncoderError, match=rf"mlp\.2\.weight \(64, 256\) expected, got {got}"):
        load_encoder(folder)


NO_FLOATS = {  # what a tensor is turned into, and what is said of it
    "NaN": (lambda t: t * float("nan"), "not finite"),
    "infinite": (lambda t: t / 0, "not finite"),
    "complex": (lambda t: t * 1j, "plain floats, got torch.complex64"),
    "bool": (lambda t: t > 0, "plain floats, got torch.bool"),
    "int": (lambda t: t.to(torch.int32), "plain floats, got torch.int32"),
    "sparse": (lambda t: t.to_sparse(), "plain floats, got torch.float32 sparse_coo"),
    "quantised": (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), r"cannot be read|plain floats|refused"),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.filterwarnings("ignore:.*TypedStorage")
@pytest.mark.parametrize("kind", NO_FLOATS)
def test_tensors_that_are_no_plain_finite_floats_are_refused(kind, tmp_path, weights):
    change, message = NO_FLOATS[kind]
    checkpoint = openai_checkpoint(weights)
    checkpoint["model_state_dict"]["encoder.conv1.bias"] = change(weights.state["conv1.bias"] + 0.5)
    torch.save(checkpoint, tmp_path / "a.pt")
    with pytest.raises(EncoderError, match=message):
        load_encoder(tmp_path / "a.pt")


def test_a_state_of_parameters_is_taken(tmp_path, weights):
    state = {name: torch.nn.Parameter(tensor) for name, tensor in weights.state.items()}
    checkpoint = openai_checkpoint(weights)
    checkpoint["model_state_dict"] |= {f"encoder.{name}": tensor for name, tensor in state.items()}
    torch.save(checkpoint, tmp_path / "a.pt")
    assert load_encoder(tmp_path / "a.pt").fingerprint == weights.fingerprint()


@pytest.mark.parametrize("sizes", [{"n_audio_layer": 10**6}, {"n_audio_ctx": 10**9}, {"n_audio_state": 10**6}])
def test_what_a_file_declares_is_compared_before_it_is_made(sizes, tmp_path, weights):
    """A million layers would be minutes of names, 10⁹ rows 4 GiB of sinusoids."""
    checkpoint = openai_checkpoint(weights)
    checkpoint["dims"] |= sizes
    torch.save(checkpoint, tmp_path / "a.pt")
    with pytest.raises(EncoderError, match="declares"):
        load_encoder(tmp_path / "a.pt")


def test_a_name_that_no_file_can_have():
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(ParameterError, match="no encoder"):
            load_encoder(name)


@pytest.mark.parametrize("content", [[1, 2], 42, torch.zeros(3), {1: torch.zeros(3)}])
def test_a_bin_of_something_else_is_refused(content, tmp_path, weights):
    folder = save_hugging_face(tmp_path / "model", weights, "bin")
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="model"):
        load_encoder(folder)
