"""Features against what the published pipelines gave and, at every boundary, against slow readings of their rules."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from checkpoints import save_openai
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import SEGMENT, error_by_layer, published_v1, published_v15, speech

from musetools import (
    AudioError,
    EncoderError,
    EncoderWindow,
    FeatureSpec,
    OutputError,
    ParameterError,
    audio2feat,
    load_encoder,
)
from musetools.features import mel
from musetools.features.extract import FeatureRows

ORACLES = {"musetalk-v1": published_v1, "musetalk-v1.5": published_v15}
SPECS = {"v1": "musetalk-v1", "v15": "musetalk-v1.5"}
AROUND = sorted(sign * n for n in (1, 159, 160, 161, 319, 320, 321) for sign in (1, -1))
CLOSE = {"rtol": 0, "atol": 2e-5}
# whisper computes the sine of a position up to 1499 in float32; its last bits, 1.2e-4 in all, depend on the processor
OTHER_CPU = {"rtol": 0, "atol": 1.3e-4}


# --- what was recorded from the published code


def _golden(shared: Path, clip: str, version: str) -> tuple[tuple, np.ndarray, np.ndarray]:
    with np.load(shared / "golden" / f"features_{clip}.npz") as recorded:
        return tuple(recorded[f"{version}_shape"]), recorded[f"{version}_rows"], recorded[version]


@pytest.mark.parametrize(("clip", "version"), [("eng", "v1"), ("eng", "v15"), ("yongen", "v1"), ("yongen", "v15")])
def test_recorded_features(clip, version, shared, encoder):
    """48 kHz in v1: FFmpeg's versions of its resampler differ by up to 3 of 32768."""
    shape, rows, expected = _golden(shared, clip, version)
    got = audio2feat(shared / "real" / f"{clip}.wav", encoder, spec=SPECS[version])
    assert got.dtype == np.float32
    assert got.shape == shape
    resampled = (clip, version) == ("yongen", "v1")
    assert error_by_layer(got[rows], expected).max() < (0.001 if resampled else 1e-5)
    if not resampled:
        np.testing.assert_allclose(got[rows], expected, **OTHER_CPU)


MUTANTS = [  # eng fills nothing, being 60 s; yongen has but one window, so one peak
    ("eng", "v1", {"mel_peak": "window"}),
    ("eng", "v1", {"window": EncoderWindow(5, 20, 5, 30)}),
    ("eng", "v15", {"mel_peak": "file"}),
    ("eng", "v15", {"window": EncoderWindow(5, 20, 5, 30, positions="clip")}),
    ("yongen", "v1", {"padding": "audio"}),
    ("yongen", "v1", {"final_norm": True}),
    ("yongen", "v15", {"final_norm": False}),
    ("yongen", "v15", {"padding": "mel"}),
    ("yongen", "v15", {"window": EncoderWindow(0, 30, 0, None)}),
    ("yongen", "v15", {"decoder": "ffmpeg"}),
]


@pytest.mark.parametrize(("clip", "version", "change"), MUTANTS, ids=str)
def test_the_recordings_would_catch_another_spec(clip, version, change, shared, encoder):
    """Tolerances that cannot fail prove nothing: every change exceeds those above many times over."""
    _, rows, expected = _golden(shared, clip, version)
    spec = replace(FeatureSpec.named(SPECS[version]), **change)
    got = audio2feat(shared / "real" / f"{clip}.wav", encoder, spec=spec)
    assert np.abs(got[rows] - expected).max() > 1e-3
    if (clip, version) == ("yongen", "v1"):
        assert error_by_layer(got[rows], expected).max() > 0.01


def test_our_own_spec_is_v15_at_16_khz(small):
    audio = speech(SEGMENT + 5_000), 16_000
    ours, theirs = (audio2feat(audio, small, spec=spec) for spec in ("musetools", "musetalk-v1.5"))
    np.testing.assert_array_equal(ours, theirs)


# --- the published rules, read slowly


LENGTHS = [
    *(400, 401, 479, 480, 481, 640, 8 * 16_000, 9280),
    *(SEGMENT + offset for offset in (*AROUND, 0)),
    *(2 * SEGMENT + offset for offset in (-1, 0, 1, 320)),
]


@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.parametrize("spec", ORACLES)
def test_every_boundary_follows_the_published_rule(spec, n_samples, small, weights):
    waveform = speech(n_samples)
    got = audio2feat((waveform, 16_000), small, spec=spec)
    assert len(got) == n_samples // 320
    np.testing.assert_allclose(got, ORACLES[spec](waveform, weights), **CLOSE)


