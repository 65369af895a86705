"""The effect of preprocessing on a model: what the experiment must show, and that it would show the contrary."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from figure_checks import check
from torch.utils.data import DataLoader

from musetools import RECIPES, ParameterError, RecipeError, audio2feat
from musetools.lab.effect import Effect, Experiment, answer_box, delay_figure, prediction_figure, r2_figure
from musetools.lab.effect.answer import SHADE, effect_of
from musetools.lab.effect.measure import INFERENCE, SIDES
from musetools.lab.effect.outcome import Model, ridge
from musetools.lab.speech import Talker, find_talkers, hold_out
from musetools.lips import read_mouth
from musetools.recipes.recipe import Recipe, add_positions
from musetools.timing import COMMON_FPS

ROOT = Path(__file__).resolve().parents[3]
RATE = 16_000
EQUAL = ("musetools", "musetalk-v1-infer", "musetalk-v1.5-infer", "latentsync")  # the published rows at 25 fps


@pytest.fixture(scope="module")
def lab(bundled, small, tmp_path_factory) -> Experiment:
    """A small experiment: 43 s to train on, 20 s held out, the small encoder."""
    training, held_out = hold_out([*bundled[:2], bundled[3]], 20)
    return Experiment(training, held_out, small, tmp_path_factory.mktemp("effect"))


@pytest.fixture(scope="module")
def effect(lab, small) -> Effect:
    return effect_of(lab, small)


# --- what it must show


def test_every_inference_recipe_runs_but_where_it_stops(effect):
    assert set(INFERENCE) == {name for name in RECIPES if "train" not in name}
    stopped = {*itertools.product(INFERENCE, COMMON_FPS)} - effect.grid.keys()
    assert stopped == {("livetalking", 29.97), ("livetalking-0-5", 29.97)}
    for name, fps in stopped:
        with pytest.raises(RecipeError):
            RECIPES[name].chunk_rows(RATE, fps)


def test_the_measured_delay_is_that_of_the_matrix(effect):
    for outcome in effect.grid.values():
        assert outcome.delay.ms == pytest.approx(outcome.expected.mean_ms, abs=15), outcome.title
        assert outcome.delay.drift_ms_s == pytest.approx(outcome.expected.drift_ms_s, abs=2), outcome.title


def test_what_the_matrix_expects_is_what_is_known(effect):
    """From FACTS: v1.5 drifts by 33 ms/s at 29.97 and is 40 to 58 ms late at 24, LiveTalking's [0, 5] 80 ms early."""
    expected = {key: (o.expected.mean_ms, o.expected.drift_ms_s) for key, o in effect.grid.items()}
    assert expected["musetalk-v1.5-infer", 29.97][1] == pytest.approx(-1000 * (30_000 / 1001 / 29 - 1), abs=0.1)
    assert 40 < expected["musetalk-v1.5-infer", 24][0] < 58
    assert expected["livetalking-0-5", 25][0] == pytest.approx(-80)
    assert expected["musetools", 25] == pytest.approx((0, 0), abs=1e-9)


def test_predictions_are_equal_where_the_published_rows_are(effect):
    """Inside the clip, bit for bit; other windows give other predictions."""
    for name, agreement in effect.agreements.items():
        if name in EQUAL:
            assert agreement.equal == agreement.interior == 500 - 4
            assert agreement.interior_change == 0
        else:
            assert agreement.equal == 0
            assert agreement.interior_change > 0.05
    assert len(effect.agreements) == len(EQUAL) + 3


def test_the_edges_as_a_number(effect):
    """v1 training drops them; v1.5 training takes encoded silence where inference takes zeros or repeats rows."""
    agreements = effect.agreements
    assert agreements["musetalk-v1-infer"].edges == 0
    assert agreements["musetalk-v1.5-infer"].edges == agreements["musetools"].edges == 4
    assert agreements["musetalk-v1.5-infer"].edge_change > 0.01
    for outcome in effect.grid.values():
        assert 0 < outcome.first_error < 1
        assert 0 < outcome.last_error < 1


def test_the_matching_pair_learns_and_the_control_does_not(effect):
    assert effect.matching.r2 > 0.6
    assert min(effect.grid[name, 25].r2 for name in EQUAL) > 0.6
    assert abs(effect.control.r2) < 0.1


