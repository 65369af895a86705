"""Trained weights, tiny.en, from the package of the extra `trained`: the same encoder as whisper's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_hugging_face, save_openai
from ctranslate2_files import openai_state, read_plain
from oracles import SEGMENT, published_v1, published_v15, reference_states, speech
from whisper.audio import log_mel_spectrogram
from whisper.model import AudioEncoder, ModelDimensions, Whisper

from musetools import audio2feat, load_audio, load_encoder
from musetools.features.encoder import Encoder
from musetools.features.weights import EncoderWeights, read_weights

pytestmark = pytest.mark.trained
FINGERPRINT = "5e55abdb5f20"
DIMS = ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
SPECS = {"musetalk-v1": published_v1, "musetalk-v1.5": published_v15}


@pytest.fixture(scope="module")
def weights(trained) -> EncoderWeights:
    return read_weights(trained)


@pytest.fixture(scope="module")
def tiny_en(trained) -> Encoder:
    return load_encoder(trained, device="cpu")


@pytest.fixture(scope="module")
def plain(trained) -> dict[str, np.ndarray]:
    """All variables, read and named without musetools."""
    return {name: values.astype(np.float32) for name, values in read_plain(trained / "model.bin").items()}


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """30 s of real speech where it is given, else of the bundled."""
    path = Path(__file__).resolve().parents[3] / "shared" / "real" / "eng.wav"
    return load_audio(path)[:SEGMENT] if path.is_file() else speech(SEGMENT)


def test_fingerprint(tiny_en):
    assert tiny_en.fingerprint.startswith(FINGERPRINT)
    assert (tiny_en.n_layers, tiny_en.width, tiny_en.n_mels, tiny_en.max_rows) == (5, 384, 80, 1500)


def test_by_name(trained, tiny_en, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    by_name = load_encoder("tiny.en", device="cpu")
    assert (by_name.name, by_name.fingerprint) == ("tiny.en", tiny_en.fingerprint)


@pytest.mark.parametrize("layout", ["pt", "half-pt", "hugging-face"])
def test_every_layout_has_one_fingerprint_and_equal_features(layout, weights, tiny_en, recording, tmp_path):
    if layout == "hugging-face":
        path = save_hugging_face(tmp_path / "m", weights)
    else:  # OpenAI publishes float16, as this package stores it: nothing is lost
        path = save_openai(tmp_path / "a.pt", weights, torch.float16 if layout == "half-pt" else torch.float32)
    other = load_encoder(path, device="cpu")
    assert other.fingerprint == tiny_en.fingerprint
    audio = (recording[:160_000], 16_000)
    np.testing.assert_array_equal(audio2feat(audio, other), audio2feat(audio, tiny_en))


@pytest.mark.parametrize("final_norm", [True, False])
def test_every_layer_equals_whisper(final_norm, plain, tiny_en, recording):
    net = AudioEncoder(80, 1500, 384, 6, 4).eval()
    net.load_state_dict({name: torch.from_numpy(values) for name, values in openai_state(plain, 4).items()})
    mel = log_mel_spectrogram(recording)
    expected = reference_states(net, mel, final_norm=final_norm)
    _close(tiny_en.hidden_states(mel, final_norm=final_norm)[0].numpy(), expected)


@pytest.mark.parametrize("spec", SPECS)
def test_features_equal_the_published_pipelines(spec, weights, tiny_en, recording):
    audio = recording[:200_000]
    got = audio2feat((audio, 16_000), tiny_en, spec=spec)
    _close(got, SPECS[spec](audio, weights)[: len(got)])


def _close(got: np.ndarray, expected: np.ndarray):
    """Within 2e-4 of each layer's peak: v1's last layer reaches hundreds."""
    assert got.shape == expected.shape
    for layer in range(got.shape[1]):
        error, peak = np.abs(got[:, layer] - expected[:, layer]).max(), np.abs(expected[:, layer]).max()
        assert error <= 2e-4 * peak, f"layer {layer}: {error} of {peak}"


class Ours(torch.nn.Module):
    """Our encoder in the place of whisper's."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return self.encoder.hidden_states(mel)[:, :, -1]


@pytest.mark.filterwarnings("ignore:unclosed file")  # whisper leaves its list of tokens to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_whisper_understands_what_our_encoder_hears(plain, tiny_en, shared):
    model = Whisper(DIMS).eval()
    model.decoder.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in _decoder(plain).items()})
    model.encoder = Ours(tiny_en)
    text = model.transcribe(load_audio(shared / "real" / "eng.wav")[:160_000], fp16=False, temperature=0)["text"]
    assert "the left maintains that then vice president" in text.lower()


def _decoder(plain: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """CTranslate2's decoder by openai-whisper's names; in cross-attention the query stands apart from key and value."""
    made = {"token_embedding.weight": plain["decoder/embeddings/weight"]}
    made["positional_embedding"] = plain["decoder/position_encodings/encodings"]
    whole = {"layer_norm": "ln"}
    for i in range(4):
        there, here = f"layer_{i}", f"blocks.{i}"
        made |= _cut(plain, f"decoder/{there}/self_attention/linear_0", f"{here}.attn", ("query", "key", "value"))
        made |= _cut(plain, f"decoder/{there}/attention/linear_1", f"{here}.cross_attn", ("key", "value"))
        whole |= {f"{there}/self_attention/layer_norm": f"{here}.attn_ln", f"{there}/ffn/layer_norm": f"{here}.mlp_ln"}
        whole |= {f"{there}/attention/layer_norm": f"{here}.cross_attn_ln", f"{there}/ffn/linear_0": f"{here}.mlp.0"}
        whole |= {f"{there}/attention/linear_0": f"{here}.cross_attn.query", f"{there}/ffn/linear_1": f"{here}.mlp.2"}
        whole |= {f"{there}/attention/linear_2": f"{here}.cross_attn.out"}
        whole |= {f"{there}/self_attention/linear_1": f"{here}.attn.out"}
    for theirs, ours in whole.items():
        for a, b in (("gamma", "weight"), ("beta", "bias"), ("weight", "weight"), ("bias", "bias")):
            if f"decoder/{theirs}/{a}" in plain:
                made[f"{ours}.{b}"] = plain[f"decoder/{theirs}/{a}"]
    return made


def _cut(plain: dict[str, np.ndarray], fused: str, attention: str, parts: tuple[str, ...]) -> dict[str, np.ndarray]:
    weights, biases = (np.split(plain[f"{fused}/{kind}"], len(parts)) for kind in ("weight", "bias"))
    made = {f"{attention}.{part}.weight": weight for part, weight in zip(parts, weights, strict=True)}
    made |= {f"{attention}.{part}.bias": bias for part, bias in zip(parts, biases, strict=True)}
    return {name: values for name, values in made.items() if not name.endswith("key.bias")}
