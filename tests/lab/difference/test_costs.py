"""What differences cost: measures against loops and planted differences, the rule, silence, what becomes of frames."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
import soundfile
from figure_checks import check
from oracles import speech

from musetools import RECIPES, ParameterError, audio2feat
from musetools.lab import content
from musetools.lab.answer import AnswerBox
from musetools.lab.content import Gap, gap_of, looped
from musetools.lab.difference import (
    cause_figure,
    compare,
    evaluate,
    measure_causes,
    measure_silence,
    outcome_figure,
    outcomes,
    silence_figure,
)
from musetools.lab.difference.causes import CAUSE_OF, SMOOTH, Cause, Places, measure_places
from musetools.lab.difference.measure import KINDS
from musetools.lab.difference.silence import SITUATIONS
from musetools.table import SHADES

RATE = 16_000
V1, V15 = ("musetalk-v1-train", "musetalk-v1-infer"), ("musetalk-v1.5-train", "musetalk-v1.5-infer")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return speech(7 * RATE)


@pytest.fixture(scope="module")
def causes(clip, small):
    return measure_causes((clip, RATE), small, bfloat16=small)


# --- the scale


def test_a_gap_is_that_of_a_loop():
    difference = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)
    difference[2, 1, 3] = -9
    std = np.array([1.0, 2.0, 0.5])
    found = gap_of(difference, std)
    for layer in range(3):
        values = [float(v) for row in difference for v in row[layer]]
        assert found.rms[layer] == pytest.approx(np.sqrt(sum(v * v for v in values) / len(values)) / std[layer])
    largest = max((abs(float(d)) / std[layer], layer) for (_, layer, _), d in np.ndenumerate(difference))
    assert (found.worst, found.worst_layer) == pytest.approx(largest)


@pytest.fixture
def measured(monkeypatch, small):
    """Measure made-up features of a minute: a row is its sound, what its place in the two windows adds, and noise."""
    random = np.random.default_rng(1)

    def measure(sounds: np.ndarray, by_place: np.ndarray, noise: float = 0.0) -> Places:
        def features(source, encoder, *, spec):
            first = round(float(source[0][0]))  # the loop's samples are row numbers here
            return np.roll(sounds, -first, axis=0) + by_place + noise * random.normal(size=sounds.shape)

        monkeypatch.setattr(content, "audio2feat", features)
        return measure_places(np.repeat(np.arange(3000.0), 320).astype(np.float32), small, "musetalk-v1")

    return measure


def test_content_is_what_remains_without_places(measured):
    random = np.random.default_rng(0)
    by_place = 5 * random.normal(size=(1500, 2, 4))
    sounds = np.stack([random.normal(scale=s, size=(3000, 4)) for s in (1, 3)], axis=1)
    found = measured(sounds, np.tile(by_place, (2, 1, 1)))
    np.testing.assert_allclose(found.std, [1, 3], rtol=0.02)
    moved = np.sqrt(np.mean((by_place[:750] - by_place[750:]) ** 2, axis=(0, 2)))
    np.testing.assert_allclose(found.moved.rms, moved / found.std, rtol=1e-4)
    assert found.boundary.rms.max() < 1e-9  # half a window later there are the same eight sounds


@pytest.mark.parametrize("near", [8.0, 30.0])
def test_a_planted_boundary_is_found(measured, near):
    """Ends of windows that see something else in every second window: a constant there would belong to the place."""
    random = np.random.default_rng(1)
    by_place, seen = np.zeros((3000, 2, 4)), near * np.sign(random.normal(size=(10, 1, 4)))
    by_place[:10] = by_place[1490:1500] = seen
    by_place[1500:1510] = by_place[2990:] = -seen
    found = measured(random.normal(size=(3000, 2, 4)), by_place, noise=0.01)
    assert 10 - SMOOTH < found.reach <= 10
    np.testing.assert_allclose(found.boundary.rms, near / found.std, rtol=0.1)


def test_a_loop_repeats_or_cuts():
    assert looped(np.arange(5.0), 10 / RATE).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert looped(np.arange(5.0), 3 / RATE).tolist() == [0, 1, 2]


@pytest.mark.parametrize("seconds", [7.5, 15, 30])
def test_eight_windows_of_a_loop_hold_eight_sounds(seconds):
    """A clip of 30 s, repeated as it is, would come again after four turns of 7.5 s."""
    loop = looped(np.arange(round(seconds * RATE)))
    starts = sorted(int(np.roll(loop, round(-7.5 * turn * RATE))[0]) for turn in range(8))
    assert min(np.diff(starts)) >= 0.5 * RATE


# --- causes


def test_causes_are_sorted_and_hold_what_was_measured(causes, clip, small):
    costs, table = [cause.cost for cause in causes.found], causes.table()
    assert costs == sorted(costs, reverse=True)
    assert [line[0] for line in table.lines[: len(costs)]] == [cause.name for cause in causes.found]
    shades = {"yes": SHADES["good"], "single values are not": SHADES["fair"], "no": SHADES["bad"]}
    assert list(table.shades) == [shades[line[-1]] for line in table.lines[: len(costs)]]
    assert not causes["decoded by ffmpeg or by librosa"].gap.rms.any()  # nothing to resample
    assert not causes["computed in bfloat16, musetalk-v1"].gap.rms.any()  # it was given the same encoder
    rows = audio2feat((looped(clip), RATE), small, spec="musetalk-v1.5")
    expected = gap_of(rows - rows.astype(np.float16).astype(np.float32), causes.content["musetalk-v1.5"].std)
    np.testing.assert_allclose(causes["stored in float16, musetalk-v1.5"].gap.rms, expected.rms, rtol=1e-5)
    assert causes.results().keys() == {f"{c.name}, {c.spec}" for c in causes.found}


def test_whatever_two_recipes_make_differently_has_a_cost_but_their_window(causes):
    """Where a clip lies in its window no recipe says."""
    pairs = (compare(a, b, fps=25) for a, b in combinations(RECIPES, 2))
    names = {name for pair in pairs for name, *_ in pair.spec_differences} - {"window"}
    assert names == CAUSE_OF.keys()
    assert all(causes[CAUSE_OF[name]].spec for name in names)


def test_the_last_layer_alone_is_normed(causes):
    rms = causes["last layer normed on one side alone"].gap.rms
    assert rms[-1] > 0
    assert not rms[:-1].any()


def test_positions_cost_what_they_add(causes):
    """Sine and cosine have a mean square of a half, wherever they stand."""
    found, std = causes["positional encoding added on one side alone"].gap.rms, causes.content["musetalk-v1.5"].std
    np.testing.assert_allclose(found * std, np.sqrt(0.5), rtol=1e-3)


@pytest.mark.parametrize(
    ("share", "worst", "verdict"),
    [(0.1, 1.0, "yes"), (0.11, 0.5, "no"), (0.05, 1.1, "single values are not"), (0.2, 9, "no")],
)
def test_the_rule_of_what_is_safe(share, worst, verdict):
    cause = Cause("any", "musetalk-v1", Gap(np.array([0.01]), worst, 0), np.array([0.01, share]), "all")
    assert cause.verdict == verdict


# --- silence


def test_silence(clip, small):
    stds = {spec: np.ones(2) for spec in ("musetalk-v1", "musetalk-v1.5")}
    loud = np.maximum(np.abs(clip), 0.1)
    found = measure_silence(loud, small, stds)
    for matrix in found.distances.values():
        np.testing.assert_allclose(matrix, matrix.T)
        assert not matrix.diagonal().any()
        assert (matrix + np.eye(len(SITUATIONS)) > 0).all()
    assert list(found.caught.values()) == [(50, 45), (50, 45), (0, 0)]
    strict = measure_silence(loud, small, stds, below_dbfs=-100)
    assert [masked for _, masked in strict.caught.values()] == [45, 0, 0]
    halved = measure_silence(loud, small, {spec: 2 * std for spec, std in stds.items()})
    np.testing.assert_allclose(2 * halved.distances["musetalk-v1"], found.distances["musetalk-v1"])
    check(silence_figure(found), ["rows of"], ["musetalk-v1.5: silence is"], legend=False)


# --- what becomes of each frame


def test_frames_by_kind():
    v1, v15 = compare(*V1), compare(*V15)
    assert list(v1.counts().values()) == [1496, 0, 0, 6]
    assert list(v15.counts().values()) == [0, 750, 750, 1]
    for found in (v1, v15):
        for frame, kind in enumerate(found.kinds):
            both = frame in found.a.frames and frame in found.b.frames
            assert (kind == "one side alone has a chunk") == (not both)
    assert not compare("musetools", "musetalk-v1.5-infer", fps=50).counts()["same chunk"]


def test_the_worst_is_measured_by_neighbours_of_its_own_features(causes):
    worst = dataclasses.replace(causes.found[0], spec="musetalk-v1.5")
    other = dataclasses.replace(causes.content["musetalk-v1.5"], neighbours=np.array([2, 3.5]))
    content = causes.content | {"musetalk-v1.5": other}
    said = dataclasses.replace(causes, found=(worst, *causes.found[1:]), content=content).sentences()
    assert said[0].endswith("neighbouring rows differ by 2 to 3.5.")


def test_the_answer_of_two_pairs(small, clip, tmp_path, causes):
    soundfile.write(tmp_path / "clip.wav", clip, RATE)
    answers = [evaluate(tmp_path / "clip.wav", *pair, small) for pair in (V1, V15)]
    found = outcomes(*answers, clip="clip.wav")
    assert len(outcomes(*answers, *answers, clip="clip.wav").all()) == len(found.all())  # a pair twice counts once
    assert [len(o.kinds) for o in found.all()] == [177, 1502, 176, 1501]
    sentences = found.sentences()
    assert "has no effect" in sentences[0]
    assert "no effect" not in sentences[1]
    assert "others from 30 s on" in sentences[1]
    check(outcome_figure(found.all()), ["time of the frame in s"], list(KINDS))
    lines = found.conclusion(causes).lines
    assert [float(line[2]) for line in lines] == sorted((float(line[2]) for line in lines), reverse=True)
    assert sum("v1.5" in line[0] for line in lines) == 3  # decoder, positions, what is past the end
    check(cause_figure(causes), ["rms over the content's standard deviation"], ["safe: yes", "neighbouring rows"])


def test_the_frame_that_differs_most(small, clip, tmp_path):
    def cut(n_samples, fps, context):
        """Chunk as musetools does, but give frame 40 other rows."""
        first, rows = RECIPES["musetools"].cut(n_samples, fps, context)
        return first, rows + 3 * (np.arange(len(rows)) == 40)[:, None]

    soundfile.write(tmp_path / "clip.wav", clip, RATE)
    late = dataclasses.replace(RECIPES["musetools"], name="late", cut=cut)
    assert evaluate(tmp_path / "clip.wav", "musetools", late, small).worst_frame() == 40
    same = evaluate(tmp_path / "clip.wav", "musetools", "musetools", small)
    assert same.worst_frame() == len(same.chunks["canonical"]) // 2
    soundfile.write(tmp_path / "short.wav", clip[:1600], RATE)
    with pytest.raises(ParameterError, match="no frame in common"):
        evaluate(tmp_path / "short.wav", *V1, small).worst_frame()


# --- the box


def test_a_box_shows_its_sentences_and_its_figure():
    shown = AnswerBox(["1 < 2", "second"], outcome_figure([compare(*V1)]))._repr_mimebundle_()
    assert "<p>1 &lt; 2</p><p>second</p>" in shown["text/html"]
    assert shown["image/png"] in shown["text/html"]
    assert shown["text/plain"] == "Answer\n1 < 2\nsecond"
    assert AnswerBox(["alone"])._repr_mimebundle_().keys() == {"text/plain", "text/html"}


def test_other_weights_than_those_of_the_documentation_are_named():
    assert AnswerBox(["alone"], weights="tiny.en").sentences == ["alone"]
    for weights, said in (("models/whisper", "may be others"), ("untrained-tiny", "have no meaning")):
        first, caution = AnswerBox(["alone"], weights=weights).sentences
        assert (first, weights in caution) == ("alone", True)
        assert said in caution
