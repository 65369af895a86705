"""A contract is one file; anybody's code is tried against it, and told in which step it differs."""

import json
import math
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper

import musetools as mt
from musetools.features.weights import untrained_weights
from musetools.recipes.contract import VERSION, encoder_facts
from musetools.recipes.probe import probe_waveform
from musetools.recipes.recipe import add_positions
from musetools.train import ChunkSettings

SPEC, SETTINGS = mt.FeatureSpec.named("musetools"), ChunkSettings()


@pytest.fixture(scope="module", autouse=True)
def quick(one_thread):
    """Small encoders gain nothing from more threads."""


def contract_of(encoder, settings=SETTINGS, spec=SPEC, **how) -> mt.AudioContract:
    return mt.AudioContract(spec, encoder_facts(encoder), settings, **how).with_probe(encoder)


@pytest.fixture(scope="module")
def contract(small, tmp_path_factory) -> mt.AudioContract:
    """As a stranger gets it: read from its file."""
    path = tmp_path_factory.mktemp("contract") / "model.audio.json"
    contract_of(small).save(path)
    assert path.stat().st_size < 100_000
    return mt.AudioContract.load(path)


# --- the file


def test_what_is_saved_is_loaded(tmp_path, small):
    settings = ChunkSettings(None, (1, 3), "zeros")
    rates = (Fraction(25), Fraction(30000, 1001))
    made = contract_of(small, settings, mt.FeatureSpec.named("live-near"), rates=rates, positional_encoding=True)
    made.save(tmp_path / "c.json")
    loaded = mt.AudioContract.load(tmp_path / "c.json")
    assert loaded == made
    assert loaded.differences(made) == []
    assert (loaded.rates, loaded.edge, loaded.libraries) == (rates, "zeros", made.libraries)
    np.testing.assert_array_equal(loaded.probe.rows, made.probe.rows)
    np.testing.assert_allclose(loaded.probe.values, made.probe.values, rtol=1e-5)
    assert loaded.probe.fps == 25
    assert "25, 29.97" in repr(loaded)


def test_other_libraries_are_noted_and_not_refused(contract, tmp_path):
    other = replace(contract, libraries={"torch": "0.1"})
    other.save(tmp_path / "c.json")
    loaded = mt.AudioContract.load(tmp_path / "c.json")
    assert loaded.libraries == {"torch": "0.1"}
    assert "torch 0.1" in repr(loaded)
    assert contract.differences(loaded) == []


def planted(plain: dict, *names: str, value=None) -> dict:
    """Set a field, or with no value remove it."""
    inner = plain
    for name in names[:-1]:
        inner = inner[name]
    if value is None:
        del inner[names[-1]]
    else:
        inner[names[-1]] = value
    return plain


