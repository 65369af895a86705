"""The explorer: what its pure functions show and play, and that its widgets call them."""

import csv
import io
import tempfile
import wave
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import av
import numpy as np
import pytest
from media import speech as recorded
from media import write_media, write_silent_film
from PIL import Image

from musetools import (
    RECIPES,
    AudioError,
    FeatureSpec,
    MusetoolsError,
    ParameterError,
    load_audio,
    load_encoder,
    loudness,
)
from musetools.check.findings import SILENT_DBFS
from musetools.lab.explore import clip as clips
from musetools.lab.explore import explorer as explorers
from musetools.lab.explore.clip import Clip, film, read_clip
from musetools.lab.explore.explorer import Explorer, wav
from musetools.lab.explore.figures import FrameView
from musetools.lab.explore.measure import Scene, prepare

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "data"
RATE = 16_000
PAIR = ("musetalk-v1.5-train", "musetalk-v1.5-infer")

# A clip is read once for all tests, and keeps its features.
read_once, film_once = lru_cache(read_clip), lru_cache(film)


@pytest.fixture(scope="module")
def talker() -> Clip:
    return read_once(DATA / "talker_25.mp4")


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Clip:
    return read_clip(write_media(tmp_path_factory.mktemp("clips") / "speech.wav", recorded(4), 44_100))


@pytest.fixture(scope="module")
def scene(talker, small) -> Scene:
    return prepare(talker, *PAIR, encoder=small)


@pytest.fixture(scope="module")
def view(scene) -> FrameView:
    return FrameView(scene)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def samples_in(file: bytes) -> np.ndarray:
    """Give what a player would play."""
    with wave.open(io.BytesIO(file)) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(wav.readframes(wav.getnframes()), np.int16)


# --- the clip


@pytest.mark.parametrize("name", ["talker_25", "talker_2997"])
def test_openings_are_those_of_the_csv(name, small):
    fps = 25 if name == "talker_25" else 29.97
    scene = prepare(read_once(DATA / f"{name}.mp4"), *PAIR, fps=fps, encoder=small)
    with open(DATA / f"{name}.csv", newline="") as file:
        true = [float(line["opening"]) for line in csv.DictReader(file)]
    assert [scene.opening(i) for i in range(len(true))] == pytest.approx(true, abs=1e-3)


def test_the_mouth_expected_from_sound_stands_beside_the_one_seen(talker, sound, scene, view):
    """A drawn mouth is opened by loudness, so that both must agree; the dashed curve is the expected one."""
    seconds, expected = scene.expected
    seen = np.interp(seconds, *talker.openings)
    assert np.corrcoef(seen, expected)[0, 1] > 0.95
    assert 0 <= expected.min() <= expected.max() <= 1
    dashed = [line for line in view.axes["clip"].lines if line.get_linestyle() != "-"]
    np.testing.assert_allclose(dashed[0].get_ydata(), view.axes["clip"].get_ylim()[1] * expected)
    assert sound.expected(None) is None


def test_a_measured_mouth_is_as_wide_as_it_gets(talker):
    times = np.arange(5.0)
    measured = replace(
        talker.mouth, times_s=times, values=np.outer([0.0, 0.02, 0.04, 0.01, 0.0], np.ones(4)), drawn=False
    )
    np.testing.assert_allclose(replace(talker, mouth=measured).openings[1], [0, 0.5, 1, 0.25, 0])


def test_features_of_another_type_are_made_anew(sound):
    exact, halved = (load_encoder("untrained-tiny", dtype=dtype) for dtype in ("float32", "bfloat16"))
    rows, again, others = (sound.features(FeatureSpec(), encoder)[0] for encoder in (exact, exact, halved))
    assert rows is again
    assert not np.array_equal(rows, others)


