"""Mouth measures: which face is followed, what is said of lost faces and cuts, what is kept, other trackers' series."""

import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from media import copied

from musetools import AudioError, ParameterError
from musetools.errors import MissingExtraError
from musetools.lips import mouth as module
from musetools.lips import mouth_images, mouth_measures, read_mouth
from musetools.lips.landmarker import MODEL
from musetools.lips.mouth import CUT, DISTANCES
from musetools.lips.series import MEASURES

N_FRAMES, FPS, SIZE = 30, 25, (100, 100)
REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "talk_a.mp4"


def film(path, *, size=SIZE, cut_at=None):
    """Write a dark film, which turns light at a cut."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(N_FRAMES):
            image = np.full((size[1], size[0], 3), 200 if cut_at is not None and i >= cut_at else 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def face_at(x: float, y: float, size: float, opening: float) -> list[SimpleNamespace]:
    """Make landmarks of a face of some height, whose inner lips are so far apart as a share of it."""
    points = np.full((478, 2), (x, y))
    apart = {10: (0, -0.5), 152: (0, 0.5), 1: (0, 0), 13: (0, 0.2), 14: (0, 0.2 + opening)}
    apart |= {0: (0, 0.15), 17: (0, 0.35), 61: (-0.2, 0.2), 291: (0.2, 0.2), 33: (-0.25, -0.2), 263: (0.25, -0.2)}
    for i, offset in apart.items():
        points[i] = np.add((x, y), np.multiply(size, offset))
    return [SimpleNamespace(x=px, y=py) for px, py in points]


class Landmarker:
    """Gives the faces of a list, image by image, as MediaPipe does."""

    def __init__(self, faces):
        self.faces, self.times, self.used = faces, [], 0

    def detect_for_video(self, image, at_ms):
        self.times.append(at_ms)
        self.used += 1
        return SimpleNamespace(face_landmarks=self.faces[len(self.times) - 1])

    def __enter__(self):
        self.times = []
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def track(monkeypatch):
    """Have some faces found, and give the landmarker."""
    shape = SimpleNamespace(Image=lambda form, image: image, ImageFormat=SimpleNamespace(SRGB=1))
    monkeypatch.setitem(sys.modules, "mediapipe", shape)

    def start(faces):
        landmarker = Landmarker(faces)
        monkeypatch.setattr(module, "landmarker", lambda model: landmarker)
        return landmarker

    return start


def test_measures_are_ratios_of_distances(tmp_path, track):
    openings = np.linspace(0, 0.2, N_FRAMES)
    small, large = ([[face_at(0.5, 0.5, size, o)] for o in openings] for size in (0.2, 0.4))
    track(small)
    found = mouth_measures(film(tmp_path / "a.mp4"), cache=None)
    np.testing.assert_allclose(found.times_s, np.arange(N_FRAMES) / FPS, atol=1e-9)
    np.testing.assert_allclose(found.values[:, 0], openings, atol=1e-9)
    np.testing.assert_allclose(found.values[:, 1:], [[0.2, 0.8, 1.0]] * N_FRAMES, atol=1e-9)
    track(large)
    np.testing.assert_allclose(mouth_measures(tmp_path / "a.mp4", cache=None).values, found.values, atol=1e-9)
    assert list(DISTANCES) == list(MEASURES)
    assert found.notes == ()
    assert found.seen.all()


def test_one_face_of_two_is_followed(tmp_path, track):
    """The largest, or the one that is pointed at, though they come in any order."""
    left = [face_at(0.3, 0.5, 0.2, 0.1)] * N_FRAMES
    right = [face_at(0.7, 0.5, 0.3, 0.02)] * N_FRAMES
    track([[a, b] if i % 2 else [b, a] for i, (a, b) in enumerate(zip(left, right, strict=True))])
    largest = mouth_measures(film(tmp_path / "a.mp4"), cache=None)
    np.testing.assert_allclose(largest.values[:, 0], 0.02, atol=1e-9)
    assert "several faces in 100 %" in largest.notes[0]
    pointed = mouth_measures(tmp_path / "a.mp4", cache=None, face=(0.3, 0.5))
    np.testing.assert_allclose(pointed.values[:, 0], 0.1, atol=1e-9)
    nobody = mouth_measures(tmp_path / "a.mp4", cache=None, face=(0.0, 0.0))
    assert nobody.notes == ("no face in any of 30 frames near the chosen point",)
    assert not nobody.seen.any()
    with pytest.raises(ParameterError, match=r"0 … 1 from the left and the top; got \(300"):
        mouth_measures(tmp_path / "a.mp4", cache=None, face=(300, 0.5))


def test_lost_faces_and_cuts_are_told(tmp_path, track):
    faces = [[face_at(0.5, 0.5, 0.3, 0.1)]] * 20 + [[]] * 10
    track(faces)
    found = mouth_measures(film(tmp_path / "a.mp4", cut_at=15), cache=None)
    assert np.isnan(found.values[20:]).all()
    assert found.seen[:20].all()
    assert found.notes == ("no face in 33 % of the frames", "1 cut(s) of scene, at 0.6 s")
    assert CUT < 180
    track([[]] * N_FRAMES)
    assert mouth_measures(tmp_path / "a.mp4", cache=None).notes[0] == "no face in any of 30 frames"


def test_frames_of_other_sizes_and_of_nearly_the_same_time(track):
    """As recorded calls and joined clips have them; MediaPipe raises an error for a time that does not grow."""
    images = [(0.76, np.zeros((100, 100, 3))), (0.76001, np.zeros((240, 320, 3))), (0.84, np.full((90, 64, 3), 200))]
    landmarker = track([[face_at(0.5, 0.5, 0.3, 0.1)]] * len(images))
    found = module._Follower(landmarker, None).followed(iter(images), "clip")
    assert (landmarker.times, found.notes) == ([0, 1, 80], ("1 cut(s) of scene, at 0.1 s",))


def test_results_are_kept_by_the_files_hash(tmp_path, track):
    landmarker = track([[face_at(0.5, 0.5, 0.3, 0.1)]] * 20 + [[]] * 10)
    first = mouth_measures(film(tmp_path / "a.mp4"), cache=tmp_path / "kept")
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    again = mouth_measures(tmp_path / "b.mp4", cache=tmp_path / "kept")
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.notes, landmarker.used) == (again.notes, N_FRAMES)
    mouth_measures(tmp_path / "b.mp4", cache=tmp_path / "kept", face=(0.1, 0.1))
    assert landmarker.used == 2 * N_FRAMES
    for kept, content in zip((tmp_path / "kept").iterdir(), (b"damaged", None), strict=True):
        kept.write_bytes(content or kept.read_bytes()[:200])
    mouth_measures(tmp_path / "b.mp4", cache=tmp_path / "kept")
    mouth_measures(tmp_path / "b.mp4", cache=tmp_path / "kept", face=(0.1, 0.1))
    assert landmarker.used == 4 * N_FRAMES


def test_what_has_no_lips_is_an_error(tmp_path, track):
    track([[]] * N_FRAMES)
    with pytest.raises(AudioError, match="no video track"):
        mouth_measures("data/speech.flac", cache=None)
    with pytest.raises(ParameterError, match="32 x 16 pixels: no face can be measured below 64"):
        mouth_measures(film(tmp_path / "tiny.mp4", size=(32, 16)), cache=None)
    with pytest.raises(AudioError, match="not there"):
        mouth_measures(tmp_path / "gone.mp4", cache=tmp_path)


def test_without_mediapipe_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'musetools\[face\]'"):
        mouth_measures(film(tmp_path / "a.mp4"), cache=None)


def test_mediapipe_that_cannot_be_loaded(tmp_path, monkeypatch):
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.startswith("mediapipe"):
                raise ImportError("libGL.so.1: cannot open shared object file")

    for name in [name for name in sys.modules if name.split(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"libGL\.so\.1.*apt install libgl1"):
        mouth_measures(film(tmp_path / "a.mp4"), cache=None)


# --- other trackers


def test_series_of_other_trackers(tmp_path):
    frames = np.arange(4) / 25
    np.save(tmp_path / "a.npy", [0.1, 0.2, np.nan, 0.4])
    found = read_mouth(tmp_path / "a.npy", frames)
    np.testing.assert_array_equal(found.values[:, 0], [0.1, 0.2, np.nan, 0.4])
    assert np.isnan(found.values[:, 1:]).all()
    assert found.times_s.tolist() == frames.tolist()
    # as Excel writes it, with a mark at the start
    (tmp_path / "a.csv").write_text("time_s,inner,width\n0,1,2\n0.5,,3\n", encoding="utf-8-sig")
    found = read_mouth(tmp_path / "a.csv", frames)
    np.testing.assert_array_equal(found.values, [[1, np.nan, 2, np.nan], [np.nan, np.nan, 3, np.nan]])
    assert found.times_s.tolist() == [0, 0.5]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefftime_s,inner\n0,1\n0.2,2\n",
        "time_s, inner, opening\n0, 1, 5\n0.2, 2, 6\n",
        "time_s,inner,who\n0,1,a\n0.2,2,b\n",
    ],
    ids=["a mark before the head", "spaces", "other columns"],
)
def test_tables_as_spreadsheets_and_trackers_write_them(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    found = read_mouth(tmp_path / "a.csv", np.array([0, 0.1]))
    assert found.times_s.tolist() == [0, 0.2]
    assert found.values[:, 0].tolist() == [1, 2]
    assert not found.drawn


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("inner\n1\n2\n", "has 2 values, the clip 4 frames"),
        ("time_s,inner\n1,1\n0,2\n", "times that rise"),
        ("time_s,smile\n0,1\n1,2\n", "columns of inner, outer, width, chin"),
        ("", "no series of a mouth"),
        ("time_s;inner\n0;1\n1;2\n", r"with commas between; got 2 rows of \['time_s;inner'\]"),
        ("time_s,inner\n0,1\n40,2\n", "times in seconds"),
    ],
    ids=["length", "times", "names", "empty", "semicolons", "milliseconds"],
)
def test_what_is_no_series_is_refused(tmp_path, text, match):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ParameterError, match=match):
        read_mouth(tmp_path / "a.csv", np.arange(4) / 25)


# --- MediaPipe itself


@pytest.fixture
def mediapipe():
    """Skip where MediaPipe or its model file is not there."""
    pytest.importorskip("mediapipe", reason="pip install 'musetools[face]'")
    pooch = pytest.importorskip("pooch")
    if not (pooch.os_cache("musetools") / MODEL).is_file():
        pytest.skip("MediaPipe's face model is not in the cache")


def test_a_portrait_that_moves_sideways(tmp_path, mediapipe):
    """NASA's portrait of Eileen Collins (public domain), a pixel to the right each frame, 320 wide: two of three lines
    of such an image have gaps between them, in which MediaPipe finds no face."""
    portrait = np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:300, 60:370])
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 310, 300, "yuv420p"
        for i in range(N_FRAMES):
            image = np.ascontiguousarray(np.roll(portrait, i, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    found = mouth_measures(tmp_path / "a.mp4", cache=None)
    assert found.seen.all()
    assert found.values.std(axis=0).max() < 0.05 < found.values.mean(axis=0).min()
    assert found.places[-1, 0] - found.places[0, 0] == pytest.approx(N_FRAMES - 1, abs=2)
    (first, last) = mouth_images(tmp_path / "a.mp4", found, [0, N_FRAMES - 1])
    assert first.shape == last.shape
    assert np.abs(first.astype(float) - last).mean() < 10  # the same mouth, cut out where it is


@pytest.mark.skipif(not REAL.exists(), reason="no real faces beside the project")
def test_a_real_face(tmp_path, mediapipe):
    clip = copied(REAL, tmp_path / "clip.mp4", keep=lambda packet: packet.pts * packet.time_base < 2)
    found = mouth_measures(clip, cache=None)
    assert found.values.shape == (49, 4)
    assert found.seen.mean() > 0.9
    np.testing.assert_allclose(np.diff(found.times_s), 0.04, atol=1e-6)
    low, high = np.nanpercentile(found.values, [5, 95], axis=0)
    assert high[0] > 1.5 * low[0]
    assert (low >= 0).all()
    assert (high < 2).all()
    damaged = tmp_path / "face_landmarker.task"
    damaged.write_bytes(b"nothing")
    with pytest.raises(ParameterError, match="is damaged or of another kind"):
        mouth_measures(clip, cache=None, model=damaged)
    with pytest.raises(ParameterError, match="no model file"):
        mouth_measures(clip, cache=None, model=tmp_path / "gone.task")