def test_single_differences(effect):
    costs = {name: effect.grid["musetools", 25].r2 - outcome.r2 for name, outcome in effect.differing.items()}
    assert len(costs) == 8
    assert abs(costs["features stored in float16"]) < 0.01
    assert abs(costs["positional encoding on both sides"]) < 0.01
    assert costs["positional encoding at inference alone"] > 0.01
    assert costs["positional encoding in training alone"] > 0.01
    live = {side: effect.differing[f"live features into {side}-trained model"].r2 for side in ("an offline", "a live")}
    assert live["a live"] > max(0.6, live["an offline"])


# --- it would show the contrary


def later(rows_later: int) -> Recipe:
    """The recipe musetools, but every chunk some rows later."""
    ours = RECIPES["musetools"]

    def cut(n_samples, fps, context):
        first, rows = ours.cut(n_samples, fps, context)
        return first, (rows + rows_later).clip(0, n_samples // 320 - 1)

    return Recipe("shifted", ours.features, cut, False, "here", "1", "")


@pytest.mark.parametrize(("rows_later", "fps"), [(-10, 25), (-1, 29.97), (4, 25)])
def test_chunks_shifted_by_known_rows_are_found_out(rows_later, fps, lab):
    whole = lab.outcome("musetools", fps, model=lab.model("v1.5")).delay.ms
    shifted = lab.outcome(later(rows_later), fps, model=lab.model("v1.5"))
    assert shifted.delay.ms - whole == pytest.approx(-20 * rows_later, abs=2)
    assert shifted.expected.mean_ms == pytest.approx(shifted.delay.ms, abs=15)


def test_a_shift_that_the_matrix_does_not_know_is_measured(lab):
    features = np.roll(lab.features(RECIPES["musetools"].features), 3, axis=0)
    moved = lab.outcome("musetools", model=lab.model("v1.5"), features=features)
    assert moved.expected.mean_ms == pytest.approx(0, abs=1e-9)
    assert moved.delay.ms == pytest.approx(60, abs=5)


def test_too_short_a_held_out_stretch(small, tmp_path):
    talker = Talker("a", np.zeros(RATE, np.float32), np.arange(3.0), np.arange(3.0))
    with pytest.raises(ParameterError, match="4 s of speech"):
        Experiment([talker], talker, small, tmp_path)


def test_two_clips_of_one_name(lab, small, tmp_path):
    """A store would keep one of them."""
    with pytest.raises(ParameterError, match=f"names of their own; got {lab.training[0].name} twice"):
        Experiment([*lab.training, lab.training[0]], lab.held_out, small, tmp_path)


def test_a_single_changed_number_is_no_longer_equal(lab):
    features = lab.features(RECIPES["musetools"].features).copy()
    features[400, 1, 5] = np.nextafter(features[400, 1, 5], np.float32(np.inf))
    changed = lab.agreement(lab.outcome("musetools", model=lab.model("v1.5"), features=features))
    assert 1 <= changed.interior - changed.equal <= 5  # at most the chunks that the row is in


def test_clips_of_ones_own(bundled, small, tmp_path):
    """Bundled audio with its 25 fps tables, as a user would bring it; the table is late by 60 ms in the last clip."""
    for talker, late in zip(bundled[1:], (0, 0, 0.06), strict=True):
        times, opening = read_mouth(ROOT / "data" / f"{talker.name}.csv").opening
        soundfile.write(tmp_path / f"{talker.name}.wav", talker.waveform, RATE)
        table, path = np.column_stack([times + late, opening]), tmp_path / f"{talker.name}.csv"
        np.savetxt(path, table, delimiter=",", header="time_s,opening", comments="")
    training, held_out = hold_out(find_talkers(str(tmp_path)), 20)
    own = Experiment(training, held_out, small, tmp_path / "stores")
    outcome = own.outcome("musetools", 29.97, model=own.model("v1.5"))
    assert outcome.r2 > 0.2
    assert outcome.delay.correlation > 0.85
    assert outcome.delay.ms == pytest.approx(outcome.expected.mean_ms - 60, abs=10)


# --- the training side


@pytest.mark.parametrize("side", ["v1", "v1.5"])
def test_the_dataset_chunks_as_the_training_recipe_does(side, lab):
    recipe = RECIPES[f"musetalk-{side}-train"]
    assert SIDES[side][0] == recipe.features
    waveform = lab.training[0].waveform
    features = audio2feat((waveform, RATE), lab.encoder, spec=recipe.features)
    published = recipe.chunks(features, len(waveform), 25)
    dataset = lab.dataset(side)
    first = lab.training[0].name
    items = [*itertools.takewhile(lambda item: item["clip"] == first, map(dataset.__getitem__, range(len(dataset))))]
    assert [item["frame"] for item in items] == [*published.frames][: len(items)]
    assert len(items) in (len(published), len(published) - 1)  # v1.5's matrix has one for the frame as the audio ends
    for item, chunk in zip(items, published, strict=False):
        np.testing.assert_array_equal(item["audio"].numpy(), chunk)


def test_openings_go_with_their_frames(lab):
    batch = next(iter(DataLoader(lab.dataset("v1"), batch_size=16)))
    truth = lab.training[0].at(batch["frame"].numpy() / 25)
    np.testing.assert_allclose(batch["opening"].numpy(), truth)
    assert batch["clip"] == [lab.training[0].name] * 16


# --- the model


def test_ridge_finds_a_linear_rule():
    rng = np.random.default_rng(1)
    chunks, rule = rng.normal(3, 2, (600, 4, 5)).astype(np.float32), rng.normal(size=20)
    openings = chunks.reshape(600, -1) @ rule + 0.5
    model = Model("v1", False, *ridge(chunks, openings))
    assert np.corrcoef(model.predict(chunks, False), openings)[0, 1] > 0.999


@pytest.mark.parametrize("added", [False, True])
def test_a_prediction_does_not_depend_on_the_chunks_around(added):
    rng = np.random.default_rng(2)
    chunks = rng.normal(size=(100, 10, 64)).astype(np.float32)
    model = Model("v1", added, rng.normal(size=640), 0.1)
    parts = [model.predict(chunks[start : start + 7], added) for start in range(0, 100, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), model.predict(chunks, added))
    given = add_positions(chunks) if added else chunks
    np.testing.assert_allclose(model.predict(chunks, added), 0.1 + given.reshape(100, -1) @ model.weights)


# --- figures, tables, sentences


def test_r2_and_errors_by_hand(effect):
    outcome = effect.grid["livetalking", 24]
    inside = (outcome.times_s >= 1) & (outcome.times_s < 19)
    wrong = outcome.prediction - outcome.talker.at(outcome.times_s)
    assert outcome.error == pytest.approx(np.sqrt((wrong[inside] ** 2).mean()))
    assert outcome.r2 == pytest.approx(1 - (wrong[inside] ** 2).mean() / outcome.truth[inside].var())
    assert outcome.bias == pytest.approx(wrong[inside].mean())
    assert outcome.title == "livetalking at 24 fps"


OPENING_UNITS = {"time in s", "mouth opening\n(0 shut, 1 wide)", "true opening", "predicted opening"}
DELAY_UNITS = {
    "delay in ms, expected from the index matrix",
    "delay in ms, measured (positive: mouth late)",
    "time in s",
}
FIGURES = {  # name: figure, units, texts
    "predictions": (prediction_figure, OPENING_UNITS, ["true opening", "predicted = true"]),
    "delays": (delay_figure, DELAY_UNITS, ["24 fps", "29.97 fps", "measured = expected", "15 ms either side"]),
    "R²": (r2_figure, {"R² of the predicted opening, held-out speech without its first and last second"}, ["30 fps"]),
}


@pytest.mark.parametrize("only", [INFERENCE, ("musetools",)], ids=len)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure(name, only, effect):
    draw, units, texts = FIGURES[name]
    some = replace(effect, grid={key: outcome for key, outcome in effect.grid.items() if key[0] in only})
    off = max(abs(o.delay.ms - o.expected.mean_ms) for o in some.grid.values())
    number = f"within {off:.1f} ms" if name == "delays" else some.worst.title
    check(draw(some), units, ["weights: small", number, *texts])


def test_every_drifting_run_is_drawn_over_time(effect, monkeypatch):
    """There are more of them than marks in long speech, where slow drifts grow large, too."""
    monkeypatch.setattr("musetools.lab.effect.figures.STEADY_MS", -1)
    labels = [line.get_label() for line in delay_figure(effect).axes[1].get_lines()]
    assert [label for label in labels if "measured" in label] == [f"{o.title}, measured" for o in effect.grid.values()]


def test_the_r2_figure_shows_the_pair_as_it_is_run_first_and_names_what_stops(effect):
    ax = r2_figure(effect).axes[0]
    assert [text.get_text() for text in ax.texts if "stops" in text.get_text()] == ["stops at 29.97 fps"] * 2
    first = ax.get_lines()[0]
    assert ax.get_yticklabels()[0].get_text() == "MuseTalk v1.5 as it is run"
    assert first.get_ydata()[0] == 0
    assert first.get_xdata()[0] == pytest.approx(max(effect.published["v1.5"].r2, ax.get_xlim()[0] + 0.04))


def test_tables_name_the_weights(effect):
    whole = effect.outcome_table()
    assert len(whole.lines) == len(INFERENCE) * len(COMMON_FPS) + 2
    assert whole.lines[0][2:4] == ["v1.5, no positions", effect.published["v1.5"].r2_text]
    assert sum("stops" in line for line in whole.lines) == 2
    single, same = effect.difference_table(), effect.agreement_table()
    assert (len(single.lines), len(same.lines)) == (11, len(INFERENCE))
    r2 = [float(line[2].replace("−", "-")) for line in single.lines]
    assert r2[0] == pytest.approx(effect.published["v1.5"].r2, abs=1e-3)
    assert r2[3:] == sorted(r2[3:])
    assert all("Weights: small" in table.caption for table in (whole, single, same))


def test_the_published_pairs_are_run_as_they_are(effect, lab):
    """v1.5's training adds no positional encoding and its inference does; v1 adds it on both sides."""
    pair, v1 = effect.published["v1.5"], effect.published["v1"]
    assert [pair.model.positional_encoding, v1.model.positional_encoding] == [False, True]
    mended = effect.grid["musetalk-v1.5-infer", 25]
    assert mended.model.positional_encoding
    assert pair.r2 < mended.r2 - 0.01
    plain = lab.outcome("musetalk-v1.5-infer", model=pair.model, positional_encoding=False)
    shift = pair.prediction - plain.prediction
    np.testing.assert_allclose(shift, shift[0], atol=1e-5)  # a constant to a linear model
    assert v1.r2 == effect.grid["musetalk-v1-infer", 25].r2


def test_costs_are_sorted_behind_the_pair_as_it_is_run(effect):
    table, costs = effect.cost_table(), effect.costs
    assert len(table.lines) == len(table.shades) == 2 + 8 + len(effect.grid)
    assert table.lines[0][0] == "MuseTalk v1.5 as it is run, 25 fps"
    stated = [float(line[1].replace("−", "-")) for line in table.lines]
    assert stated[0] == pytest.approx(effect.matching.r2 - effect.published["v1.5"].r2, abs=1e-3)
    assert stated[1:] == sorted(stated[1:], reverse=True)
    assert list(costs.values()) == sorted(costs.values(), reverse=True)
    for name, cost, verdict, *_ in table.lines:
        assert float(cost.replace("−", "-")) == pytest.approx(costs[name], abs=6e-4)
        assert verdict == ("nothing" if costs[name] < 0.01 else "little" if costs[name] < 0.05 else "much")
    why = {line[0]: line[-1] for line in table.lines}
    assert "33 ms earlier with every second" in why["musetalk-v1.5-infer at 29.97 fps"]
    for verdict, shade in SHADE.items():
        assert table._repr_html_().count(f"background:{shade}") == sum(line[2] == verdict for line in table.lines)


def test_the_answer_is_three_sentences(effect):
    pair, most, valid = effect.sentences()
    box = answer_box(effect)
    assert box.sentences[:3] == effect.sentences()  # then that untrained weights have no meaning
    assert len(box.sentences) == 4
    assert box.figure.axes[0].get_yticklabels()[0].get_text() == "MuseTalk v1.5 as it is run"
    assert effect.published["v1.5"].r2_text in pair
    assert f"{max(effect.costs.values()):.2f}" in most
    assert "is valid" in valid
    assert "2 stop" in valid
    assert "delay agrees with" in valid


def test_the_answer_admits_a_failed_experiment(effect, lab):
    """With control and matching pair exchanged; and with features that come later than their matrix says."""
    features = np.roll(lab.features(RECIPES["musetools"].features), 2, axis=0)
    late = lab.outcome("musetools", model=lab.model("v1.5"), features=features)
    failed = replace(effect, matching=effect.control, control=effect.matching, grid={("musetools", 25): late})
    *_, valid = failed.sentences()
    assert "is not valid" in valid
    assert "does not always agree" in valid
    assert "the delay is not always the expected one" in delay_figure(failed).axes[0].get_title("left")