def test_a_csv_without_inner_lips_shows_no_mouth(talker, scene):
    measured = replace(talker.mouth, values=np.where(np.arange(4) == 0, np.nan, talker.mouth.values), drawn=False)
    blind = replace(talker, mouth=measured)
    assert (blind.openings, blind.expected(None)) == (None, None)
    assert replace(scene, clip=blind).opening(95) is None


def test_images_are_those_on_screen(small):
    """At 25 fps, frame i of a clip of 29.97 shows its image floor(i/25 · 29.97)."""
    clip = read_once(DATA / "talker_2997.mp4")
    scene = prepare(clip, *PAIR, fps=25, encoder=small)
    for frame in (0, 1, 7, 100, 299):
        on_screen = int(frame * Fraction(30_000, 1001) / 25)
        assert clip.images.at(scene.start_s(frame)) == on_screen
        assert np.array_equal(clip.images[scene.image_number(frame)], clip.images[on_screen])
        assert scene.seen_s(frame) == pytest.approx(on_screen * 1001 / 30_000, abs=1e-4)


def test_every_frame_of_the_source_shows_its_own_image():
    for name, fps in (("talker_25", Fraction(25)), ("talker_2997", Fraction(30_000, 1001))):
        images = read_once(DATA / f"{name}.mp4").images
        assert [images.at(float(i / fps)) for i in range(len(images))] == list(range(len(images)))
        assert images.at(-0.01) is None
        assert images.at(float(len(images) / fps) + 0.01) is None


def test_stamps_rounded_to_milliseconds():
    """Matroska puts frame 2 of 29.97 at 67 ms, 0.3 ms late; it is on screen nevertheless when its time comes."""
    stamps = np.round(1000 * np.arange(5) * 1001 / 30_000) / 1000
    rounded = clips.Images(stamps, (b"",) * 5)
    assert [rounded.at(i * 1001 / 30_000) for i in range(5)] == list(range(5))


def test_an_image_that_cannot_be_decoded_is_left_out(tmp_path, talker):
    with av.open(DATA / "talker_25.mp4") as container:
        bad = [packet for packet in container.demux(video=0) if packet.size][100]
        content = bytearray((DATA / "talker_25.mp4").read_bytes())
        content[bad.pos : bad.pos + bad.size] = b"\xff" * bad.size
    (tmp_path / "bad.mp4").write_bytes(content)
    images = read_clip(tmp_path / "bad.mp4").images
    assert set(talker.images.times_s) - set(images.times_s) == {talker.images.times_s[100]}


def test_images_are_small_and_in_memory(talker):
    assert talker.images[0].shape == (192, 192, 3)
    assert max(map(len, talker.images.jpegs)) < 30_000


def test_sound_alone(sound, small):
    scene = prepare(sound, *PAIR, encoder=small)
    assert sound.images is None
    assert sound.openings is None
    assert scene.image_number(20) is None
    assert scene.opening(20) is None
    view = FrameView(scene)
    view.png(20)
    assert view.no_image.get_text() == "no image in this file"
    assert not view.axes["mouth"].get_visible()
    assert (sound.fps, scene.fps, scene.rate_note) == (None, 25, "")


def test_a_clip_is_cut_at_its_own_rate_unless_another_is_chosen(small):
    clip = read_once(DATA / "talker_2997.mp4")
    own = prepare(clip, *PAIR, encoder=small)
    assert (clip.fps, own.fps, own.rate_note) == (Fraction(30_000, 1001), Fraction(30_000, 1001), "")
    other = prepare(clip, *PAIR, fps=25, encoder=small)
    assert other.rate_note == "The clip is 29.97 fps, cut as 25."
    assert other.rate_note in other.sentences(3)