@pytest.mark.parametrize(
    ("names", "value", "expected"),
    [
        (["surprise"], 1, "'surprise' is unknown"),
        (["features", "dither"], True, "features .*'dither' is unknown"),
        (["features", "window", "taper"], 1, "features.window .*'taper' is unknown"),
        (["encoder", "colour"], "red", "encoder .*'colour' is unknown"),
        (["chunks", "stride"], 2, "chunks .*'stride' is unknown"),
        (["encoder", "fingerprint"], None, "'fingerprint' is missing"),
        (["features", "padding"], "echo", "padding must be one of"),
        (["features", "window", "hop_s"], 0.013, "hop_s must be a multiple"),
        (["features", "window", "hop_s"], True, "features.window.hop_s"),
        (["chunks", "fps"], "0", "chunks.fps"),
        (["chunks", "fps"], 29.97, r"29\.97 is no rate in quotes, such as .*30000/1001"),
        (["chunks", "fps"], "1/0", "chunks.fps"),
        (["chunks", "fps"], "2000", "fps must be"),
        (["chunks", "fps"], "1e99999999", "chunks.fps"),
        (["rates"], ["1e99999999"], "rates"),
        (["probe", "frames", 0], 2**70, "is not that of its fps"),
        (["probe", "frames", 0], -99_999, "is not that of its fps"),
        (["probe", "frames", 0], 99_999, "is not that of its fps, context, edge and width"),
        (["probe", "columns", -1], 999, "is not that of its fps, context, edge and width"),
        (["probe", "rows", 0, 0], 2**70, "is not that of its fps"),
        (["probe", "tolerance", 0], float("inf"), "no contract that can be read"),
        (["probe", "tolerance"], [None, None, None], "values that are not finite"),
        (["chunks", "context"], [2, -1], "context must be"),
        (["rates"], ["1/0"], "no contract that can be read"),
        (["positional_encoding"], 1, "positional_encoding"),
        (["version"], VERSION + 1, f"version {VERSION + 1}, this musetools reads {VERSION}: update"),
        (["version"], None, "'version' is missing"),
        (["probe", "rows", 0], [5] * 10, "is not that of its fps"),
        (["probe", "fps"], "24", "is not that of its fps"),
        (["probe", "values"], [1, 2], "another shape"),
        (["chunks", "edge"], "zeros", "is not that of its fps"),
    ],
)
def test_what_is_no_contract(contract, tmp_path, names, value, expected):
    contract.save(tmp_path / "c.json")
    plain = planted(json.loads((tmp_path / "c.json").read_text()), *names, value=value)
    (tmp_path / "c.json").write_text(json.dumps(plain))
    with pytest.raises(mt.ContractError, match=expected):
        mt.AudioContract.load(tmp_path / "c.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"version": NaN}', "3", '{"version": "1"}'])
def test_what_is_no_json_of_ours(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(mt.ContractError, match="no contract that can be read"):
        mt.AudioContract.load(tmp_path / "c.json")
    with pytest.raises(mt.ContractError, match="gone"):
        mt.AudioContract.load(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"settings": ChunkSettings(30)}, "chunks.fps: 25 here, 30 there"),
        ({"settings": ChunkSettings(25, (2, 3))}, "chunks.context: [2, 2] here, [2, 3] there"),
        ({"settings": ChunkSettings(25, edge="zeros")}, "chunks.edge: drop here, zeros there"),
        ({"spec": replace(SPEC, final_norm=False)}, "features.final_norm: True here, False there"),
        ({"spec": replace(SPEC, padding="mel")}, "features.padding: audio here, mel there"),
        ({"positional_encoding": True}, "positional_encoding: False here, True there"),
        ({"rates": (Fraction(24),)}, "rates: [] here, ['24'] there"),
    ],
)
def test_differences_are_named(contract, other, expected):
    assert contract.differences(replace(contract, **other)) == [expected]


def test_other_weights_are_a_difference_and_another_name_is_none(contract):
    assert contract.differences(replace(contract, encoder={**contract.encoder, "name": "copy"})) == []
    (only,) = contract.differences(replace(contract, encoder={**contract.encoder, "fingerprint": "f"}))
    assert only.startswith("encoder.fingerprint: ")


def test_an_encoder_is_named_or_asked_for(encoder, tmp_path):
    made, clip = mt.AudioContract(SPEC, encoder_facts(encoder), SETTINGS), (np.zeros(16_000, np.float32), 16_000)
    assert len(made.chunks(clip, "untrained-tiny")) == 25
    assert mt.ChunkStream.from_contract(made, "untrained-tiny").spec == made.spec
    for call in (made.check_encoder, lambda name: mt.FeatureStore.create(tmp_path / "store", SPEC, name)):
        with pytest.raises(mt.ParameterError, match="an Encoder is needed; got 'untrained-tiny'"):
            call("untrained-tiny")


