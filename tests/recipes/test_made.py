"""Features of unknown origin are named: the spec that made them, or what is wrong with them."""

import re

import numpy as np
import pytest
import torch
from checkpoints import Payload
from click.testing import CliRunner
from media import write_media
from oracles import speech

import musetools as mt
from musetools import FeatureSpec
from musetools.cli import main
from musetools.features import extract
from musetools.recipes import made

RATE = 16_000
WAVEFORM = speech(32 * RATE)[29 * RATE :].copy()  # 3 s across a change of level


@pytest.fixture(scope="module", params=["untrained-tiny", "tiny.en"])
def whisper(request):
    if request.param == "tiny.en":
        request.getfixturevalue("trained")
        return mt.load_encoder("tiny.en", device="cpu")
    return request.getfixturevalue("encoder").truncated(3)


@pytest.fixture(scope="module", autouse=True)
def made_once():
    """What one encoder makes of one array by one spec is made once for all tests here."""
    real, known = extract.audio2feat, {}

    def remembered(source, encoder, *, spec="musetools"):
        if not isinstance(source, tuple):
            return real(source, encoder, spec=spec)
        key = source[0].tobytes(), encoder.fingerprint, FeatureSpec.named(spec)
        if key not in known:
            known[key] = real(source, encoder, spec=spec)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract, "audio2feat", remembered)
        yield


def made_by(spec, whisper, waveform=WAVEFORM):
    return extract.audio2feat((waveform, RATE), whisper, spec=spec)


SPECS = {  # of features, what is named; equal by definition on whole audio at 16 kHz: musetools and v1.5
    "musetools": "musetools or musetalk-v1.5",
    "musetalk-v1.5": "musetools or musetalk-v1.5",
    "musetalk-v1": "musetalk-v1",
    "live-near": "live-near",
    "live": "live",
}


@pytest.mark.parametrize(("spec", "dtype"), [("musetools", np.float32), *((spec, np.float16) for spec in SPECS)])
def test_every_spec_is_named(whisper, spec, dtype):
    found = mt.identify_features(made_by(spec, whisper).astype(dtype), (WAVEFORM, RATE), whisper)
    assert found.summary() == f"it is {SPECS[spec]}"
    assert found[0].distance < 0.002 < 0.02 < min(m.distance for m in found if m.distance > 0.002)
    assert str(np.dtype(dtype)) in repr(found)


@pytest.mark.parametrize("recipe", ["musetalk-v1.5-train", "openavatarchat", "livetalking"])
def test_the_specs_of_recipes_are_named(encoder, recipe):
    given = made_by(mt.RECIPES[recipe].features, encoder)
    assert mt.identify_features(given, (WAVEFORM, RATE), encoder).summary() == f"it is {recipe}"


def test_past_a_segment_boundary(encoder):
    encoder, waveform = encoder.truncated(3), speech(33 * RATE)
    found = mt.identify_features(made_by("musetalk-v1", encoder, waveform), (waveform, RATE), encoder)
    assert found.summary() == "it is musetalk-v1"
    assert found[1].distance > 0.1


