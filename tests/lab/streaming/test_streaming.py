"""What notebook 05 measures and draws."""

import numpy as np
import pytest

import musetools as mt
from musetools.lab import streaming
from musetools.lab.streaming.answer import Streaming

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
def grid(encoder, speech, offline):
    """Two left contexts by two look-aheads."""
    return [
        [
            streaming.window_cost(speech, encoder, offline, mt.EncoderWindow(left, 0.4, right, None, positions="clip"))
            for right in (0.04, 0.4)
        ]
        for left in (0.2, 2.0)
    ]


def test_the_offline_window_is_no_distance_away_and_thirty_seconds_late(encoder, speech, offline):
    cost = streaming.window_cost(speech, encoder, offline, EXACT)
    assert (cost.by_layer == 0).all()
    assert cost.latency_s == pytest.approx(30.1)
    assert cost.of_real_time == pytest.approx(cost.step_ms / 1000 / 6, rel=1e-6)  # one step for six seconds


def test_distances_and_latencies_of_a_grid(encoder, speech, offline, grid):
    assert [cost.latency_s for cost in grid[0]] == pytest.approx([0.54, 0.9])
    assert grid[1][1].overall < grid[0][0].overall  # more audio brings it nearer
    spec = mt.FeatureSpec(window=grid[1][0].window)
    by_hand = mt.audio2feat((speech, 16_000), encoder, spec=spec) - offline
    expected = [np.sqrt((by_hand[:, i] ** 2).mean()) / offline[:, i].std() for i in range(3)]
    assert grid[1][0].by_layer == pytest.approx(expected, rel=1e-4)


def test_errors_give_frames_and_differences(encoder, speech):
    assert streaming.stream_errors(speech, encoder, "live-low", (24, 29.97)) == {24: (144, 0.0), 29.97: (179, 0.0)}


def test_an_error_in_the_stream_is_seen(encoder, speech, monkeypatch):
    monkeypatch.setattr(mt.ChunkStream, "flush", lambda self: [])
    assert streaming.stream_errors(speech, encoder, "live-low", (25,))[25][1] == float("inf")


def test_segment_boundaries_are_measured_at_each_windows_own():
    windows = {"hard": mt.EncoderWindow(0, 30, 0, 30), "overlap": mt.EncoderWindow(5, 20, 5, 30)}
    rows = np.zeros((3100, 2))
    rows[1499], rows[1000], rows[2900] = 3.0, 5.0, 99.0  # the last lies where the reference lacks audio
    assert streaming.segment_levels({"hard": rows, "overlap": rows}, windows) == {"hard": 3.0, "overlap": 5.0}
    fig = streaming.segment_figure({"hard": rows, "overlap": rows}, windows, weights="untrained-tiny")
    assert {text.get_text() for text in fig.legends[0].get_texts()} >= {"hard", "its segment boundaries, every 30 s"}
    assert fig.axes[0].get_ylim()[1] < 10


def test_memory_is_read_as_audio_passes(encoder, speech):
    readings = streaming.memory_over(mt.ChunkStream(encoder, 25, window=EXACT), speech, 0.009)
    assert readings[:, 0] == pytest.approx(np.arange(1, 7) * 6 / 3600)
    assert (readings[:, 1] > 50).all()
    ax = streaming.memory_figure(readings).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("hours of audio pushed", "resident memory in MiB")


def test_a_played_clip_is_never_ahead_of_its_audio(encoder, speech):
    stream = mt.ChunkStream(encoder, 25, window="live-low")
    came = streaming.arrivals(stream, speech[:24_000])
    assert came.frame.tolist() == list(range(len(came)))
    assert came.start_s == pytest.approx(came.frame / 25)
    assert came.late_s.min() > 0.2  # look-ahead and right context
    fig = streaming.timeline_figure(came, speech[:24_000], stream)
    assert all(ax.get_ylabel() for ax in fig.axes)


def test_the_answer_holds_what_was_measured(grid):
    costs = {"live-low": grid[0][0], streaming.BASELINE: grid[1][1]}
    costs["LiveTalking's buffer, positions of the clip"] = grid[0][1]
    gaps = dict.fromkeys(streaming.SEGMENTS, np.full((2400, 3), 0.25))
    answer = Streaming({25: (150, 0.0)}, grid, costs, grid[0][0], gaps, None, None, None, None)
    assert answer.padding_cost == grid[0][1].step_ms / grid[0][0].step_ms
    assert answer.levels == dict.fromkeys(streaming.SEGMENTS, 0.25)
    same, left, look_ahead, low, *_, step, segments = answer.sentences()
    assert "150 frames" in same
    assert f"{grid[0][1].overall:.2f} to {grid[1][1].overall:.2f}" in left
    assert f"{grid[1][0].overall:.3f} to {grid[1][1].overall:.3f}" in look_ahead
    assert f"live-low: {grid[0][0].overall:.2f} from offline" in low
    assert f"{grid[0][0].step_ms:.1f} ms" in step
    assert segments.count("0.25") == 2


def test_figures_and_table_of_costs(grid):
    costs = {"live-low": grid[0][0], "a buffer": grid[1][1]}
    table = streaming.cost_table(costs)
    assert [line[0] for line in table.lines] == list(costs)
    assert table.lines[1][-3:] == [f"{value:.3f}" for value in grid[1][1].by_layer]
    layers = streaming.layer_figure(costs, weights="untrained-tiny")
    assert len(layers.legends[0].get_texts()) == 2
    shown = streaming.grid_figure(grid, weights="untrained-tiny")
    for fig in (layers, shown):
        assert "untrained-tiny" in fig.axes[0].get_title(loc="left")
        fig.canvas.draw()
    assert [text.get_text() for text in shown.axes[0].texts] == [f"{c.overall:.3f}" for line in grid for c in line]
    assert "% of real time" in shown.axes[3].get_ylabel()