def test_differences_over_the_whole_clip(small, talker):
    """Frames with other rows by a loop; the next stretch of them; the frame whose chunks differ most."""
    scene = prepare(talker, "musetools", "musetalk-v1.5-infer", encoder=small)
    rows = [[side.rows(i) for side in scene.sides] for i in range(scene.n_frames)]
    expected = [i for i, (a, b) in enumerate(rows) if (a is None) != (b is None) or (a is not None and (a != b).any())]
    assert np.flatnonzero(scene.differs).tolist() == expected
    assert [expected[0], expected[-1]] == [0, scene.n_frames - 1]
    begins = [i for i in expected if i - 1 not in expected]
    assert [scene.next_difference(begins[0]), scene.next_difference(expected[-1])] == [begins[1], begins[0]]
    gaps = {i: np.square(scene.difference(i)).mean() for i in range(scene.n_frames) if scene.difference(i) is not None}
    assert scene.worst_frame == max(gaps, key=gaps.get)
    assert max(np.nanmax(np.abs(side.profile.lag_ms)) for side in scene.sides) == 0
    same = prepare(talker, "musetools", "musetools", encoder=small)
    assert (same.next_difference(3), same.worst_frame) == (None, None)


def test_a_film_is_the_clip_on_its_own_timeline(talker, sound):
    """Its images appear when the clip's do, its sound is not moved by a sample; without video there is sound alone."""
    with av.open(io.BytesIO(film(talker))) as container:
        assert [image.time for image in container.decode(video=0)] == pytest.approx(talker.images.times_s, abs=1e-3)
    for clip in (talker, sound):
        played = load_audio(io.BytesIO(film(clip)))
        shared = min(len(played), len(clip.waveform))
        assert abs(len(played) - len(clip.waveform)) < 400
        spectrum = np.fft.rfft(played[:shared]) * np.conj(np.fft.rfft(clip.waveform[:shared]))
        assert np.argmax(np.fft.irfft(spectrum)) == 0


def test_too_long_a_clip_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr(clips, "LONGEST_S", 10)
    with pytest.raises(ParameterError, match=r"speech\.flac lasts 12 s.*up to 10 s"):
        read_clip(DATA / "speech.flac")


def test_no_media_and_no_sound(tmp_path):
    (tmp_path / "note.mp4").write_text("no media at all")
    for path in (tmp_path / "note.mp4", write_silent_film(tmp_path / "film.mp4"), tmp_path / "gone.wav"):
        with pytest.raises(AudioError, match=path.name):
            read_clip(path)


# --- a frame


@pytest.mark.parametrize("names", [PAIR, ("musetalk-v1-train", "musetools"), ("livetalking", "musetalkplus-train")])
def test_rows_shown_are_the_rows_of_the_recipe(names, sound, small):
    """The numbers in the cells, each as often as it is written there, and a hollow cell for each row of zeros."""
    scene = prepare(sound, *names, encoder=small)
    view = FrameView(scene)
    for frame in (0, 1, 2, 50, scene.n_frames - 1):
        view.png(frame)
        for lane, name in enumerate(names):
            matrix = RECIPES[name].chunk_rows(len(sound.waveform), 25)
            line = frame - RECIPES[name].first_frame(len(sound.waveform), 25)
            expected = sorted(matrix[line].tolist()) if 0 <= line < len(matrix) else []
            written = [text.get_text() for text in view.rows.numbers[lane] if text.get_visible()]
            shown = [int(t.split(" ×")[0]) for t in written for _ in range(int((t + " ×1").split(" ×")[1]))]
            hollow = len(view.rows.cells[lane].get_paths()) - len(written)
            assert sorted(shown + [-1] * hollow) == expected


def test_cells_lie_where_their_rows_are(scene, view):
    view.png(95)
    left = [path.get_extents().x0 for path in view.rows.cells[0].get_paths()]
    assert left == pytest.approx([20 * row - 10 for row in range(186, 196)])


def test_zeros_lie_where_rows_would_go_on(scene):
    assert scene.sides[1].rows(0).tolist() == [-1, -1, -1, -1, 0, 1, 2, 3, 4, 5]
    assert scene.places(1, 0).tolist() == list(range(-4, 6))