FAULTS = {
    "moved": (lambda f: f[1:], r"it is musetools or musetalk-v1\.5, moved by \+1 rows \(\+20 ms\)"),
    "moved far": (lambda f: f[60:], r"it is musetools or musetalk-v1\.5, moved by \+60 rows \(\+1200 ms\)"),
    "late by far": (lambda f: np.concatenate([f[:60], f])[:-60], r"moved by -60 rows"),
    "late": (lambda f: np.concatenate([f[:2], f])[:-2], r"moved by -2 rows"),
    "cut short": (lambda f: f[:100], r"it is musetools or musetalk-v1\.5, -50 rows at the end$"),
    "joined": (lambda f: np.concatenate([f, f[::-1]]), r"it is musetools or musetalk-v1\.5, \+150 rows at the end$"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_moved_rows_are_named(whisper, name):
    change, expected = FAULTS[name]
    found = mt.identify_features(change(made_by("musetools", whisper)), (WAVEFORM, RATE), whisper)

    assert re.search(expected, found.summary()), found


@pytest.mark.parametrize("spec", ["musetools", "musetalk-v1"])
@pytest.mark.parametrize("rows", [2, 60])
def test_audio_that_was_cut_before_it_was_encoded(whisper, spec, rows, monkeypatch):
    """Specs of short windows, which are slow and none of which fits, are tried by `test_other_audio_is_named`."""
    fast = {FeatureSpec.named(name): name for name in ("musetools", "musetalk-v1")}
    monkeypatch.setattr(made, "_candidates", lambda: fast)
    cut = WAVEFORM[320 * rows :].copy()
    found = mt.identify_features(made_by(spec, whisper, cut), (WAVEFORM, RATE), whisper)
    assert f"of this audio, moved by +{rows} rows (+{20 * rows} ms) before it was encoded" in found.summary()
    late = mt.identify_features(made_by(spec, whisper), (cut, RATE), whisper)
    assert f"of this audio, moved by -{rows} rows" in late.summary()


def test_a_part_of_a_longer_clip(encoder):
    encoder, waveform = encoder.truncated(3), speech(33 * RATE)
    given = made_by("musetools", encoder, waveform)[1400:1600]
    found = mt.identify_features(given, (waveform, RATE), encoder)
    assert "it is musetools or musetalk-v1.5, moved by +1400 rows" in found.summary()


def test_other_audio_is_named(whisper):
    backwards = made_by("musetools", whisper, WAVEFORM[::-1].copy())
    found = mt.identify_features(backwards, (WAVEFORM, RATE), whisper)
    assert found.summary() == "made with these weights of this audio played backwards"
    other = made_by("musetools", whisper, speech(9 * RATE)[6 * RATE :].copy())
    found = mt.identify_features(other, (WAVEFORM, RATE), whisper)
    assert "made with these weights of other audio" in found.summary()


CHANGED = {
    "reversed": lambda f: f[::-1],
    "a row a frame": lambda f: f[: len(f) // 2 * 2].reshape(-1, 2, *f.shape[1:]).mean(1),
    "scaled": lambda f: 2 * f,
}


@pytest.mark.parametrize("how", CHANGED)
def test_rows_that_were_changed_are_not_called_other_audio_alone(whisper, how):
    found = mt.identify_features(CHANGED[how](made_by("musetools", whisper)), (WAVEFORM, RATE), whisper)
    assert "of other audio, or changed since: scaled, mixed, reversed" in found.summary()


def test_two_clips_of_two_specs_are_not_called_one(encoder):
    both = np.concatenate([made_by(spec, encoder) for spec in ("musetools", "musetalk-v1")])
    found = mt.identify_features(both, (WAVEFORM, RATE), encoder)
    assert found.summary() == "it is musetools or musetalk-v1.5, +150 rows at the end"


def test_padding_that_a_spec_keeps_does_not_make_it_the_nearest(encoder):
    """Silence has less deviation, in which distances are counted."""
    quieter = made_by("musetools", encoder, WAVEFORM / 2)
    assert "nearest is musetools" in mt.identify_features(quieter, (WAVEFORM, RATE), encoder).summary()


@pytest.mark.parametrize("value", [0, 1e30])
def test_rows_of_one_value(encoder, value):
    found = mt.identify_features(np.full((150, 5, 384), value, np.float32), (WAVEFORM, RATE), encoder)
    assert "made with other weights, or not Whisper" in found.summary()


def test_other_audio_is_named_of_v1_too(whisper):
    other = made_by("musetalk-v1", whisper, speech(9 * RATE)[6 * RATE :].copy())
    found = mt.identify_features(other, (WAVEFORM, RATE), whisper)
    assert "made with these weights of other audio" in found.summary()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(encoder, value):
    given = made_by("musetools", encoder).copy()
    given[3, 0, 0] = value
    with pytest.raises(mt.ParameterError, match="finite; index 3 of"):
        mt.identify_features(given, (WAVEFORM, RATE), encoder)


def test_other_weights_are_named(encoder, trained):
    given = made_by("musetools", mt.load_encoder("tiny.en", device="cpu"))
    found = mt.identify_features(given, (WAVEFORM, RATE), encoder)
    assert found.summary() == "no spec of this encoder: made with other weights, or not Whisper"
    noise = np.random.default_rng(0).standard_normal(given.shape).astype(np.float32)
    for given in (noise, np.zeros_like(noise)):
        assert "made with other weights" in mt.identify_features(given, (WAVEFORM, RATE), encoder).summary()


def test_another_size_is_named(encoder):
    found = mt.identify_features(np.zeros((100, 7, 512), np.float32), (WAVEFORM, RATE), encoder)
    assert len(found) == 0
    assert "another model: it has 7 × 512" in found.summary()


# --- layouts


def test_files_in_every_layout(tmp_path, encoder):
    rows = made_by("musetalk-v1", encoder)
    (tmp_path / "frames").mkdir()
    for k in range(len(rows) // 2):
        np.save(tmp_path / "frames" / f"{k}.npy", rows[2 * k : 2 * k + 2].reshape(10, 384))
    np.save(tmp_path / "clip.npy", rows)
    np.save(tmp_path / "stacked.npy", np.asarray(mt.feature2chunks(rows, 25)))
    torch.save(torch.from_numpy(rows), tmp_path / "clip_embeds.pt")
    for name in ("frames", "clip.npy", "stacked.npy", "clip_embeds.pt"):
        found = mt.identify_features(tmp_path / name, (WAVEFORM, RATE), encoder)
        assert found.summary() == "it is musetalk-v1", (name, found)


@pytest.mark.parametrize("number", [0, 20])
def test_a_missing_number_of_a_file_a_frame(tmp_path, encoder, number):
    for k in range(75):
        np.save(tmp_path / f"{k}.npy", np.ones((10, 384), np.float32))
    (tmp_path / f"{number}.npy").unlink()
    with pytest.raises(mt.ParameterError, match=rf"{number}\.npy is missing, its first is \d\.npy"):
        mt.identify_features(tmp_path, (WAVEFORM, RATE), encoder)


def test_the_file_of_a_folder_that_is_damaged_is_named(tmp_path, encoder):
    for k in range(5):
        np.save(tmp_path / f"{k}.npy", np.ones((10, 384), np.float32))
    (tmp_path / "3.npy").write_bytes((tmp_path / "3.npy").read_bytes()[:500])
    with pytest.raises(mt.ParameterError, match=r"3\.npy holds no features"):
        mt.identify_features(tmp_path, (WAVEFORM, RATE), encoder)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_any_type(tmp_path, encoder, kind):
    given = torch.from_numpy(made_by("musetalk-v1", encoder)).to(kind).requires_grad_()
    for name in ("clip.pt", "clip.pth"):
        torch.save(given, tmp_path / name)
    for features in (given, tmp_path / "clip.pt", tmp_path / "clip.pth"):
        found = mt.identify_features(features, (WAVEFORM, RATE), "untrained-tiny")
        assert found[0].spec == "musetalk-v1"
        assert found[0].distance < 0.01
        assert found.summary() == "it is musetalk-v1"


@pytest.mark.parametrize("features", [None, {"audio": torch.ones(3)}, [torch.ones(3, requires_grad=True)], "gone.pt"])
def test_what_are_no_features(encoder, features):
    with pytest.raises(
        mt.ParameterError, match=r"floats in three dimensions|no features that can be read|a dict of 'audio'"
    ):
        mt.identify_features(features, (WAVEFORM, RATE), encoder)


def test_a_pickle_is_not_run(tmp_path, monkeypatch, encoder):
    monkeypatch.chdir(tmp_path)
    np.save("bad.npy", np.array([Payload(tmp_path / "evil")], object), allow_pickle=True)
    torch.save(Payload(tmp_path / "evil"), "bad.pt")
    for name in ("bad.npy", "bad.pt", "gone.npy"):
        with pytest.raises(mt.ParameterError, match="no features that can be read"):
            mt.identify_features(name, (WAVEFORM, RATE), encoder)
    assert not (tmp_path / "evil").exists()
    with pytest.raises(mt.ParameterError, match="floats in three dimensions"):
        mt.identify_features(np.zeros((3, 4)), (WAVEFORM, RATE), encoder)


# --- on the command line


def test_the_command_names_a_file(tmp_path, encoder):
    sound = write_media(tmp_path / "clip.wav", WAVEFORM[:RATE], RATE)
    np.save(tmp_path / "clip.npy", mt.audio2feat(sound, encoder, spec="musetalk-v1"))
    options = ["--audio", str(sound), "--encoder", "untrained-tiny"]
    done = CliRunner().invoke(main, ["identify", str(tmp_path / "clip.npy"), *options])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "it is musetalk-v1"), done.output