@given(st.integers(400, 70_000))
@settings(max_examples=25)
@pytest.mark.parametrize("spec", ORACLES)
def test_any_length_follows_the_published_rule(spec, small, weights, n_samples):
    waveform = speech(n_samples)
    got = audio2feat((waveform, 16_000), small, spec=spec)
    np.testing.assert_allclose(got, ORACLES[spec](waveform, weights), **CLOSE)


@pytest.mark.parametrize("n_samples", [400, SEGMENT, SEGMENT + 319, SEGMENT + 320, SEGMENT + 90_000])
def test_the_fill_may_be_kept(n_samples, small, weights):
    """v1.5 trains on all 1500 rows of a segment, those that the encoder makes of silence too."""
    waveform, spec = speech(n_samples), replace(FeatureSpec.named("musetalk-v1.5"), keep_padding=True)
    got = audio2feat((waveform, 16_000), small, spec=spec)
    n_hops = -(-(-(-n_samples // 320) + 6) // 1500)  # a last frame's chunk looks up to six rows past the end
    assert len(got) == 1500 * n_hops
    published = published_v15(waveform, weights, trim=False)
    np.testing.assert_allclose(got[: len(published)], published[: len(got)], **CLOSE)


@pytest.mark.parametrize("n_samples", [320, 399])
@pytest.mark.parametrize("spec", ORACLES)
def test_shorter_audio_may_be_allowed(spec, n_samples, small, weights):
    """The published pipelines take less than we do."""
    waveform = speech(40_000 + n_samples)[40_000:]
    rows = FeatureRows((waveform, 16_000), small, FeatureSpec.named(spec), shortest=320)
    np.testing.assert_allclose(np.concatenate(list(rows)), ORACLES[spec](waveform, weights), **CLOSE)
    assert rows.n_samples == n_samples


@pytest.mark.parametrize("tail", [160, 240, 319])
def test_the_files_peak_may_lie_in_a_tail_without_rows(tail, small, weights):
    """v1 takes the peak of all mel frames; the last may belong to no row."""
    waveform = speech(SEGMENT + tail) * np.float32(0.01)
    waveform[SEGMENT + 50 : SEGMENT + 150] = np.sin(np.arange(100, dtype=np.float32))
    got = audio2feat((waveform, 16_000), small, spec="musetalk-v1")
    np.testing.assert_allclose(got, published_v1(waveform, weights), **CLOSE)


@pytest.mark.parametrize("spec", ["musetools", *ORACLES])
@pytest.mark.parametrize("n_samples", [offset for offset in AROUND if offset > 0] + [399])
def test_too_short_is_an_error_that_names_the_file(spec, n_samples, small, tmp_path):
    soundfile.write(tmp_path / "short.wav", speech(40_000 + n_samples)[40_000:], 16_000, "PCM_16")
    with pytest.raises(AudioError, match=rf"short\.wav has {n_samples} samples") as caught:
        audio2feat(tmp_path / "short.wav", small, spec=spec, out=tmp_path / "out.npy")
    assert str(tmp_path) in str(caught.value)
    assert "400" in str(caught.value)
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize("spec", ["musetools", *ORACLES])
def test_silence_has_features(spec, small):
    assert np.isfinite(audio2feat((np.zeros(SEGMENT + 5_000, np.float32), 16_000), small, spec=spec)).all()


# --- specs


@pytest.mark.parametrize("name", ["musetools", "musetalk-v1", "musetalk-v1.5"])
def test_named_specs(name):
    spec = FeatureSpec.named(name)
    assert FeatureSpec.named(spec) is spec
    assert spec.window == EncoderWindow(0, 30, 0, 30)
    assert (spec.decoder == "librosa") == (name == "musetalk-v1.5")
    v1 = name == "musetalk-v1"
    assert (spec.mel_peak, spec.padding, spec.final_norm) == (
        ("file", "mel", False) if v1 else ("window", "audio", True)
    )


@pytest.mark.parametrize("name", ["musetalk", "MuseTools", "", None, 15, ["musetools"]])
def test_unknown_specs_list_the_known(name, small):
    with pytest.raises(ParameterError, match=r"musetools, musetalk-v1, musetalk-v1\.5"):
        FeatureSpec.named(name)
    with pytest.raises(ParameterError, match="musetalk-v1"):
        audio2feat((speech(16_000), 16_000), small, spec=name)


@pytest.mark.parametrize(
    "change",
    [
        {"decoder": "sox"},
        {"mel_peak": "clip"},
        {"padding": "zeros"},
        {"padding": None},
        {"final_norm": "yes"},
        {"final_norm": 1},
        {"window": (0, 30, 0, 30)},
        {"window": None},
        {"keep_padding": "yes"},
        {"keep_padding": True, "window": EncoderWindow(2, 0.2, 0.2, None)},
        {"keep_padding": True, "window": EncoderWindow(5, 20, 0, None)},
    ],
)
def test_specs_of_unknown_choices_are_refused(change):
    with pytest.raises(ParameterError, match=next(iter(change))):
        FeatureSpec(**change)


@pytest.mark.parametrize("encoder", [None, 42, "no-such-encoder"])
def test_encoders_that_are_none_are_refused(encoder):
    with pytest.raises(ParameterError, match="encoder"):
        audio2feat((speech(16_000), 16_000), encoder)


# --- out=


@pytest.mark.parametrize("spec", ["musetools", *ORACLES])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_of_features_equals_those_in_memory(spec, as_text, small, tmp_path):
    audio, path = (speech(SEGMENT + 50_001), 16_000), tmp_path / "features.npy"
    expected = audio2feat(audio, small, spec=spec)
    got = audio2feat(audio, small, spec=spec, out=str(path) if as_text else path)
    assert isinstance(got, np.memmap)
    assert not got.flags.writeable
    np.testing.assert_array_equal(got, expected)
    assert got.dtype.str == "<f4"
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), expected)
    assert path.stat().st_size == got.offset + expected.nbytes
    assert [p.name for p in tmp_path.iterdir()] == ["features.npy"]


@pytest.mark.parametrize(
    "name", ["two words.npy", "{braces} {0}.npy", "%s '\"&.npy", "über 口.npy", "no-suffix", ".npy"]
)
def test_any_file_name_will_do(name, small, tmp_path):
    folder = tmp_path / "a {folder} with spaces"
    folder.mkdir()
    got = audio2feat((speech(16_000), 16_000), small, out=folder / name)
    assert got.shape == (50, 2, 64)
    assert [p.name for p in folder.iterdir()] == [name]


def _failing_sources(folder: Path) -> dict:
    """Audio that fails only after its first window is done."""
    waveform = speech(65 * 16_000)
    with_nan = waveform.copy()
    with_nan[-16_000] = np.nan
    soundfile.write(folder / "whole.flac", waveform, 16_000)
    content = (folder / "whole.flac").read_bytes()
    (folder / "half.flac").write_bytes(content[: len(content) * 3 // 4])
    soundfile.write(folder / "half.wav", waveform, 16_000, "PCM_16")
    with open(folder / "half.wav", "r+b") as file:
        file.truncate(1_500_000)
    return {"nan": (with_nan, 16_000), "flac": folder / "half.flac", "wav": folder / "half.wav"}


@pytest.mark.parametrize("spec", ["musetools", *ORACLES])
@pytest.mark.parametrize("kind", ["nan", "flac", "wav"])
def test_audio_that_fails_half_way_leaves_the_old_file(kind, spec, small, tmp_path):
    source, folder = _failing_sources(tmp_path)[kind], tmp_path / "out"
    folder.mkdir()
    np.save(folder / "old.npy", np.arange(7))
    before = (folder / "old.npy").read_bytes()
    for name in ("old.npy", "new.npy"):
        with pytest.raises(AudioError, match=r"64\.0+ s" if kind == "nan" else rf"half\.{kind}"):
            audio2feat(source, small, spec=spec, out=folder / name)
    assert [p.name for p in folder.iterdir()] == ["old.npy"]
    assert (folder / "old.npy").read_bytes() == before


def test_whoever_has_the_old_file_mapped_keeps_it(small, tmp_path):
    path = tmp_path / "features.npy"
    first = audio2feat((speech(48_000), 16_000), small, out=path)
    before = np.array(first)
    second = audio2feat((speech(16_000), 16_000), small, spec="musetalk-v1", out=path)
    np.testing.assert_array_equal(first, before)
    assert len(second) == len(np.load(path)) == 50


def test_a_source_that_breaks_is_not_called_an_output_that_cannot_be_written(small, tmp_path):
    class Broken(io.BytesIO):
        def read(self, *args):
            raise OSError(5, "Input/output error")

    with pytest.raises(Exception, match="Input/output error") as caught:
        audio2feat(Broken(b"RIFF"), small, out=tmp_path / "out.npy")
    assert not isinstance(caught.value, OutputError)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(small, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(small), "hidden_states", interrupt)
    with pytest.raises(KeyboardInterrupt):
        audio2feat((speech(16_000), 16_000), small, out=tmp_path / "out.npy")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error(small, tmp_path):
    with pytest.raises(OutputError, match="does not exist") as caught:
        audio2feat((speech(16_000), 16_000), small, out=tmp_path / "no" / "out.npy")
    assert str(tmp_path / "no" / "out.npy") in str(caught.value)


def test_half_precision_features_are_float32(weights, small, tmp_path):
    path, audio = save_openai(tmp_path / "small.pt", weights), (speech(40_000), 16_000)
    got = audio2feat(audio, load_encoder(path, device="cpu", dtype="bfloat16"))
    exact = audio2feat(audio, small)
    assert got.dtype == np.float32
    assert 0 < np.abs(got - exact).max() < 0.5


def test_an_encoder_may_be_named_by_its_path(weights, small, tmp_path):
    audio = (speech(16_000), 16_000)
    np.testing.assert_array_equal(
        audio2feat(audio, save_openai(tmp_path / "small.pt", weights)), audio2feat(audio, small)
    )


def test_tiny_is_never_replaced_in_silence(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda url: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(EncoderError, match="untrained-tiny"):
        audio2feat((speech(16_000), 16_000))


# --- memory


PEAKS = """
import sys
from musetools import audio2feat, load_encoder
name, spec, *recordings = sys.argv[1:]
encoder = load_encoder(name, device="cpu")
for audio in ["", *recordings]:
    rows = len(audio2feat(audio, encoder, spec=spec, out="rows.npy")) if audio else 0
    with open("/proc/self/status") as status:
        print(rows, next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")))
"""


def peaks_mib(folder: Path, minutes: tuple[int, int], encoder: Path | str, spec: str) -> list[float]:
    """Extract a short recording and a long one in a process of their own; return its peak before and after each."""
    recordings, block = [folder / f"{length}.wav" for length in minutes], speech(60 * 16_000)
    for length, path in zip(minutes, recordings, strict=True):
        with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
            for _ in range(length):
                file.write(block)
    command = [sys.executable, "-c", PEAKS, encoder, spec, *recordings]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    rows, peaks = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert [int(n) for n in rows] == [0, *(length * 3000 for length in minutes)]
    (folder / "rows.npy").unlink()
    return [float(peak) for peak in peaks]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize("spec", ["musetools", "musetalk-v1"])
def test_memory_stays_flat(spec, tmp_path, weights):
    """The samples of a quarter of an hour take 55 MiB, its rows 22."""
    name, minutes = save_openai(tmp_path / "small.pt", weights), (1, 15)
    bare, short, long = peaks_mib(tmp_path, minutes, name, spec)
    assert long < 1.1 * short
    assert long < bare + 200  # what libraries take depends on how they were built: torch for CUDA some 300 MiB more


@pytest.mark.parametrize("spec", ["musetools", "live"])
def test_rows_hold_no_states_that_are_not_kept(spec, small):
    """In memory until all rows are joined: an hour of "live" would take 18 times its rows."""
    for rows in FeatureRows((speech(40 * 16_000), 16_000), small, FeatureSpec.named(spec)):
        assert rows.base.untyped_storage().nbytes() == rows.nbytes


@pytest.mark.parametrize("default", [torch.float64, torch.float16, "meta"], ids=str)
def test_what_a_process_creates_by_default_changes_nothing(default, encoder):
    audio, specs, dtype = (speech(16_000), 16_000), ("musetools", "musetalk-v1"), torch.get_default_dtype()
    expected = [audio2feat(audio, encoder, spec=spec) for spec in specs]
    mel._window.cache_clear()
    try:
        (torch.set_default_device if default == "meta" else torch.set_default_dtype)(default)
        there = load_encoder("untrained-tiny", device="cpu")
        got = [audio2feat(audio, there, spec=spec) for spec in specs]
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)
    assert there.fingerprint == encoder.fingerprint
    for rows, right in zip(got, expected, strict=True):
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, right)
