"""What a GPU gets: windows in batches, decoded ahead. The same code runs here on the CPU, but for the copies."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from oracles import error_by_layer, speech

from musetools import EncoderWindow, FeatureSpec, audio2feat, load_encoder
from musetools.features import extract
from musetools.features.extract import FeatureRows

SPECS = {
    "musetools": "musetools",
    "mel padded": FeatureSpec(padding="mel", final_norm=False),
    "context": FeatureSpec(window=EncoderWindow(2, 3, 1, 10, positions="clip")),
    "bare": FeatureSpec(window=EncoderWindow(2, 3, 1, None, positions="clip")),
    "kept": FeatureSpec(keep_padding=True),
}
AUDIO = speech(100 * 16_000 + 123), 16_000
specs = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@specs
def test_batches_equal_one_window_at_a_time(spec, small, request):
    alone = audio2feat(AUDIO, small, spec=spec)
    sizes = request.getfixturevalue("as_on_a_gpu")
    np.testing.assert_allclose(audio2feat(AUDIO, small, spec=spec), alone, rtol=0, atol=2e-5)
    assert max(sizes) in (3, 4)  # the last window may be of another length


def test_errors_in_the_thread_are_raised(small, as_on_a_gpu):
    with pytest.raises(extract.AudioError, match="399 samples"):
        audio2feat((speech(399), 16_000), small)


def test_an_iteration_may_be_left(small, as_on_a_gpu):
    rows = iter(FeatureRows(AUDIO, small, FeatureSpec.named("musetools")))
    assert next(rows).shape == (1500, 2, 64)
    rows.close()


def test_a_copy_is_awaited_on_the_gpu_that_it_comes_from(monkeypatch):
    monkeypatch.setattr(torch, "empty", MagicMock())
    monkeypatch.setattr(torch.cuda, "Event", event := MagicMock())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"stream of {device}")
    extract._fetched(SimpleNamespace(shape=(1,), dtype=torch.float32, device="cuda:1"))()
    event().record.assert_called_once_with("stream of cuda:1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@specs
def test_a_gpu_gives_the_same_rows(spec, encoder):
    got = audio2feat(AUDIO, load_encoder("untrained-tiny", device="cuda"), spec=spec)
    np.testing.assert_allclose(got, audio2feat(AUDIO, encoder, spec=spec), rtol=0, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_auto_is_float16_on_a_gpu(encoder):
    half = load_encoder("untrained-tiny", device="cuda", dtype="auto")
    assert half.dtype == "float16"
    exact, got = audio2feat(AUDIO, encoder), audio2feat(AUDIO, half)
    error = error_by_layer(got, exact)
    assert (error > 0).all()
    assert error.max() < 0.01
