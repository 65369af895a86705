"""A live stream: what the whole recording gives, frame by frame, as early as it can be known."""

import copy
import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import psutil
import pytest
from checkpoints import small_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import encoder_of, published_v15, speech
from streams import (
    QUICK,
    RATE,
    ROW,
    RowTeller,
    assert_equals_offline,
    assert_same,
    offline,
    one_by_one,
    pushed,
    spec_of,
)

from musetools import (
    ChunkDataset,
    ChunkStream,
    ContractError,
    EncoderWindow,
    FeatureSpec,
    FeatureStore,
    ParameterError,
    feature2chunks,
    loudness,
)
from musetools.train import ChunkSettings

NTSC = Fraction(30_000, 1001)
MEANT = {29.97: NTSC, 23.976: Fraction(24_000, 1001), 59.94: Fraction(60_000, 1001)}
EDGES = ["clamp", "zeros", "drop"]
MEL_FILL = FeatureSpec(padding="mel", window=QUICK)
KEPT = FeatureSpec(window=EncoderWindow(0.4, 0.2, 0.1, 1), keep_padding=True)
WINDOWS = {
    "live-low": "live-low",
    "live": "live",
    "live-near": "live-near",
    "live-exact": "live-exact",
    "hop alone": EncoderWindow(0, 0.1, 0, None),
    "a row a pass": EncoderWindow(0.3, 0.02, 0.04, None),
    "filled": EncoderWindow(0.4, 0.2, 0.1, 1),
    "at its own start": EncoderWindow(2, 0.2, 0.2, None, positions="window"),
    "mel": MEL_FILL,
    "mel, filled": FeatureSpec(padding="mel", window=EncoderWindow(0.4, 0.2, 0.1, 1)),
    "last layer raw": FeatureSpec(final_norm=False, window=QUICK),
    "fill kept": KEPT,
    "mel, fill kept": replace(KEPT, padding="mel"),
}
windows = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)


pytestmark = pytest.mark.usefixtures("one_thread")


# --- the same as offline


@windows
def test_a_stream_gives_what_the_whole_recording_gives(window, small):
    waveform = speech(40_000 + 3 * RATE + 77)[40_000:]
    live = pushed(ChunkStream(small, 25, window=window), waveform, [1000] * 40)
    assert_equals_offline(live, offline(waveform, small, window, 25))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("context", [(2, 2), (0, 5)])
@pytest.mark.parametrize("fps", [1, 1.5, 10, 12.5, 23.976, 25, 29.97, 48, 50, 59.94, 60, 120, Fraction(1000, 7)])
def test_every_rate_context_and_edge(fps, context, edge):
    waveform, teller = speech(50_123), RowTeller()
    live = pushed(ChunkStream(teller, fps, context, window=QUICK, edge=edge), waveform, [700] * 70)
    assert_equals_offline(live, offline(waveform, teller, QUICK, fps, context, edge=edge))
    rate, n_rows = MEANT.get(fps, Fraction(fps)), 50_123 // ROW
    if edge == "clamp":  # the encoder's rows tell their numbers: the contract itself, without any of musetools' code
        assert len(live) == math.floor(n_rows * rate / 50)
        for frame, chunk in live:
            rows = [math.floor(50 * frame / rate) - 2 * context[0] + j for j in range(2 * (sum(context) + 1))]
            assert chunk[:, 0].tolist() == [min(max(row, 0), n_rows - 1) for row in rows]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("padding", ["audio", "mel"])
@pytest.mark.parametrize("n", [400, 401, 479, 639, 640, 1279, 3199, 9601])
def test_odd_lengths(n, padding, edge, small):
    waveform = speech(40_000 + n)[40_000:]
    for fps in (25, 60):
        spec = FeatureSpec(padding=padding, window=QUICK)
        live = pushed(ChunkStream(small, fps, window=spec, edge=edge), waveform, [133] * 8)
        assert_equals_offline(live, offline(waveform, small, spec, fps, edge=edge))


