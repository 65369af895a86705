"""What notebook 05 measures and draws."""

import numpy as np
import pytest

import musetools as mt
from musetools.lab import streaming

EXACT = mt.EncoderWindow(0, 30, 0, 30)


@pytest.fixture(scope="module")
def encoder():
    return mt.load_encoder("untrained-tiny").truncated(3)


@pytest.fixture(scope="module")
def speech():
    return mt.load_audio("data/speech.flac")[: 6 * 16_000]


def test_the_offline_window_is_no_distance_away_and_thirty_seconds_late(encoder, speech):
    offline = mt.audio2feat((speech, 16_000), encoder)
    cost = streaming.window_cost(speech, encoder, EXACT, offline)
    assert (cost.by_layer == 0).all()
    assert cost.latency_s == pytest.approx(30.1)
    assert cost.of_real_time == pytest.approx(cost.step_ms / 1000 / 6, rel=1e-6)  # one step for six seconds


def test_distances_and_costs_of_a_grid_lie_where_they_belong(encoder, speech):
    offline = mt.audio2feat((speech, 16_000), encoder)
    grid = streaming.window_grid(speech, encoder, offline, (0.2, 2.0), (0.04, 0.4), 0.4)
    assert [[cost.window.left_s for cost in line] for line in grid] == [[0.2, 0.2], [2.0, 2.0]]
    assert [cost.latency_s for cost in grid[0]] == pytest.approx([0.54, 0.9])
    assert grid[1][1].overall < grid[0][0].overall  # hearing more brings it nearer
    spec = mt.FeatureSpec(window=grid[1][0].window)
    by_hand = mt.audio2feat((speech, 16_000), encoder, spec=spec) - offline
    expected = [np.sqrt((by_hand[:, i] ** 2).mean()) / offline[:, i].std() for i in range(3)]
    assert grid[1][0].by_layer == pytest.approx(expected, rel=1e-4)
    fig = streaming.grid_figure(grid, weights="untrained-tiny")
    assert "Left context" in fig.axes[0].get_title(loc="left")
    assert "untrained-tiny" in fig.axes[0].get_title(loc="left")
    assert "% of real time" in fig.axes[3].get_ylabel()


def test_errors_tell_frames_and_differences(encoder, speech):
    assert streaming.stream_errors(speech, encoder, "live-low", (24, 29.97)) == {24: (144, 0.0), 29.97: (179, 0.0)}


def test_an_error_in_the_stream_is_seen(encoder, speech, monkeypatch):
    monkeypatch.setattr(mt.ChunkStream, "flush", lambda self: [])
    assert streaming.stream_errors(speech, encoder, "live-low", (25,))[25][1] == float("inf")


def test_segment_boundaries_are_measured_at_each_windows_own(speech):
    windows = {"hard": mt.EncoderWindow(0, 30, 0, 30), "overlap": mt.EncoderWindow(5, 20, 5, 30)}
    rows = np.zeros((3100, 2))
    rows[1499], rows[1000], rows[2900] = 3.0, 5.0, 99.0  # the last lies where the reference lacks audio
    assert streaming.segment_levels({"hard": rows, "overlap": rows}, windows) == {"hard": 3.0, "overlap": 5.0}
    fig = streaming.segment_figure({"hard": rows, "overlap": rows}, windows, weights="untrained-tiny")
    assert {text.get_text() for text in fig.legends[0].get_texts()} >= {"hard", "its segment boundaries, every 30 s"}
    assert fig.axes[0].get_ylim()[1] < 10


def test_memory_is_read_as_audio_passes(encoder, speech):
    stream = mt.ChunkStream(encoder, 25, window=EXACT)
    readings = streaming.memory_over(stream, speech, 0.01, readings=4)
    assert readings[:, 0] == pytest.approx([0, 0.0033, 0.005, 0.0083, 0.01], abs=2e-4)
    assert (readings[:, 1] > 50).all()
    assert "moves within" in streaming.memory_figure(readings).axes[0].get_title(loc="left")


def test_a_played_clip_is_never_ahead_of_its_sound(encoder, speech):
    stream = mt.ChunkStream(encoder, 25, window="live-low")
    came = streaming.arrivals(stream, speech[:24_000], pace=5)
    assert [one.frame for one in came] == list(range(len(came)))
    assert min(one.late_s for one in came) > 0.2  # look-ahead and right context
    fig = streaming.timeline_figure(came, speech[:24_000], stream)
    assert [ax.get_ylabel() != "" for ax in fig.axes] == [True] * 3


def test_the_conclusions_say_what_was_measured(encoder, speech):
    offline = mt.audio2feat((speech, 16_000), encoder)
    grid = streaming.window_grid(speech, encoder, offline, (0.2, 1.0), (0.04, 0.2), 0.4)
    costs = {"live-low": grid[0][0], "a buffer": grid[1][1]}
    told = "\n".join(streaming.conclusions(grid, costs, "a buffer"))
    assert f"{grid[0][1].overall:.2f} to {grid[1][1].overall:.2f}" in told
    assert f"live-low: {grid[0][0].overall:.2f} from offline" in told
    assert "live-low" in repr(streaming.cost_table(costs))
    fig = streaming.layer_figure(costs, weights="untrained-tiny")
    assert len(fig.legends[0].get_texts()) == 2
