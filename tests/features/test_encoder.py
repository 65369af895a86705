"""The encoder's hidden states against openai-whisper's own forward: any length, place, type and device."""

import numpy as np
import pytest
import torch
from checkpoints import save_openai, small_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import encoder_of, reference, reference_states, speech
from whisper.audio import log_mel_spectrogram

from musetools import ParameterError, audio2feat, load_encoder
from musetools.features.encoder import _attended_by_heads, _convolved_by_product
from musetools.features.weights import untrained_weights

CLOSE = {"rtol": 0, "atol": 2e-5}
WEIGHTS = small_weights(n_layer=2)
SMALL = encoder_of(WEIGHTS)


@pytest.fixture(scope="module")
def mel() -> torch.Tensor:
    """30 s of speech, normalised."""
    return log_mel_spectrogram(speech(30 * 16_000) * 10)


@pytest.mark.parametrize("final_norm", [True, False])
def test_tiny_equals_whisper_in_every_layer(final_norm, encoder, mel):
    net = reference(untrained_weights("tiny"))
    got = encoder.hidden_states(mel, final_norm=final_norm)
    assert got.dtype == torch.float32
    assert got.shape == (1, 1500, 5, 384)
    np.testing.assert_allclose(got[0].numpy(), reference_states(net, mel, final_norm=final_norm), **CLOSE)
    if final_norm:
        with torch.no_grad():
            np.testing.assert_allclose(got[:, :, -1].numpy(), net(mel[None]).numpy(), **CLOSE)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5, 159, 160, 161, 2998, 2999, 3000])