@pytest.mark.parametrize("n", [0, 1, 319, 320, 399])
@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("window", ["live", EncoderWindow(0, 0.02, 0, None)], ids=["live", "row by row"])
def test_less_than_an_analysis_window_gives_no_frame(n, rate, window):
    """`audio2feat` has no features of it either."""
    stream = ChunkStream(RowTeller(), 120, (0, 0), window=window, sample_rate=rate)
    assert pushed(stream, speech(n * rate // 16_000), [50]) == []
    assert n or stream.compute.steps == 0


@pytest.mark.parametrize("fps", [25, 29.97])
def test_live_exact_is_v15_beyond_a_segment(fps, small, weights):
    """Row 1500 is the first that the second segment makes; the oracle is openai-whisper's own code."""
    waveform = speech(47 * RATE + 123)
    live = pushed(ChunkStream(small, fps, window="live-exact"), waveform, [50_001] * 10)
    assert_equals_offline(live, offline(waveform, small, "musetalk-v1.5", fps))
    expected = feature2chunks(published_v15(waveform, weights), fps)
    np.testing.assert_allclose(np.stack([each.chunk for each in live]), np.asarray(expected), rtol=0, atol=2e-5)


@pytest.mark.parametrize("window", ["live-low", "live"])
def test_live_windows_beyond_thirty_seconds(window):
    """Positions start anew at row 1500, the samples and rows before were given up long ago."""
    encoder, waveform = encoder_of(small_weights(width=32)), speech(33 * RATE)
    live = pushed(ChunkStream(encoder, 29.97, window=window), waveform, [9_999] * 60)
    assert_equals_offline(live, offline(waveform, encoder, window, 29.97))


def test_tiny_itself(encoder):
    waveform = speech(20_000)
    live = pushed(ChunkStream("untrained-tiny", 25, window="live-low"), waveform, [5_000] * 3)
    assert live[0].chunk.shape == (50, 384)
    assert_equals_offline(live, offline(waveform, encoder, "live-low", 25))


# --- however it is split

SIZES = st.lists(
    st.one_of(st.sampled_from([1, 2, 159, 160, 161, 319, 320, 321, 640]), st.integers(1, 5 * RATE)), max_size=30
)


@given(
    sizes=SIZES, fps=st.sampled_from([24, 25, 29.97, 30, 60]), window=st.sampled_from(["live-low", "live", MEL_FILL])
)
@settings(max_examples=25)
def test_chunks_do_not_depend_on_the_pushes(sizes, fps, window):
    encoder, waveform = encoder_of(small_weights(width=32)), speech(3 * RATE + 77)
    stream = ChunkStream(encoder, fps, window=window)
    whole = pushed(stream, waveform)
    stream.reset()
    stream.push(waveform[5_000:21_000])
    stream.reset()
    assert stream.compute.steps == 0
    assert_same(pushed(stream, waveform, sizes), whole)


PCM = np.rint(speech(20_000) * 32767).astype(np.int16)
KINDS = {
    "int16": PCM,
    "float32": PCM / np.float32(32768),
    "float64": PCM / 32768.0,
    "a list": list(PCM / 32768.0),
    "one channel of interleaved stereo": np.stack([PCM, PCM + 1], axis=1)[:, 0],
}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_any_type_in_blocks_of_any_size(kind, small):
    stream = ChunkStream(small, 25, window=QUICK)
    whole = pushed(stream, PCM)
    for sizes in ([1] * 5000, [7] * 500, [160] * 100, [4096] * 3):
        stream.reset()
        assert_same(pushed(stream, KINDS[kind], sizes), whole)
    assert_equals_offline(whole, offline(PCM, small, QUICK, 25))


def test_the_callers_buffer_may_be_used_again(small):
    """A sound card's driver fills the same memory block after block."""
    waveform, buffer = speech(20_000), np.empty(500, np.float32)
    stream, live = ChunkStream(small, 25, window=QUICK), []
    for block in np.split(waveform, 40):
        buffer[:] = block
        live += stream.push(buffer)
        buffer[:] = np.nan
    live += stream.flush()
    stream.reset()
    assert_same(live, pushed(stream, waveform))


# --- each frame once, in order, as early as it can be known

CASES = [
    *[("live-low", fps, (2, 2)) for fps in (24, 25, 29.97, 30)],
    ("live", 25, (2, 2)),
    ("live", 29.97, (2, 0)),
    ("live", 60, (0, 0)),
    ("live", 30, (0, 5)),
    (QUICK, 120, (0, 0)),
    (QUICK, 10, (2, 2)),
    (QUICK, 24, (0, 0)),
    (QUICK, 10, (0, 0)),
    (QUICK, 12.5, (2, 0)),
    ("live", 1, (0, 0)),
    (EncoderWindow(0, 0.1, 0, None), 25, (2, 2)),
    (EncoderWindow(0, 0.1, 0, None), 10, (0, 0)),
    (EncoderWindow(0.3, 0.02, 0.04, None), 25, (2, 2)),
    (EncoderWindow(0.3, 0.02, 0, None), 25, (0, 0)),
    (MEL_FILL, 25, (2, 2)),
    (MEL_FILL, 29.97, (0, 0)),
]
STEP = 40  # samples a push: windows end at its multiples alone, so nothing finer shows more


def frames_certain(heard: int, window: str | EncoderWindow | FeatureSpec, fps: Fraction, context: tuple) -> int:
    """Count, slowly, the frames that nothing still to come can change: its own rows are there, and it is whole."""
    spec = spec_of(window)
    hop, right = round(50 * spec.window.hop_s), round(50 * spec.window.right_s)
    hears = 40 if spec.padding == "mel" else 0  # half an FFT less a mel frame's hop
    n_rows = 0
    while (n_rows + hop + right) * ROW + hears <= heard:
        n_rows += hop
    frame = 0
    while True:
        last_row = math.floor(50 * frame / fps) + 2 * (context[1] + 1) - 1
        whole = Fraction(frame + 1) / fps * 50 <= heard // ROW
        if last_row >= n_rows or not whole:
            return frame
        frame += 1


@pytest.mark.parametrize(("window", "fps", "context"), CASES)
def test_frames_come_as_soon_as_they_are_certain(window, fps, context):
    """None waits longer than promised, and one nearly so long."""
    stream, rate = ChunkStream(RowTeller(), fps, context, window=window), MEANT.get(fps, Fraction(fps))
    came = list(one_by_one(stream, speech(3 * RATE), STEP))
    heard_at = [heard for heard, _ in came]
    assert [live.frame for _, live in came] == list(range(len(came)))
    for heard in range(STEP, 2 * RATE + 1, STEP):
        assert np.searchsorted(heard_at, heard, "right") == frames_certain(heard, window, rate, context), heard
    waits = [Fraction(heard, RATE) - live.frame / rate for heard, live in came]
    assert max(waits) <= stream.latency_s + 1e-9
    assert max(waits) > stream.latency_s - spec_of(window).window.hop_s


@pytest.mark.parametrize(
    ("window", "promised"), [("live-low", 0.3), ("live", 0.6), ("live-near", 1.6), ("live-exact", 30.1)]
)
def test_the_latency_is_the_one_that_is_documented(window, promised):
    assert ChunkStream(RowTeller(), 25, window=window).latency_s == pytest.approx(promised, abs=1e-9)


@given(
    fps=st.one_of(st.integers(1, 130), st.sampled_from([23.976, 29.97, 59.94, 12.5])),
    context=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    hop=st.integers(1, 20),
    left=st.integers(0, 20),
    right=st.integers(0, 20),
    edge=st.sampled_from(EDGES),
    sizes=SIZES,
    n_samples=st.integers(400, 40_000),
)
@settings(max_examples=120)
def test_each_frame_comes_once_and_in_order(fps, context, hop, left, right, edge, sizes, n_samples):
    window = EncoderWindow(left / 50, hop / 50, right / 50, None, positions="clip")
    teller, waveform = RowTeller(), speech(n_samples)
    live = pushed(ChunkStream(teller, fps, context, window=window, edge=edge), waveform, sizes)
    assert_equals_offline(live, offline(waveform, teller, window, fps, context, edge=edge))


# --- what a chunk knows


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30, 12.5, 120])
@pytest.mark.parametrize("edge", EDGES)
def test_loudness_is_that_of_the_whole_waveform(fps, edge):
    """That of silence is -120."""
    waveform = speech(100_000) * np.linspace(-0.1, 1, 100_000, dtype=np.float32).clip(0)
    live = pushed(ChunkStream(RowTeller(), fps, window=QUICK, edge=edge), waveform, [777] * 100)
    whole = loudness(waveform, fps)
    assert whole[0] == -120 < whole[-1]
    assert [each.loudness for each in live] == [float(whole[each.frame]) for each in live]