def test_a_far_window_is_in_sight(small):
    """v1.5's inference drifts at 29.97: at 12 s its window lies 0.4 s ahead, so the axis reaches farther."""
    view = FrameView(prepare(read_once(DATA / "voice_a.m4a"), "musetools", PAIR[1], fps=29.97, encoder=small))
    view.png(10)
    assert view.axes["rows"].get_xlim() == (-400, 400)
    view.png(880)
    reach = view.axes["rows"].get_xlim()[1]
    assert reach > 1000 * view.scene.sides[1].span_s(880)[1] - 1000 * view.scene.start_s(880) > 900
    assert "rows " in view.rows.notes[1].get_text()
    assert not any(text.get_visible() for text in view.rows.numbers[1])


def test_a_far_lag_has_room_for_its_numbers(small):
    """From 30 s on v1.5's training takes audio of 30 s before."""
    view = FrameView(prepare(read_once(DATA / "voice_a.m4a"), *PAIR, encoder=small))
    view.figure.draw_without_rendering()
    clip, strip = view.axes["clip"], view.axes["strip"]
    assert strip.yaxis.label.get_window_extent().x0 > 0
    low = clip.get_yticklabels()[0].get_window_extent()
    shown = [label for label in strip.get_yticklabels() if strip.get_ylim()[0] < label.get_position()[1]]
    assert not any(label.get_window_extent().overlaps(low) for label in shown if label.get_text() == "0")


def test_one_large_value_hides_no_difference(scene, view, monkeypatch):
    gap = np.full((50, 384), 0.5)
    gap[20, 7] = 88
    monkeypatch.setattr(Scene, "difference", lambda self, frame: gap)
    view.png(95)
    assert view.chunks.images[2].get_clim() == (-0.5, 0.5)
    assert "0.5 std" in view.chunks.titles[2].get_text()


def test_chunks_shown_are_those_of_the_recipe(scene, view):
    view.png(95)
    mean, spread = scene.scale
    for i, side in enumerate(scene.sides):
        seen = np.asarray(view.chunks.images[i].get_array()).reshape(10, *mean.shape) * spread + mean
        raw = side.chunks[side.chunks.frames.index(95)]
        assert np.allclose(seen.reshape(raw.shape), raw, atol=1e-4)
    assert np.isnan(scene.chunk(1, 0)[: 4 * len(mean)]).all()
    assert not np.isnan(scene.chunk(1, 95)).any()


def test_the_difference_of_a_recipe_from_itself_is_none(talker, small):
    scene = prepare(talker, "musetools", "musetools", encoder=small)
    view = FrameView(scene)
    view.png(50)
    assert not scene.difference(50).any()
    assert view.chunks.titles[2].get_text() == "Difference: none"
    assert "the chunks are equal" in " ".join(scene.sentences(50))


def test_silence_is_that_of_loudness_and_marked(talker, scene, view):
    quiet = loudness(talker.waveform, 25) < SILENT_DBFS
    assert np.array_equal(scene.silent[: len(quiet)], quiet)
    assert 0 < quiet.sum() < len(quiet)
    silent, loud = int(np.flatnonzero(quiet)[0]), int(np.flatnonzero(~quiet)[40])
    for frame in (silent, loud):
        view.png(frame)
        assert ("silent" in view.title.get_text()) == quiet[frame]
        assert (view.title.get_bbox_patch() is not None) == quiet[frame]
        assert (", silent" in scene.sentences(frame)[0] or ": silent" in scene.sentences(frame)[0]) == quiet[frame]
    values, edges_ms, _ = view.silence.get_data()
    assert np.array_equal(values, scene.silent)
    assert edges_ms == pytest.approx(40 * np.arange(scene.n_frames + 1))


def test_the_figure_changes_with_the_frame_and_with_nothing_else(scene, view):
    first, second = view.png(95), view.png(96)
    assert pixels(first).shape == (610, 1000, 3)
    assert first != second
    assert view.png(95) == first
    assert FrameView(scene).png(95) == first