@pytest.mark.parametrize("final_norm", [True, False])
def test_any_length_equals_whisper(n_frames, final_norm, mel):
    got = SMALL.hidden_states(mel[:, :n_frames], final_norm=final_norm)[0]
    n_rows = -(-n_frames // 2)
    assert got.shape == (n_rows, 3, 64)
    expected = reference_states(reference(WEIGHTS, n_rows), mel[:, :n_frames], final_norm=final_norm)
    np.testing.assert_allclose(got.numpy(), expected, **CLOSE)


@given(n_frames=st.integers(1, 3000), first=st.integers(0, 10**6))
@settings(max_examples=25)
def test_any_length_at_any_place_equals_whisper(n_frames, first):
    mel = torch.from_numpy(np.random.RandomState(0).uniform(-1, 1.5, (80, n_frames)).astype(np.float32))
    got = SMALL.hidden_states(mel, first_position=first)[0].numpy()
    net = reference(WEIGHTS, -(-n_frames // 2), first)
    np.testing.assert_allclose(got, reference_states(net, mel, final_norm=True), **CLOSE)


@pytest.mark.parametrize("first", [0, 1, 750, 1499, 1500, 4321])
def test_layer_0_moves_with_its_position_only(first, mel):
    here, there = (SMALL.hidden_states(mel[:, :20], first_position=p)[0, :, 0].numpy() for p in (0, first))
    table = WEIGHTS.state["positional_embedding"].numpy()
    rows = (first + np.arange(10)) % 1500
    np.testing.assert_allclose(there - here, table[rows] - table[:10], **CLOSE)


def test_a_batch_equals_its_singles(mel):
    batch = torch.stack([mel[:, :500], mel[:, 500:1000], mel[:, 1000:1500]])
    got = SMALL.hidden_states(batch)
    assert got.shape == (3, 250, 3, 64)
    for one, states in zip(batch, got, strict=True):
        np.testing.assert_allclose(states.numpy(), SMALL.hidden_states(one)[0].numpy(), **CLOSE)


def test_numpy_and_two_axes_will_do(mel):
    expected = SMALL.hidden_states(mel[None, :, :301])
    for given_ in (mel[:, :301], mel[:, :301].numpy(), mel[None, :, :301].numpy(), mel[:, :301].double()):
        assert torch.equal(SMALL.hidden_states(given_), expected)


def test_the_input_is_left_alone(mel):
    before = mel.clone()
    SMALL.hidden_states(mel)
    assert torch.equal(mel, before)


@pytest.mark.parametrize(
    "shape", [(80, 3001), (1, 80, 3001), (80, 0), (79, 10), (128, 10), (10, 80), (80,), (1, 1, 80, 9)]
)
def test_other_spectrograms_are_refused(shape):
    with pytest.raises(ParameterError, match=r"80, 1 … 3000") as caught:
        SMALL.hidden_states(torch.zeros(shape))
    assert ", ".join(map(str, shape)) in str(caught.value)


def test_128_mel_bins(tmp_path):
    weights = small_weights(n_mels=128)
    encoder = load_encoder(save_openai(tmp_path / "v3.pt", weights), device="cpu")
    assert encoder.n_mels == 128
    audio = speech(40_000)
    mel = log_mel_spectrogram(np.pad(audio, (0, 480_000 - len(audio))), 128)
    expected = reference_states(reference(weights), mel, final_norm=True)[:125]
    np.testing.assert_allclose(audio2feat((audio, 16_000), encoder), expected, **CLOSE)


# --- types and devices


@pytest.mark.parametrize("units", [(), ("amx_bf16",)], ids=["by heads", "fused"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_close_with_a_float32_stream(dtype, units, encoder, mel, monkeypatch):
    monkeypatch.setattr("musetools.features.encoder.bfloat16_units", lambda: units)
    exact = encoder.hidden_states(mel[:, :1000])
    rough = load_encoder("untrained-tiny", device="cpu", dtype=dtype)
    assert rough.fingerprint == encoder.fingerprint
    got = rough.hidden_states(mel[:, :1000])
    assert got.dtype == torch.float32
    for layer in range(5):
        a, b = got[:, :, layer], exact[:, :, layer]
        error = ((a - b).square().mean().sqrt() / b.std()).item()
        assert 0 < error < 0.01, f"layer {layer}: {error}"
        # a stream in half precision would hold nothing but half-precision values
        assert (a != a.to(getattr(torch, dtype)).float()).float().mean() > 0.5


@pytest.mark.parametrize("n_batch", [1, 3])
def test_attention_by_heads_is_attention(n_batch):
    query, key, value = torch.randn(3, n_batch, 6, 50, 64, generator=torch.Generator().manual_seed(0))
    exact = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    np.testing.assert_allclose(_attended_by_heads(query, key, value).numpy(), exact.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 50])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_by_product_is_convolution(n_frames, stride):
    random = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=random) for shape in ((2, 8, n_frames), (6, 8, 3), (6,)))
    exact = torch.nn.functional.conv1d(x, weight, bias, stride=stride, padding=1)
    got = _convolved_by_product(x, weight, bias, stride=stride)
    np.testing.assert_allclose(got.numpy(), exact.numpy(), rtol=0, atol=1e-5)


def test_autocast_changes_no_type(mel):
    exact = SMALL.hidden_states(mel[:, :20])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(SMALL.hidden_states(mel[:, :20]).numpy(), exact.numpy())


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9 has no such setting")
def test_torchs_settings_of_precision_are_left_alone(mel):
    try:
        for asked in ("tf32", "ieee"):
            torch.backends.fp32_precision = asked
            SMALL.hidden_states(mel[:, :20])
            assert torch.backends.cudnn.conv.fp32_precision == asked
    finally:
        torch.backends.fp32_precision = "none"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_gives_the_same_values(encoder, mel):
    on_gpu = load_encoder("untrained-tiny", device="cuda")
    assert load_encoder("untrained-tiny").device.type == "cuda"
    got, exact = on_gpu.hidden_states(mel), encoder.hidden_states(mel)
    assert got.device.type == "cuda"
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.cpu().numpy(), exact.numpy(), rtol=0, atol=1e-3)
    error = (got.cpu() - exact).square().mean().sqrt() / exact.std()
    assert error < 1e-5, "TF32's 10 bits would show here"
    audio = (speech(50_000), 16_000)
    np.testing.assert_allclose(audio2feat(audio, on_gpu), audio2feat(audio, encoder), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "int8", "half", "", torch.float32, None])
def test_unknown_dtypes_are_refused(dtype):
    with pytest.raises(ParameterError, match="float32, bfloat16, float16"):
        load_encoder("untrained-tiny", dtype=dtype)


@pytest.mark.parametrize("device", ["gpu", "cpu:cpu", "cuda:99", "xpu:99", "meta", "hpu", "nowhere"])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ParameterError, match=f"'{device}' cannot be used here"):
        load_encoder("untrained-tiny", device=device)


def test_repr_says_what_it_is(encoder):
    for part in ("untrained-tiny", "5 layers of 384", "80 mel bins", "float32 on cpu", encoder.fingerprint[:12]):
        assert part in repr(encoder)


def test_repr_html_is_escaped(tmp_path):
    path = save_openai(tmp_path / "<b>&.pt", small_weights())
    assert "&lt;b&gt;&amp;.pt" in load_encoder(path)._repr_html_()


def test_no_layer_norm_copies_its_input_first(mel):
    mel = mel[:, :300].contiguous()
    with torch.profiler.profile() as profiled:
        SMALL.hidden_states(mel)
    names = [event.name for event in profiled.events()]
    assert names.count("aten::layer_norm") == 5
    assert names.count("aten::clone") <= 1  # what convolutions give is laid out anew once