def test_loudness_and_time_of_frames_past_the_end():
    """Where the fill is kept, frames follow that lie in it: silence."""
    waveform = speech(16_123)
    live = pushed(ChunkStream(RowTeller(), 25, window=KEPT), waveform, [777] * 10)
    whole = loudness(waveform, 25)
    assert len(live) > len(whole)
    assert [each.loudness for each in live[: len(whole)]] == whole.tolist()
    assert all(each.loudness == -120 for each in live[len(whole) + 1 :])


def test_a_live_chunk_is_a_pair():
    live = pushed(ChunkStream(RowTeller(), 29.97, window=QUICK), speech(16_000))[7]
    frame, chunk = live
    assert frame == live.frame == 7
    assert chunk is live.chunk
    assert live.time_s == float(7 / NTSC)
    assert type(live.frame) is int
    assert type(live.loudness) is float
    assert "frame 7 at 0.234 s" in repr(live)


def test_a_live_chunk_can_be_sent_elsewhere(small):
    live = pushed(ChunkStream(small, 25, window=QUICK), speech(16_000))[7]
    copies = [pickle.loads(pickle.dumps(live, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for each in [*copies, copy.copy(live), copy.deepcopy(live)]:
        assert type(each) is type(live)
        assert list(each)[1] is each.chunk
        assert_same([each], [live])
    assert len(pickle.dumps(live)) < 1.2 * live.chunk.nbytes + 1000  # alone, and once


def test_a_chunk_may_be_written_to(small):
    """Normalising in place, say, must not spoil the frames that share its rows; nor do later pushes."""
    stream, waveform = ChunkStream(small, 25, window=QUICK), speech(2 * RATE)
    untouched = pushed(stream, waveform)
    stream.reset()
    live = []
    for block in np.split(waveform, 50):
        for each in stream.push(block):
            live.append(each)
            each.chunk[:] = np.nan if each.frame % 2 else each.chunk
    assert len(live) > 40
    for frame, chunk in live[::2]:
        np.testing.assert_array_equal(chunk, untouched[frame].chunk)


# --- one engine for training and inference


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small) -> FeatureStore:
    """A store of live features."""
    store = FeatureStore.create(tmp_path_factory.mktemp("live") / "store", "live", small)
    store.add("speech", (speech(5 * RATE), RATE), small)
    return store


TRAINED = ChunkSettings(29.97, (1, 2))


def test_a_stream_gives_what_was_trained_on(trained, small):
    dataset, stream = ChunkDataset(trained, 29.97, (1, 2)), ChunkStream.from_contract(trained.contract(TRAINED), small)
    assert dataset.settings == TRAINED
    live = {each.frame: each.chunk for each in pushed(stream, speech(5 * RATE), [512] * 200)}
    assert (stream.fps, stream.context, stream.spec) == (NTSC, (1, 2), trained.spec)
    assert list(live) == list(range(149))  # the video needs those at the edges, too
    assert len(dataset) > 140
    for item in dataset:
        np.testing.assert_allclose(live[item["frame"]], item["audio"].numpy(), rtol=0, atol=1e-5)


def test_from_contract_takes_other_sources(trained, small):
    stream = ChunkStream.from_contract(trained.contract(TRAINED), small, sample_rate=48_000, non_finite="silence")
    assert (stream.sample_rate, stream.non_finite) == (48_000, "silence")
    pushed(stream, np.zeros(2 * 48_000, np.float32))
    assert stream.compute.audio_s == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("edge", EDGES)
def test_from_contract_follows_the_edge_rule_of_training(tmp_path, small, edge):
    store = FeatureStore.create(tmp_path / "store", "live-low", small)
    store.add("speech", (speech(2 * RATE), RATE), small)
    settings = ChunkDataset(store, 25, edge=edge).settings
    contract = store.contract(settings)
    live = pushed(ChunkStream.from_contract(contract, small), speech(2 * RATE))
    assert_equals_offline(live, contract.chunks((speech(2 * RATE), RATE), small))


def test_from_contract_follows_the_clips_own_rate(tmp_path, small):
    store = FeatureStore.create(tmp_path / "store", "live-low", small)
    for fps in (25, 30):
        store.add(f"at {fps}", (speech(RATE), RATE), small, fps=fps)
    settings = ChunkDataset(store, None).settings
    assert ChunkStream.from_contract(store.contract(settings), small, 30).fps == 30
    for fps in (None, 24):
        with pytest.raises(ParameterError, match="training took chunks at 25, 30 fps"):
            ChunkStream.from_contract(store.contract(settings), small, fps)


def test_from_contract_refuses_other_weights_and_rates(trained, small):
    with pytest.raises(ContractError, match="made with weights"):
        ChunkStream.from_contract(trained.contract(TRAINED), encoder_of(small_weights(seed=1)))
    with pytest.raises(ParameterError, match=r"training took chunks at 29\.97 fps; got 25"):
        ChunkStream.from_contract(trained.contract(TRAINED), small, 25)


def test_from_contract_takes_no_path(small):
    with pytest.raises(ParameterError, match=r"got 'model\.audio\.json'.*AudioContract\.load"):
        ChunkStream.from_contract("model.audio.json", small)


def test_from_contract_refuses_features_that_need_the_whole_file(tmp_path, small):
    store = FeatureStore.create(tmp_path / "store", "musetalk-v1", small)
    store.add("speech", (speech(RATE), RATE), small)
    with pytest.raises(ParameterError, match="mel_peak='window'"):
        ChunkStream.from_contract(store.contract(ChunkDataset(store).settings), small)


# --- what it costs


@pytest.mark.parametrize("spec", [FeatureSpec(window=QUICK), MEL_FILL], ids=["audio", "mel"])
@pytest.mark.parametrize("n", [0, 399, 400, 640, 32_000, 32_159, 32_160, 32_319, 32_320, 40_000])
def test_steps_and_seconds_are_counted(spec, n):
    teller = RowTeller()
    stream = ChunkStream(teller, 25, window=spec)
    pushed(stream, speech(n), [999] * 100)
    assert stream.compute.steps == teller.n_passes
    assert stream.compute.audio_s == pytest.approx(n / RATE, abs=1e-9)


def test_cost_grows_with_what_is_pushed():
    stream, before = ChunkStream(RowTeller(), 25, window=QUICK), 0.0
    assert stream.compute.of_real_time == stream.compute.mean_s == 0
    for block in np.split(speech(RATE), 10):
        stream.push(block)
        assert stream.compute.total_s >= before
        before = stream.compute.total_s
    cost = stream.compute
    assert 0 < cost.mean_s <= cost.longest_s <= cost.total_s
    assert cost.of_real_time == pytest.approx(cost.total_s / 1)
    assert f"{cost.steps} steps" in str(cost)


def test_a_stream_shows_itself(small):
    stream = ChunkStream(small, 29.97, (1, 2))
    stream.push(speech(RATE))
    text = repr(stream)
    assert "29.97 fps" in text
    assert "(1, 2)" in text
    assert "0.60 s behind" in text
    assert "&#x27;clip&#x27;" in stream._repr_html_()


# --- an hour

HOURS, BLOCK_S = 1, 20
LATE = HOURS * 3600 - 7.5  # when, in s, a click is heard in silence


def hours_of_frames(stream: ChunkStream) -> Iterator[list]:
    """Push silence with one click, in blocks; yield what each gives."""
    for second in range(0, HOURS * 3600, BLOCK_S):
        block = np.zeros(BLOCK_S * RATE, np.int16)
        if second <= LATE < second + BLOCK_S:
            block[round((LATE - second) * RATE)] = 20_000
        yield stream.push(block)
    yield stream.flush()


def test_an_hour():
    """Memory stays, and each frame is where it belongs: a rate that is off by 1e-6 takes other rows within the hour."""
    window = EncoderWindow(0, 4, 0.2, None, positions="clip")
    stream, process = ChunkStream(RowTeller(), 29.97, window=window), psutil.Process()
    n_frames, resident, clicks, last = 0, [], [], None
    for block, live in enumerate(hours_of_frames(stream), start=1):
        for each in live:
            assert (each.frame, each.chunk[0, 0]) == (n_frames, max(0, first_row(n_frames)))
            n_frames += 1
            if abs(each.frame / NTSC - LATE) < 2 and each.chunk[:, 1].max() > -1:
                clicks.append(each)
        if block * BLOCK_S % 600 == 0:
            resident.append(process.memory_info().rss / 2**20)
        last = live[-1] if live else last
    assert n_frames == 3600 * HOURS * 30_000 // 1001
    assert max(resident[1:]) - resident[0] < 5, resident
    rows = first_row(n_frames - 1) + np.arange(10)
    np.testing.assert_array_equal(last.chunk[:, 0], rows.clip(max=3600 * HOURS * 50 - 1))
    near = [frame for frame in range(int(LATE * NTSC) - 9, int(LATE * NTSC) + 9) if covers(frame, LATE)]
    assert [each.frame for each in clicks] == near
    assert [each.frame for each in clicks if each.loudness > -120] == [int(LATE * NTSC)]


def first_row(frame: int) -> int:
    return 50 * 1001 * frame // 30_000 - 4


def covers(frame: int, at_s: float) -> bool:
    """Tell whether one of the frame's rows has a mel frame in which a sample lies: less than half an FFT away."""
    centres = 160 * np.arange(2 * first_row(frame), 2 * (first_row(frame) + 10))
    return bool((np.abs(centres - round(at_s * RATE)) < 200).any())