def test_every_panel_has_units_and_the_figure_a_legend(view):
    view.png(95)
    labels = {label for ax in view.figure.axes for label in (ax.get_xlabel(), ax.get_ylabel())}
    assert {
        "time in s",
        "lag in ms",
        "time in ms from the start of the frame",
        "mel bin",
        "amplitude\n(full scale 1)",
    } <= labels
    key = [text.get_text() for text in view.figure.legends[0].get_texts()]
    assert "silent: below −50 dBFS" in key
    written = [text.get_text() for text in view.figure.texts]
    assert "What the frame is conditioned on · weights: small" in written
    assert "inference, musetalk-v1.5-infer" in written
    assert "covers 200 ms, lag 0 ms" in written


def test_places_are_where_the_panels_are(view):
    """A click in the middle of the waveform of the whole clip is a click on the middle of the clip."""
    view.png(95)
    places = view.places()
    left, top, width, height = places["whole"]
    box = view.axes["clip"].get_position()
    assert [left, left + width, 1 - top] == pytest.approx([box.x0, box.x1, box.y1])
    assert 1 - top - height == pytest.approx(view.axes["strip"].get_position().y0)
    assert places["near"][0] == pytest.approx(view.axes["rows"].get_position().x0)
    assert (places["end_s"], places["reach_s"]) == (pytest.approx(12.08), 0.4)
    closer = FrameView(view.scene, 150)
    closer.png(95)
    assert closer.places()["reach_s"] == 0.15


def test_a_name_with_dollars_is_no_formula(tmp_path, small):
    path = write_media(tmp_path / "a $x_1$ & <b>.wav", recorded(1), 44_100)
    assert FrameView(prepare(read_clip(path), *PAIR, encoder=small)).png(3).startswith(b"\x89PNG")


def test_frames_without_a_chunk(talker, small):
    """v1's training drops the first two frames and its inference makes two too many."""
    scene = prepare(talker, "musetalk-v1-train", "musetalk-v1-infer", encoder=small)
    view = FrameView(scene)
    assert scene.n_frames == 303
    view.png(0)
    assert scene.difference(0) is None
    assert view.chunks.notes[0].get_text() == "no chunk for this frame"
    assert "musetalk-v1-train has no chunk for this frame." in scene.sentences(0)
    view.png(302)
    assert view.no_image.get_text() == "no image at this time"
    assert "not whole" in scene.sentences(302)[0]


def test_a_recipe_that_stops(talker, small):
    scene = prepare(talker, "musetools", PAIR[1], fps=50, encoder=small)
    view = FrameView(scene)
    view.png(20)
    assert scene.sides[1].chunks is None
    assert any(sentence.startswith("musetalk-v1.5-infer stops on") for sentence in scene.sentences(20))
    assert view.chunks.notes[1].get_text().startswith("musetalk-v1.5-infer stops")
    assert view.rows.notes[1].get_text() == "stops at 50 fps"
    assert len(scene.sound(1, 20)) == 0


def test_both_stop(sound, small):
    scene = prepare(sound, "livetalking", "livetalking-0-5", fps=29.97, encoder=small)
    assert len(FrameView(scene).png(5)) > 1000
    assert sum("stops on" in sentence for sentence in scene.sentences(5)) == 2


@pytest.mark.parametrize("context", [(0, 0), (1, 3), (5, 0), (20, 20)])
def test_other_contexts(context, sound, small):
    scene = prepare(sound, "musetools", "musetalk-v1-infer", context=context, encoder=small)
    view = FrameView(scene)
    view.png(0)
    view.png(60)
    assert len(view.rows.cells[0].get_paths()) == 2 * (sum(context) + 1)
    assert len(view.axes["training"].get_yticks()) <= 5


def test_a_clip_shorter_than_a_frame(tmp_path, small):
    path = write_media(tmp_path / "short.wav", recorded(0.05), 44_100)
    with pytest.raises(ParameterError, match="less than a frame at 10 fps"):
        prepare(read_clip(path), "musetools", "musetools", fps=10, encoder=small)