# --- a foreign implementation: numpy alone, from the wav to the chunk


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def norm(x, state, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def conv(x, state, name, stride):
    weight, padded = state[f"{name}.weight"], np.pad(x, ((1, 1), (0, 0)))
    taps = [padded[k : len(x) + k] @ weight[:, :, k].T for k in range(3)]
    return (sum(taps) + state[f"{name}.bias"])[::stride]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def their_log_mel(samples):
    filters = np.load(Path(whisper.__file__).parent / "assets" / "mel_filters.npz")["mel_80"]
    padded = np.pad(samples, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[:-1:160][: len(samples) // 160]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    log_mel = np.log10(np.maximum(np.abs(np.fft.rfft(frames * hann)) ** 2 @ filters.T, 1e-10))
    return (np.maximum(log_mel, log_mel.max() - 8) + 4) / 4


def their_features(path, weights):
    """v1.5 in numpy: 30 s segments filled with silence, one block, last layer normed."""
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    state, heads, rows = {k: v.double().numpy() for k, v in weights.state.items()}, weights.dims.n_head, []
    for start in range(0, len(samples), 480_000):
        segment = samples[start : start + 480_000]
        x = gelu(
            conv(
                gelu(conv(their_log_mel(np.pad(segment, (0, 480_000 - len(segment)))), state, "conv1", 1)),
                state,
                "conv2",
                2,
            )
        )
        layers = [x := x + state["positional_embedding"]]
        for block in range(weights.dims.n_layer):
            at = f"blocks.{block}."
            normed = norm(x, state, at + "attn_ln")
            q, k, v = (
                linear(normed, state, f"{at}attn.{part}").reshape(1500, heads, -1).transpose(1, 0, 2)
                for part in ("query", "key", "value")
            )
            mixed = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])) @ v
            x = x + linear(mixed.transpose(1, 0, 2).reshape(1500, -1), state, at + "attn.out")
            hidden = gelu(linear(norm(x, state, at + "mlp_ln"), state, at + "mlp.0"))
            layers.append(x := x + linear(hidden, state, at + "mlp.2"))
        layers[-1] = norm(layers[-1], state, "ln_post")
        rows.append(np.stack(layers, 1)[: len(segment) // 320])
    return np.concatenate(rows)


def their_chunks(features, off_by=0):
    """Ten rows around each frame at 25 fps, by a loop."""
    chunks = []
    for frame in range(len(features) // 2):
        wanted = [min(max(2 * frame - 4 + j + off_by, 0), len(features) - 1) for j in range(10)]
        chunks.append(np.concatenate([features[row] for row in wanted]))
    return chunks


@pytest.fixture(scope="module")
def theirs(weights, tmp_path_factory):
    """Their features of the probe, made once: 3 s."""
    path = str(tmp_path_factory.mktemp("probe") / "probe.wav")
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((probe_waveform() * 32768).astype("<i2").tobytes())
    return their_features(path, weights)


def test_a_foreign_implementation_keeps_the_contract(contract, weights):
    check = contract.check(lambda path: their_chunks(their_features(path, weights)))
    assert check.ok, check
    assert repr(check) == "it keeps the contract"


@pytest.mark.parametrize("off_by", [1, -1, 2, -4])
def test_an_off_by_one_is_told_the_step(contract, theirs, off_by):
    ((step, text),) = contract.check(lambda path: their_chunks(theirs, off_by)).faults
    assert step == "rows"
    assert f"{off_by:+d} rows ({20 * off_by:+d} ms)" in text


def test_rows_reversed_in_each_chunk_are_not_called_moved(contract, theirs):
    rows = mt.chunk_rows(len(theirs), 25)[:, ::-1]
    ((step, text),) = contract.check(lambda path: theirs[rows].reshape(len(rows), -1, theirs.shape[2])).faults
    assert (step, text.partition(",")[0]) == ("rows", "chunks take other rows")


def test_one_chunk_among_hundreds_that_takes_another_row(contract, theirs):
    """None of the frames whose values are kept."""
    rows = mt.chunk_rows(len(theirs), 25)
    rows[500] += 1
    ((step, text),) = contract.check(lambda path: theirs[rows].reshape(len(rows), -1, theirs.shape[2])).faults
    assert (step, "most that of frame 500; expected 996 997" in text) == ("rows", True)


def test_the_probe_is_the_same_where_whole_numbers_have_32_bits(monkeypatch):
    expected, arange = probe_waveform(), np.arange
    monkeypatch.setattr(np, "arange", lambda *ends, dtype=np.int32: arange(*ends, dtype=dtype))
    np.testing.assert_array_equal(probe_waveform(), expected)


def test_the_probe_is_its_formula():
    """Computed again in Python's own integers."""
    waveform = probe_waveform()
    assert (waveform.shape, waveform.dtype) == ((528_000,), np.float32)
    for n in (0, 7_999, 12_345, 30_000, 100_001, 479_999, 480_001, 492_001, 527_999):
        level = (0, 55, 10, 2, 0)[n // 12_000 % 5] // (1 if n < 480_000 else 16)
        value = (n * (3 + n // 8000 % 7) % 160) * 2 - 159 + (n * n % 7919 * 31 + 17 * n) % 255 - 127
        assert waveform[n] == value * level / 32768
    assert np.abs(waveform).max() < 1


# --- planted differences, each told its step


def ours(encoder, spec=SPEC, fps=25, context=(2, 2), edge="clamp", after=lambda chunks: chunks, audio=lambda x: x):
    def chunks(path):
        features = mt.audio2feat((audio(mt.load_audio(path)), 16_000), encoder, spec=spec)
        return after(np.asarray(mt.feature2chunks(features, fps, context, edge=edge)))

    return chunks


def delayed(waveform):
    return np.concatenate([np.zeros(160, np.float32), waveform[:-160]])


def trimmed(waveform):
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    return waveform[loud[0] : loud[-1] + 1].copy()


def in_halves(chunks):
    """Sines in the first half of the columns, cosines in the second."""
    added = add_positions(np.zeros(chunks.shape[1:], np.float32))
    return chunks + np.concatenate([added[:, ::2], added[:, 1::2]], axis=1)


def learned(chunks):
    return chunks + np.random.default_rng(0).standard_normal(chunks.shape[1:], np.float32)


PLANTED = {
    "nothing": ({}, []),
    "half precision": ({"after": lambda chunks: torch.from_numpy(chunks).half()}, []),
    "v1.5's spec": ({"spec": "musetalk-v1.5"}, []),
    "norm": ({"spec": replace(SPEC, final_norm=False)}, ["norm"]),
    "mel peak": ({"spec": replace(SPEC, mel_peak="file")}, ["mel"]),
    "v1's spec": ({"spec": "musetalk-v1"}, ["norm", "mel"]),
    "encoder window": ({"spec": replace(SPEC, window=mt.EncoderWindow(5, 20, 5, 30))}, ["encoder"]),
    "shorter encoder windows": ({"spec": replace(SPEC, window=mt.EncoderWindow(0, 5, 0, 30))}, ["encoder"]),
    "shorter windows, bare": ({"spec": replace(SPEC, window=mt.EncoderWindow(0, 5, 0, None))}, ["encoder"]),
    "fps": ({"fps": 24}, ["rows", "rows"]),
    "NTSC fps": ({"fps": 29.97}, ["rows", "rows"]),
    "context moved": ({"context": (1, 3)}, ["rows"]),
    "context wider": ({"context": (2, 3)}, ["rows"]),
    "edge": ({"edge": "zeros"}, ["edges"]),
    "encoding": ({"after": add_positions}, ["encoding"]),
    "encoding and norm": ({"after": add_positions, "spec": replace(SPEC, final_norm=False)}, ["encoding", "norm"]),
    "delay": ({"audio": delayed}, ["decode"]),
    "encoding in halves": ({"after": in_halves}, ["encoding"]),
    "learned encoding": ({"after": learned}, ["encoding"]),
    "encoding twice": ({"after": lambda chunks: add_positions(add_positions(chunks))}, ["encoding"]),
    "peak": ({"audio": lambda waveform: waveform / np.abs(waveform).max()}, ["decode"]),
    "trimmed": ({"audio": trimmed}, ["rows or decode", "decode"]),
    "trimmed at its end": ({"audio": lambda waveform: waveform[:490_000]}, ["rows or decode"]),
    "two frames too many": ({"after": lambda chunks: np.concatenate([chunks, chunks[-2:]])}, ["rows or decode"]),
    "level": ({"audio": lambda waveform: waveform / 2}, ["decode"]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_differences_are_told_their_step(contract, small, name):
    how, steps = PLANTED[name]
    check = contract.check(ours(small, **how))
    assert [step for step, _ in check.faults] == steps, check
    assert check.ok == (not steps)


def test_what_changes_silence_alone_is_not_the_norm(trained):
    """Dither of one step shows in the last layer first."""
    encoder = mt.load_encoder(trained, device="cpu")
    dither = np.random.default_rng(0).normal(0, 1 / 32768, 528_000).astype(np.float32)
    check = contract_of(encoder).check(ours(encoder, audio=lambda waveform: waveform + dither))
    assert [step for step, _ in check.faults] == ["encoder", "mel"], check


def test_rows_that_were_moved_far_are_not_called_another_window_alone(contract, small):
    def moved(path):
        return np.asarray(mt.feature2chunks(np.roll(mt.audio2feat(path, small), 12, axis=0), 25))

    ((_, text),) = contract.check(moved).faults
    assert "or rows are taken from 0.24 s before" in text


def test_other_weights_are_told(encoder):
    other = mt.Encoder("other", untrained_weights("tiny", seed=1), encoder.device, "float32").truncated(3)
    ((step, text),) = contract_of(encoder.truncated(3)).check(ours(other)).faults
    assert (step, "other weights" in text) == ("encoder", True)


def test_a_contract_of_version_1_has_lost_its_probe(contract, tmp_path):
    contract.save(tmp_path / "c.json")
    plain = {**json.loads((tmp_path / "c.json").read_text()), "version": 1}
    (tmp_path / "c.json").write_text(json.dumps(plain))
    loaded = mt.AudioContract.load(tmp_path / "c.json")
    assert (loaded, loaded.probe) == (contract, None)


def test_another_encoding_than_the_contracts_is_told(small):
    made = contract_of(small, positional_encoding=True)
    steps = [step for step, _ in made.check(ours(small, after=in_halves)).faults]
    assert steps == ["encoding", "encoding"]  # MuseTalk's is missing, another is there


def test_a_missing_encoding_is_told(small):
    made = contract_of(small, positional_encoding=True)
    assert made.check(ours(small, after=add_positions)).ok
    ((step, text),) = made.check(ours(small)).faults
    assert (step, "is missing" in text) == ("encoding", True)
    chunks = np.zeros((2, 20, 64), np.float32)
    np.testing.assert_array_equal(made.model_input(chunks), add_positions(chunks))


@pytest.mark.parametrize("moved", [1, -1, 4])
def test_a_shift_is_told_behind_an_encoding_too(small, moved):
    def shifted(path):
        features = made.chunks(path, small).features
        return add_positions(np.asarray(mt.feature2chunks(np.roll(features, -moved, axis=0), 25)))

    made = contract_of(small, positional_encoding=True)
    assert f"every chunk is taken {moved:+d} rows" in repr(made.check(shifted))


@pytest.mark.parametrize("where", [(), (200,), (3, 7, 30)])  # of which the last is in no frame that is kept
def test_values_that_are_not_finite(contract, small, where):
    def spoiled(path):
        chunks = ours(small)(path).copy()
        chunks[where] = np.nan
        return chunks

    ((step, text),) = contract.check(spoiled).faults
    assert (step, "not finite" in text) == ("rows", True)


def test_what_stops_or_gives_no_chunks(contract):
    def stops(path):
        raise RuntimeError("no GPU")

    for function, expected in ((stops, "stops on the probe: RuntimeError: no GPU"), (lambda path: [], "no chunks")):
        ((step, text),) = contract.check(function).faults
        assert (step, expected in text) == ("rows", True)
    with pytest.raises(mt.ContractError, match="no probe"):
        replace(contract, probe=None).check(stops)


def test_real_sizes(trained):
    """What is padded shows in larger encoders alone."""
    encoder = mt.load_encoder(trained, device="cpu").truncated(3)
    made = contract_of(encoder, ChunkSettings(30))
    assert made.check(ours(encoder, fps=30)).ok
    unpadded = replace(SPEC, window=mt.EncoderWindow(0, 30, 0, None))
    for spec in (replace(SPEC, padding="mel"), unpadded):
        assert [step for step, _ in made.check(ours(encoder, spec, fps=30)).faults] == ["mel"]
    short = made.check(ours(encoder, replace(SPEC, window=mt.EncoderWindow(0, 5, 0, 30)), fps=30))
    assert "encoder: another encoder window: one begins at 20 s" in repr(short)
    loud = made.check(ours(encoder, fps=30, audio=lambda waveform: waveform / np.abs(waveform).max()))
    assert [step for step, _ in loud.faults] == ["decode"]
