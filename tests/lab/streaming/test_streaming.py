"""What notebook 05 measures and draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from figure_checks import check

import musetools as mt
from musetools.lab import streaming
from musetools.lab.content import looped, measure_content
from musetools.lab.streaming import measure

EXACT = mt.EncoderWindow(0, 30, 0, 30)


@pytest.fixture(scope="module")
def encoder():
    return mt.load_encoder("untrained-tiny").truncated(3)


@pytest.fixture(scope="module")
def speech():
    return mt.load_audio("data/speech.flac")[: 6 * 16_000]


@pytest.fixture(scope="module")
def offline(encoder, speech):
    return mt.audio2feat((speech, 16_000), encoder)


@pytest.fixture(scope="module")
def content(encoder, speech):
    return measure_content(speech, encoder)


@pytest.fixture(scope="module")
def traded(encoder, speech):
    """Two left contexts by two look-aheads, other positions, padded or not."""
    return streaming.trade(
        speech, encoder, lefts_s=(0.2, 2.0), rights_s=(0.04, 0.4), hops_s=(0.4,), padded=True, passes=2
    )


def test_content_has_no_positions():
    """Positions alone have no content; with content of known size, that is found."""

    class Teller(mt.Encoder):
        n_mels, n_layers, width, max_rows, device = 80, 2, 64, 1500, torch.device("cpu")

        def __init__(self):
            pass

        def hidden_states(self, mel, *, first_position=0, final_norm=True):
            place = torch.arange(1500.0)[None, :, None, None]
            loud = mel.mean(dim=0)[None, ::2, None, None]
            return torch.cat([place + 0.01 * loud, place + 3 * loud], dim=2).expand(1, 1500, 2, 64)

    noise = np.random.default_rng(5).normal(0, 0.1, 30 * 16_000).astype(np.float32)
    noise *= np.repeat(np.random.default_rng(6).uniform(0.01, 1, 1500), 320).astype(np.float32)
    found = measure_content(noise, Teller())
    assert found.std[1] / found.std[0] == pytest.approx(300, rel=0.02)
    loud = mt.audio2feat((noise, 16_000), Teller())[:, 1, 0] - np.arange(1500)
    assert found.std[1] == pytest.approx(loud.std(), rel=0.02)


def test_neighbouring_rows_are_on_the_scale_of_content(encoder, speech, content):
    loop = looped(speech)
    windows = [mt.audio2feat((loop[start : start + 30 * 16_000], 16_000), encoder) for start in (0, 15 * 8_000)]
    moved = np.sqrt((np.diff(windows, axis=1) ** 2).mean(axis=(0, 1, 3)))
    assert content.neighbours * content.std == pytest.approx(moved, rel=1e-4)
    with pytest.raises(mt.ParameterError, match="not silence"):
        measure_content(0 * speech, encoder)


def test_the_offline_window_is_no_distance_away_and_thirty_seconds_late(encoder, speech, offline, content):
    cost = streaming.window_cost(np.resize(speech, 30 * 16_000), encoder, offline, content, EXACT, passes=1)
    assert cost.latency_s == pytest.approx(30.1)
    assert cost.of_real_time == pytest.approx(cost.step_ms / 1000 / 30, rel=1e-6)
    exact = mt.audio2feat((np.resize(speech, 30 * 16_000), 16_000), encoder)
    cost = streaming.window_cost(np.resize(speech, 30 * 16_000), encoder, exact, content, EXACT)
    assert cost.by_layer == pytest.approx(0, abs=1e-6)


def test_distances_are_those_of_the_streams_features(encoder, speech, offline, content):
    window = mt.EncoderWindow(2, 0.4, 0.04, None, positions="clip")
    cost = streaming.window_cost(speech, encoder, offline, content, window, passes=99)
    by_hand = (mt.audio2feat((speech, 16_000), encoder, spec=mt.FeatureSpec(window=window)) - offline)[:300]
    expected = np.sqrt((by_hand**2).mean(axis=(0, 2))) / content.std
    assert cost.by_layer == pytest.approx(expected, rel=1e-4)
    assert cost.overall == pytest.approx(np.sqrt((expected**2).mean()), rel=1e-4)
    assert cost.of_a_row == pytest.approx(cost.overall / np.sqrt((content.neighbours**2).mean()))
    some = streaming.window_cost(speech, encoder, offline, content, window, passes=3)
    rows = np.r_[0:20, 140:160, 280:300]
    assert some.by_layer == pytest.approx(np.sqrt((by_hand[rows] ** 2).mean(axis=(0, 2))) / content.std, rel=1e-4)


def test_a_fixed_window_lies_in_the_middle_of_the_positions(speech, content):
    placed = []

    class Teller(mt.Encoder):
        n_mels, n_layers, width, max_rows, device = 80, 3, 4, 1500, torch.device("cpu")

        def __init__(self):
            pass

        def hidden_states(self, mel, *, first_position=0, final_norm=True):
            placed.append((first_position, mel.shape[1] // 2))
            return torch.zeros(1, mel.shape[1] // 2, 3, 4)

    window = mt.EncoderWindow(2, 0.4, 0.2, None)
    cost = streaming.window_cost(speech, Teller(), np.zeros((300, 3, 4)), content, window, fixed=True)
    assert (cost.positions, cost.window) == ("fixed", window)
    kept = [first + length - 30 for first, length in placed[:10]]  # where the hop starts: 20 rows and 10 ahead
    assert set(kept) == {685 + 100}
    assert (685, 130) in placed  # a whole window of 2.6 s


def test_a_waveform_too_short_for_a_pass(encoder, speech, offline, content):
    with pytest.raises(mt.ParameterError, match="too short"):
        streaming.window_cost(speech[:1280], encoder, offline, content, "live-low")


def test_a_trade_has_every_window(traded):
    windows = [(c.window.left_s, c.window.right_s, c.window.pad_to_s, c.positions) for c in traded.grid]
    assert windows == [(left, right, None, "clip") for left in (0.2, 2.0) for right in (0.04, 0.4)]
    others = [(c.window.left_s, c.window.pad_to_s, c.positions) for c in traded.others]
    kinds = [(None, "window"), (None, "fixed"), (30, "clip"), (30, "window")]
    assert others == [(left, *kind) for left in (0.2, 2.0) for kind in kinds]
    assert [c.latency_s for c in traded.grid[:2]] == pytest.approx([0.54, 0.9])
    assert traded.grid[3].overall < traded.grid[0].overall  # more audio brings it nearer
    assert traded.others[2].step_ms > traded.grid[0].step_ms  # padding
    far = [float(line[7]) for line in traded.table().lines]
    assert len(far) == 12
    assert far == sorted(far)


def test_errors_give_frames_and_differences(encoder, speech):
    assert streaming.stream_errors(speech, encoder, "live-low", (24, 29.97)) == {24: (144, 0.0), 29.97: (179, 0.0)}


def test_an_error_in_the_stream_is_seen(encoder, speech, monkeypatch):
    monkeypatch.setattr(mt.ChunkStream, "flush", lambda self: [])
    assert streaming.stream_errors(speech, encoder, "live-low", (25,))[25][1] == float("inf")


def test_segment_boundaries_are_measured_at_each_windows_own():
    windows = {"hard": mt.EncoderWindow(0, 30, 0, 30), "overlap": mt.EncoderWindow(5, 20, 5, 30)}
    rows = np.zeros((3100, 2))
    rows[1499], rows[1000], rows[2900] = 3.0, 5.0, 99.0  # the last lies where the reference lacks audio
    assert measure.segment_levels({"hard": rows, "overlap": rows}, windows) == {"hard": 3.0, "overlap": 5.0}
    fig = streaming.segment_figure({"hard": rows, "overlap": rows}, windows, weights="untrained-tiny")
    assert {text.get_text() for text in fig.legends[0].get_texts()} >= {"hard", "its segment boundaries, every 30 s"}
    assert fig.axes[0].get_ylim()[1] < 10


def test_memory_is_read_as_audio_passes(encoder, speech):
    readings = measure.memory_over(mt.ChunkStream(encoder, 25, window=EXACT), speech, 0.009)
    assert readings[:, 0] == pytest.approx(np.arange(1, 7) * 6 / 3600)
    assert (readings[:, 1] > 50).all()
    ax = streaming.memory_figure(readings).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("hours of audio pushed", "resident memory in MiB")


def test_a_played_clip_is_never_ahead_of_its_audio(encoder, speech):
    stream = mt.ChunkStream(encoder, 25, window="live-low")
    came = measure.arrivals(stream, speech[:24_000])
    assert came.frame.tolist() == list(range(len(came)))
    assert came.start_s == pytest.approx(came.frame / 25)
    assert came.late_s.min() > 0.2  # look-ahead and right context
    fig = streaming.timeline_figure(came, speech[:24_000], stream)
    assert all(ax.get_ylabel() for ax in fig.axes)
    assert fig.legends
    assert not any(ax.get_legend() for ax in fig.axes)  # over what is drawn


def test_what_is_too_short_is_said(encoder, speech):
    with pytest.raises(mt.ParameterError, match=r"no chunk came within 0\.1 s .* 30\.10 s behind"):
        measure.arrivals(mt.ChunkStream(encoder, 25, window=EXACT), speech[:1600])
    with pytest.raises(mt.ParameterError, match=r"over 44 s of speech or more; got 12\.00 s"):
        streaming.evaluate(speech, speech, encoder)


@pytest.mark.parametrize("given", [{"passes": 3}, {"play_s": 1.9}, {"hours": 0.0}, {"hours": float("nan")}])
def test_numbers_out_of_range_are_refused_before_anything_is_measured(given, encoder):
    (name,) = given
    with pytest.raises(mt.ParameterError, match=rf"{name} must be [\d.]+ or more; got"):
        streaming.evaluate(np.empty(0), np.empty(0), encoder, **given)


@pytest.fixture(scope="module")
def answer(traded):
    near, far = traded.grid[3], traded.others[7]
    costs = {"live-low": traded.grid[2], "live": near, streaming.answer.FROM_START: traded.others[4]}
    costs |= {streaming.answer.NOT_PADDED: traded.grid[0], streaming.answer.PADDED: traded.others[2]}
    costs |= {streaming.answer.BASELINE: far}
    gaps = dict.fromkeys(streaming.SEGMENTS, np.full((2400, 3), 0.25))
    beside = {"live": (traded.grid[1], traded.grid[3])}
    errors = {25: (150, 0.0), 24: (144, 0.5)}
    return streaming.Streaming(errors, traded, costs, beside, gaps, None, None, None, None)


def test_the_answer_holds_what_was_measured(answer, traded):
    assert answer.padding_cost == traded.others[2].step_ms / traded.grid[0].step_ms
    assert answer.levels == dict.fromkeys(streaming.SEGMENTS, 0.25)
    live, why, same = answer.sentences()
    near, far = traded.grid[3], traded.others[7]
    assert f"{near.of_a_row:.2f} times as far" in live
    assert f"{far.of_real_time / near.of_real_time:.1f} times as much" in live
    assert f"{traded.others[2].of_a_row:.2f} times" in why
    assert "differ by 0.5 at most, at 2" in same
    assert "cannot be trained on exactly" in same
    assert "can be trained on exactly" in replace(answer, errors={25: (150, 0.0)}).sentences()[-1]
    (choice,) = answer.choice_sentences()
    assert f"{100 * (traded.grid[1].overall / near.overall - 1):.0f} % farther" in choice
    assert " 0 % nearer for 1.00 times" in choice
    far = [float(line[7]) for line in answer.ways_table().lines]
    assert len(far) == len(answer.costs)
    assert far == sorted(far)
    assert answer.same_table().lines == [["25", "150", "0"], ["24", "144", "0.5"]]


def test_the_answer_box_has_sentences_and_figure(answer):
    box = streaming.answer_box(answer)
    assert box.sentences[:3] == answer.sentences()  # then that untrained weights have no meaning
    assert len(box.sentences) == 4
    assert box.figure.axes[0].get_xlabel() == "computing in % of real time, one thread"


def test_table_of_costs(traded):
    table = streaming.cost_table({"live-low": traded.grid[0], "a buffer": traded.others[3]})
    assert [line[0] for line in table.lines] == ["live-low", "a buffer"]
    assert table.lines[1][2:4] == ["30 s", "window"]
    assert table.lines[1][-3:] == [f"{value:.3f}" for value in traded.others[3].by_layer]


@pytest.mark.parametrize("seen", [(3.4, 5.4), (0.25, 2.4), (40, 130)])
def test_any_distance_and_computing_has_numbers(answer, traded, seen):
    (ax,) = streaming.trade_figure(answer.costs, traded).axes
    ax.set(xlim=seen, ylim=seen)
    for axis in (ax.xaxis, ax.yaxis):
        assert sum(seen[0] <= tick <= seen[1] for tick in axis.get_majorticklocs()) >= 2


def test_figures_of_costs(answer, traded):
    units = {"computing in % of real time, one thread", "distance from offline\n(1: that of neighbouring rows)"}
    ratio = traded.others[7].overall / min(c.overall for c in answer.costs.values())
    wanted = ["weights: untrained-tiny", f"{ratio:.1f} times as far", "0.4 s ahead"]
    check(streaming.trade_figure(answer.costs, traded), units, wanted)
    layers = streaming.layer_figure(answer.costs, weights="untrained-tiny")
    units = {"layer", "distance from offline in standard\ndeviations of a layer's content"}
    check(layers, units, ["untrained-tiny", "neighbouring offline rows"])
    shown = streaming.grid_figure(traded)
    check(shown, {"left context"}, ["untrained-tiny"], legend=False)
    assert [text.get_text() for text in shown.axes[0].texts] == [f"{c.of_a_row:.2f}" for c in traded.grid]
    low, high = shown.axes[0].images[0].get_clim()  # scaled to the data
    assert (low, high) == (min(c.of_a_row for c in traded.grid), max(c.of_a_row for c in traded.grid))
    assert "% of real time" in shown.axes[3].get_ylabel()