# --- sound


def test_the_sound_is_the_stretch_of_the_rows(scene, talker):
    for side in range(2):
        assert np.array_equal(scene.sound(side, 95), talker.waveform[186 * 320 - 160 : 195 * 320 + 160])
    assert len(scene.sound(0, 95)) == 0.2 * RATE
    assert np.array_equal(scene.sound(1, 0), talker.waveform[: 5 * 320 + 160])
    assert len(scene.sound(1, 301)) == 0


def test_the_sound_is_played_as_loud_as_it_is(scene):
    quiet = 0.01 * scene.sound(0, 95)
    assert np.allclose(samples_in(wav(quiet)) / 32767, quiet, atol=1 / 32767)
    assert samples_in(wav(quiet[:0])).tolist() == [0]


# --- the widgets


class Sketch:
    """Stands for a `FrameView` where it counts which frame is shown, and not how: a figure takes a second."""

    def __init__(self, scene: Scene, near_ms: int):
        self.of = f"{scene.clip.name} at {scene.fps} fps"

    def png(self, frame: int) -> bytes:
        return f"frame {frame} of {self.of}".encode()

    def jpeg(self, frame: int) -> bytes:
        return self.png(frame)[:-1]

    def places(self) -> dict:
        return {}


@pytest.fixture
def shown(small, monkeypatch, tmp_path) -> Callable[..., Explorer]:
    """Make an explorer."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # for uploads, which stay while the process runs
    monkeypatch.setattr(explorers, "read_clip", read_once)
    monkeypatch.setattr(explorers, "film", film_once)
    return partial(Explorer, DATA / "talker_25.mp4", folder=DATA, encoder=small)


@pytest.fixture
def explorer(shown, monkeypatch) -> Explorer:
    monkeypatch.setattr(explorers, "FrameView", Sketch)
    return shown(*PAIR)


def test_the_slider_redraws(shown):
    explorer = shown(*PAIR)
    before = explorer.stage.figure
    explorer.frame.value = 95
    assert explorer.stage.figure != before
    assert explorer.stage.figure == FrameView(explorer.scene).png(95)
    assert "Frame 95 lasts from 3.800 s" in explorer.sentences.value
    assert explorer.stage.start_s == pytest.approx(3.8)
    covered = explorer.scene.sound(0, 95)
    assert np.allclose(samples_in(explorer.stage.chunks[0]) / 32767, covered, atol=1 / 32767)


def test_the_next_frame_is_drawn_ahead(shown, monkeypatch):
    """A step shows what is drawn already, and it is what would be drawn; a zoom draws anew."""
    explorer = shown(*PAIR)
    explorer.frame.value = 50
    explorer.frame.value = 51
    drawn = []
    monkeypatch.setattr(explorer.view, "png", lambda frame: drawn.append(frame) or b"")
    explorer.frame.value = 52
    assert explorer.stage.figure == FrameView(explorer.scene, explorer.zoom.value).png(52)
    assert drawn == [53]
    explorer.zoom.value = 200
    assert explorer.stage.figure == FrameView(explorer.scene, 200).png(52)
    assert explorer.stage.places["reach_s"] == 0.2


def test_a_clip_that_plays_moves_the_frame(explorer):
    """The browser's clock asks, the kernel draws and answers, at less quality than of a frame that stays."""
    explorer.stage.plays = True
    explorer.stage.asked_s = 3.81
    assert (explorer.frame.value, explorer.stage.start_s, explorer.stage.answered_s) == (95, 3.8, 3.81)
    assert explorer.stage.figure == explorer.view.jpeg(95)
    explorer.stage.asked_s = 3.82
    assert explorer.stage.answered_s == 3.82
    explorer.stage.plays = False
    explorer.stage.asked_s = 3.83
    assert explorer.stage.figure == explorer.view.png(95)
    explorer.stage.asked_s = 99.0
    assert explorer.frame.value == explorer.frame.max


