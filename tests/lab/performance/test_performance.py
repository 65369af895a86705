"""What the work costs: published ways give our values, figures and sentences agree with numbers; no time is judged."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_openai, small_weights
from figure_checks import check, written

from musetools import audio2feat, load_encoder
from musetools.features.weights import read_weights
from musetools.lab import performance
from musetools.lab.performance import baselines, measure, timing

MEDIA = Path(__file__).resolve().parents[3] / "data" / "voice_a.m4a"
PLAN = performance.Plan(1, False, 0.6, (1, 5, 10, 30, 60), (0.1, 0.2), 0.01, 2, 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(save_openai(tmp_path_factory.mktemp("weights") / "small.pt", small_weights(n_layer=2)))


@pytest.fixture(scope="module")
def answer(checkpoint, tmp_path_factory):
    return performance.evaluate(MEDIA, tmp_path_factory.mktemp("work"), encoder=checkpoint, plan=PLAN, others=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)
    return measure.repeated_wav(waveform, 35.1, tmp_path_factory.mktemp("wav") / "35.wav")


# --- the published ways


def test_the_stand_in_gives_the_values_of_v1(checkpoint, recording):
    ours = audio2feat(recording, load_encoder(checkpoint), spec="musetalk-v1")
    theirs = performance.v1_style(read_weights(checkpoint))(recording)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=2e-4)


@pytest.mark.skipif(not find_spec("transformers"), reason="needs the extra bench")
@pytest.mark.filterwarnings("ignore")  # theirs
def test_hugging_face_gives_the_values_of_v15(checkpoint, recording):
    ours = audio2feat(recording, load_encoder(checkpoint), spec="musetalk-v1.5")
    theirs = performance.hugging_face(read_weights(checkpoint))(recording)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=2e-4)


def test_without_transformers_there_is_no_such_way(checkpoint, monkeypatch):
    monkeypatch.setattr("musetools.lab.performance.baselines.find_spec", lambda name: None)
    assert performance.hugging_face(read_weights(checkpoint)) is None


# --- measures


def test_runs_take_turns_after_a_warm_up():
    order, now = [], iter(range(100))
    raced = performance.race(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, clock=lambda: next(now)
    )
    assert order == list("ababab")
    assert {name: seconds.tolist() for name, seconds in raced.seconds.items()} == {"a": [1, 1], "b": [1, 1]}


def test_ratios_are_taken_round_by_round():
    raced = timing.Race({"slow": np.array([2.0, 9, 8]), "fast": np.array([1.0, 3, 2])})
    assert raced.ratio("slow", "fast") == (3, 2, 4)
    assert raced.best("slow") == 2


def test_operations_of_tiny(encoder):
    """FACTS section 6: 36.94 GFLOP for 30 s."""
    assert measure.encoder_flops(encoder, 1500) == pytest.approx(36.94e9, rel=1e-3)


def test_a_line_is_found_in_whole_windows():
    costs = {f"{length}": np.array([0.01 * (-(-length // 30) * 30) + 0.5]) for length in (1, 10, 30, 61, 3600)}
    fit = measure.fit_of(timing.Race(costs))
    assert (fit.a_second, fit.once) == (pytest.approx(0.01), pytest.approx(0.5))
    assert fit.worst < 1e-9
    costs["61"] *= 2
    assert measure.fit_of(timing.Race(costs)).worst > 0.2


def test_errors_of_types_by_layer(encoder):
    half = load_encoder("untrained-tiny", device="cpu", dtype="bfloat16")
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 31 * 16_000).astype(np.float32)
    errors = performance.type_errors(waveform, {"float32": encoder, "bfloat16": half})
    assert list(errors) == ["bfloat16", "5 s, not padded", "neighbouring rows"]
    assert all(found.shape == (5,) for found in errors.values())
    assert 0 < errors["bfloat16"].max() < 0.02 < errors["neighbouring rows"].min()


def test_where_the_time_goes(encoder):
    (line,) = performance.operation_table([encoder]).lines
    shares = [int(cell.removesuffix(" %")) for cell in line[1:]]
    assert line[0] == "float32"
    assert 97 <= sum(shares) <= 103
    assert shares[0] > 0
    assert shares[1] > 0


def test_decoding_without_checks_gives_the_same_samples():
    np.testing.assert_array_equal(measure._bare_decode(MEDIA), measure.load_audio(MEDIA))


# --- the answer


def test_everything_is_measured(answer):
    assert [bound.name for bound in answer.shares] == ["float32, 1 thread", "bfloat16, 1 thread"]
    assert [bound.name for bound in answer.bounds] == [
        "decoding",
        "chunks made and touched",
        "chunks copied out, 8 at a time",
        "training batches",
        "live step, float32",
        "live step, bfloat16",
    ]
    assert all(0 < bound.low <= bound.share <= bound.high for bound in (*answer.shares, *answer.bounds))
    assert list(answer.lengths["not padded"].seconds) == ["1", "5", "10"]
    assert list(answer.memory) == [0.1, 0.2]
    assert answer.same[baselines.V1] < 0.01
    assert len(answer.gains()) == 2
    assert torch.get_num_threads() >= 1


def test_sentences_state_the_numbers(answer):
    said = "\n".join(answer.sentences())
    dtype, name, (median, _, _) = answer.gains()[0]
    assert f"{dtype} {median:.2f} times as fast as {name}" in said
    assert f"{100 * answer.shares[0].share:.0f} % in float32" in said
    assert "Hugging Face's way was left out" in said
    assert f"{100 * answer.bounds[0].share:.0f} %" in repr(answer)


def test_a_short_window_is_compared_layer_by_layer(answer):
    errors = {"bfloat16": np.ones(2), "5 s, not padded": np.array([0.1, 0.8]), "neighbouring rows": np.array([0.2, 2])}
    assert "up to 0.5 times as far" in "\n".join(dataclasses.replace(answer, errors=errors).sentences())


def test_labels_of_short_bars_cover_no_name(answer):
    seconds = {name: np.array([1.0, 1.1]) for name in answer.whole.seconds}
    seconds["musetools, bfloat16"] *= 17
    figure = performance.whole_figure(dataclasses.replace(answer, whole=timing.Race(seconds)))
    figure.draw_without_rendering()
    (ax,) = figure.axes
    assert all(text.get_window_extent().x0 > ax.bbox.x0 for text in ax.texts)


@pytest.mark.parametrize(
    ("draw", "units"),
    [
        (
            performance.whole_figure,
            ["times as long as musetools in float32 (median; line: least and most of the rounds)"],
        ),
        (performance.length_figure, ["length of the audio in s", "computing in s, one thread"]),
        (performance.memory_figure, ["length of the audio in min", "MiB"]),
        (performance.error_figure, ["layer", "rms difference in standard\ndeviations of the layer"]),
        (performance.start_figure, ["s"]),
        (lambda answer: performance.share_figure(answer.shares, "The encoder"), ["share of the limit in %"]),
        (lambda answer: performance.share_figure(answer.bounds, "Other parts"), ["share of the limit in %"]),
    ],
)
def test_figures(draw, units, answer):
    check(draw(answer), units)


def test_the_title_names_the_farthest_from_its_limit(answer):
    worst = min(answer.bounds, key=lambda bound: bound.share)
    assert worst.name in written(performance.share_figure(answer.bounds, "Other parts"))[0]