def test_buttons_and_keys_go_to_what_differs(explorer):
    explorer.train.value = "musetools"
    explorer.frame.value = 100
    explorer.next_difference.click()
    assert explorer.frame.value == explorer.scene.next_difference(100) > 100
    explorer.worst_frame.click()
    assert explorer.frame.value == explorer.scene.worst_frame
    explorer.frame.value = 7
    for ask, frame in (("next frame", 8), ("frame before", 7), ("worst frame", explorer.scene.worst_frame)):
        explorer.stage._handle_custom_msg({"ask": ask}, [])
        assert explorer.frame.value == frame
    explorer.infer.value = "musetools"
    explorer.next_difference.click()
    assert "No next difference" in explorer.message.value


def test_what_was_not_found_is_no_longer_said_once_something_is(explorer):
    explorer.train.value, explorer.infer.value = "musetalk-v1-train", "musetalk-v1-infer"
    explorer.worst_frame.click()
    assert "No worst frame" in explorer.message.value
    explorer.next_difference.click()
    assert "No " not in explorer.message.value


def test_a_choice_is_shown_at_the_same_time(explorer):
    explorer.frame.value = 100
    explorer.train.value = "musetalk-v1-train"
    assert explorer.scene.sides[0].name == "musetalk-v1-train"
    assert explorer.frame.value == 100
    explorer.fps.value = 50
    assert (explorer.frame.value, explorer.frame.max) == (200, 601)
    assert "stops" in explorer.sentences.value
    assert "cut as 50" in explorer.message.value
    explorer.left.value = 1
    assert explorer.scene.context == (1, 2)


def test_the_clips_of_the_folder_are_to_choose_from_at_their_own_rate(explorer):
    assert {"talker_25.mp4", "talker_2997.mp4", "voice_a.m4a"} <= {name for name, _ in explorer.clip.options}
    explorer.clip.value = DATA / "talker_2997.mp4"
    assert (explorer.scene.fps, explorer.fps.value) == (Fraction(30_000, 1001), 29.97)
    explorer.fps.value = 25
    assert "The clip is 29.97 fps, cut as 25." in explorer.message.value
    explorer.fps.value = 29.97
    assert "cut as" not in explorer.message.value


def test_a_clip_keeps_its_own_rate_where_its_control_cannot_write_it(explorer, monkeypatch):
    """Other controls do not cut it at 33.333, and no note says that its own rate is another one."""
    own = Fraction(100, 3)
    monkeypatch.setattr(explorers, "read_clip", lambda path: replace(read_once(path), fps=own))
    explorer.clip.value = DATA / "talker_2997.mp4"
    explorer.zoom.value = 200
    assert (explorer.scene.fps, explorer.fps.value, explorer.scene.rate_note) == (own, 33.333, "")


def test_a_clip_that_is_loaded_does_not_play(explorer):
    """A browser stops without a word when another clip is loaded; the frame is drawn as one that stays."""
    explorer.stage.plays = True
    explorer.clip.value = DATA / "speech.flac"
    assert not explorer.stage.plays
    assert explorer.stage.figure == explorer.view.png(explorer.frame.value)


def test_a_file_by_its_path(explorer, tmp_path):
    path = write_media(tmp_path / "mine.wav", recorded(1), 44_100)
    explorer.path.value = str(path)
    assert (explorer.scene.clip.path, explorer.clip.label) == (path, "mine.wav")
    explorer.path.value = str(tmp_path / "gone.wav")
    assert "give an absolute path" in explorer.message.value
    assert explorer.scene.clip.path == path


def test_a_file_that_is_added_is_all_that_is_read(explorer, tmp_path, monkeypatch):
    """A list of choices that grows chooses its first one for a moment, which is not to be shown."""
    explorer.clip.value = DATA / "speech.flac"
    path, read = write_media(tmp_path / "mine.wav", recorded(1), 44_100), []
    monkeypatch.setattr(explorers, "read_clip", lambda path: read.append(path) or read_clip(path))
    explorer.path.value = str(path)
    assert (read, explorer.clip.label) == ([path], "mine.wav")


def test_what_is_wrong_is_shown_and_what_was_shown_stays(explorer):
    before = explorer.scene
    explorer.fps.value = 0
    assert "fps must be a number of frames per second, 1 … 1000" in explorer.message.value
    assert "Still shown: talker_25.mp4 at 25 fps." in explorer.message.value
    assert explorer.scene is before
    assert explorer.fps.value == 25
    explorer.frame.value = 10
    assert explorer.stage.figure == explorer.view.png(10)
    explorer.fps.value = 90
    assert "musetalk-v1.5-train at 90 fps takes rows up to" in explorer.message.value
    explorer.train.value = explorer.infer.value = "musetools"
    explorer.fps.value = 90
    explorer.train.value = "musetalk-v1.5-train"
    assert "musetalk-v1.5-train at 90 fps takes rows up to" in explorer.message.value
    assert explorer.train.value == explorer.scene.sides[0].name == "musetools"
    explorer.train.value, explorer.fps.value = "livetalking", 25
    explorer.fps.value = 30
    assert "cut as 30" in explorer.message.value


def upload(explorer: Explorer, name: str, content: bytes) -> None:
    item = {
        "name": name,
        "type": "",
        "size": len(content),
        "content": memoryview(content),
        "last_modified": datetime.now(UTC),
    }
    explorer.upload.value = (item,)


def test_an_upload(explorer, tmp_path):
    path = write_media(tmp_path / "mine.mp4", recorded(1), 44_100)
    upload(explorer, "../../mine.mp4", path.read_bytes())
    assert "Still shown" not in explorer.message.value
    assert (explorer.scene.clip.name, explorer.scene.clip.duration_s) == ("mine.mp4", pytest.approx(1, abs=0.03))
    assert explorer.clip.label == "mine.mp4 (uploaded)"
    assert explorer.scene.image_number(0) == 0
    explorer.clip.value = DATA / "speech.flac"
    assert explorer.scene.clip.name == "speech.flac"


def test_an_upload_that_is_named_as_a_folder_is(explorer, tmp_path):
    path = write_media(tmp_path / "mine.wav", recorded(1), 44_100)
    upload(explorer, "..", path.read_bytes())
    assert explorer.clip.label == "clip (uploaded)"


def test_an_upload_that_is_no_media(explorer):
    before, choices = explorer.scene, explorer.clip.options
    upload(explorer, "<i>notes.txt", b"no media at all")
    assert "&lt;i&gt;notes.txt cannot be decoded" in explorer.message.value
    assert (explorer.scene, explorer.clip.options) == (before, choices)


def test_a_clip_that_is_gone_leaves_the_old_one_chosen(explorer, tmp_path):
    explorer.clip.options = (*explorer.clip.options, ("gone", tmp_path / "gone.wav"))
    explorer.clip.value = tmp_path / "gone.wav"
    assert "is not there" in explorer.message.value
    assert explorer.clip.value == DATA / "talker_25.mp4"
    assert explorer.scene.clip.name == "talker_25.mp4"


def test_a_start_that_cannot_be_is_an_error(shown, small, tmp_path):
    with pytest.raises(MusetoolsError):
        Explorer(tmp_path / "gone.wav", folder=DATA, encoder=small)
    with pytest.raises(ParameterError, match="context"):
        shown(context=(-1, 2))


def test_a_wide_context_is_shown_as_it_is_passed(shown, monkeypatch):
    monkeypatch.setattr(explorers, "FrameView", Sketch)
    explorer = shown("musetools", "musetools", context=(21, 2))
    assert (explorer.scene.context, explorer.left.value) == ((21, 2), 21)


def test_jupyter_is_shown_the_panel(explorer):
    assert "application/vnd.jupyter.widget-view+json" in explorer._repr_mimebundle_()
