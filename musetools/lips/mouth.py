"""How a mouth moves in a video: four measures of the lips with time stamps, by MediaPipe's face landmarks.

Points are numbered as in MediaPipe's face mesh. Each measure is a ratio of distances in the image, so that it does not
depend on the size of the face. Time stamps are those of the clip's timeline: seconds from the first shown frame.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from musetools.audio.container import chosen_video, name_of, opened
from musetools.audio.shown import shown_frames
from musetools.errors import AudioError, ParameterError
from musetools.lips.landmarker import landmarker, quiet
from musetools.lips.series import MEASURES, MouthSeries, kept

__all__ = ["mouth_images", "mouth_measures"]

DISTANCES = {  # name: the distance, and the one that it is divided by
    "inner": ((13, 14), (10, 152)),
    "outer": ((0, 17), (10, 152)),
    "width": ((61, 291), (33, 263)),
    "chin": ((1, 152), (10, 1)),
}
FACE = DISTANCES["inner"][1]  # forehead to chin: the size of a face
LIPS = DISTANCES["outer"][0]
LIPS_SHARE = 0.3  # of the height of the face, on each side of the lips' middle: what an image of the mouth shows
LONGEST_PX, SHORTEST_PX = 640, 64  # larger images are made smaller, for speed; in smaller ones no face can be measured
POINTS = 32  # each way, of an image that is looked at for a cut
CUT = 30.0  # mean change of grey, of 255, from one frame to the next at a cut of scene
SEVERAL_FACES = "several faces"
SEVERAL, LOST = 0.1, 0.02  # share of frames that is worth a note
VERSION = 4  # of what is cached


def mouth_measures(
    video: str | os.PathLike,
    *,
    face: tuple[float, float] | None = None,
    model: str | os.PathLike | None = None,
    video_track: int | None = None,
    cache: str | os.PathLike | None = "runs/mouth",
    progress: bool = False,
) -> MouthSeries:
    """Measure the mouth in each frame of a video.

    Parameters
    ----------
    video : path
        A media file.
    face : (x, y), optional
        A point of the first frame, 0 … 1 from its left and top: the face nearest to it is followed, if it is not
        farther away than it is high, up to the first cut of scene. By default the largest one is.
    model : path, optional
        MediaPipe's ``face_landmarker.task``; by default from the cache, or else downloaded into it.
    video_track : int, optional
        Counted from 1; see `load_audio`.
    cache : path or None, default "runs/mouth"
        Folder in which results are kept by the file's hash; None keeps none.
    progress : bool, default False
        Whether a bar is drawn on stderr.

    Returns
    -------
    MouthSeries
        One value for each shown frame and measure; NaN where there is no face.

    Raises
    ------
    AudioError
        If the file is missing, no media, or has no video that can be decoded.
    ParameterError
        If its frames are too small, the point lies outside, or the model file cannot be used.
    MissingExtraError
        If MediaPipe is not installed.
    EncoderError
        If the model file is neither cached nor to be downloaded.

    Notes
    -----
    Landmarks: MediaPipe's FaceLandmarker (Google, Apache-2.0), mode VIDEO.
    """
    if face is not None and not all(0 <= x <= 1 for x in face):
        raise ParameterError(f"the point of a face lies at 0 … 1 from the left and the top; got {face}")
    name = name_of(video)

    def measured() -> MouthSeries:
        with landmarker(model) as tracker:
            return _Follower(tracker, face).followed(_images(video, name, video_track, progress), name)

    how = VERSION, face, video_track, str(model or "")
    return measured() if cache is None else kept(Path(cache), video, how, measured)


def mouth_images(
    video: str | os.PathLike, series: MouthSeries, frames: Sequence[int], *, video_track: int | None = None
) -> list[np.ndarray]:
    """Cut the mouth out of some frames of a video.

    Parameters
    ----------
    video : path
        The media file.
    series : MouthSeries
        What `mouth_measures` returned for it, with a face in each of the frames.
    frames : sequence of int
        Indices into the series.
    video_track : int, optional
        The track that was measured.

    Returns
    -------
    list of ndarray of uint8, shape (side, side, 3)
        RGB, all of one size. AudioError as `mouth_measures`.
    """
    wanted, name = dict.fromkeys(frames), name_of(video)
    side = LIPS_SHARE * float(np.nanmax(series.places[list(wanted), 2]))
    for i, (_, image) in enumerate(_images(video, name, video_track, False)):
        if i in wanted:
            columns, rows = (np.rint(middle + np.arange(-side, side)).astype(int) for middle in series.places[i, :2])
            wanted[i] = image[np.clip(rows, 0, len(image) - 1)][:, np.clip(columns, 0, image.shape[1] - 1)]
        if i >= max(wanted):
            break
    return [wanted[frame] for frame in frames]


def _images(video: Any, name: str, number: int | None, progress: bool) -> Iterator[tuple[float, np.ndarray]]:
    """Yield each shown frame's time on the container's clock and its image, upright, (height, width, 3)."""
    last = -np.inf  # a frame that is shown for no time is none
    with opened(video, name) as container, tqdm(desc=name, unit="frame", disable=not progress) as bar:
        if (stream := chosen_video(container, number)) is None:
            raise AudioError(f"{name} has no video track, so there are no lips to look at. Name a video")
        stream.thread_type = "AUTO"
        bar.total = stream.frames or None
        for frame in shown_frames(container, stream):
            bar.update()
            if (at := float(frame.pts * frame.time_base)) > last:
                last = at
                yield at, _image(frame, name)


def _image(frame: Any, name: str) -> np.ndarray:
    width, height = frame.width, frame.height
    if min(width, height) < SHORTEST_PX:
        raise ParameterError(
            f"{name} has frames of {width} x {height} pixels: no face can be measured below {SHORTEST_PX}. "
            "Take a larger copy"
        )
    scale = min(1.0, LONGEST_PX / max(width, height))
    image = frame.to_ndarray(format="rgb24", width=round(width * scale), height=round(height * scale))
    # MediaPipe finds no face, without an error, in an array with gaps between its lines
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


class _Follower:
    """Measures one face's mouth from image to image."""

    def __init__(self, landmarker: Any, face: tuple[float, float] | None):
        self.landmarker, self.point, self.pointed_at = landmarker, face, face is not None
        self.before: np.ndarray | None = None  # a small grey copy of the last image
        self.at_ms = -1  # what MediaPipe was told of the last image
        self.cuts_s: list[float] = []
        self.n_faces: list[int] = []

    def followed(self, images: Iterator[tuple[float, np.ndarray]], name: str) -> MouthSeries:
        """Return the series of a video, whose images come with their times on its clock."""
        times, values, places = [], [], []
        for at, image in images:
            times.append(at)
            face = self.find(at - times[0], image)
            values.append([np.nan] * len(MEASURES) if face is None else _measures(face))
            places.append([np.nan] * 3 if face is None else [*face[list(LIPS)].mean(axis=0), _distance(face, *FACE)])
        if not times:
            raise AudioError(f"{name}: none of its frames can be decoded. Copy or export it again")
        return MouthSeries(np.array(times) - times[0], np.array(values), tuple(self.notes()), np.array(places))

    def find(self, at_s: float, image: np.ndarray) -> np.ndarray | None:
        """Return the landmarks of the face that is followed, in pixels, (n_points, 2); None without one."""
        import mediapipe as mp

        if self._is_cut(image):
            self.cuts_s.append(at_s)
            self.point, self.pointed_at = None, False
        self.at_ms = max(self.at_ms + 1, round(1000 * at_s))  # frames may lie nearer, but MediaPipe takes no ms twice
        with nullcontext() if self.n_faces else quiet():
            found = self.landmarker.detect_for_video(mp.Image(mp.ImageFormat.SRGB, image), self.at_ms)
        size = image.shape[1], image.shape[0]
        faces = [np.array([(p.x, p.y) for p in face]) * size for face in found.face_landmarks]
        face = self._chosen(faces, size)
        self.n_faces.append(len(faces) if face is not None else 0)
        if face is not None:
            self.point = tuple(face.mean(axis=0) / size)
        return face

    def _chosen(self, faces: list[np.ndarray], size: tuple[int, int]) -> np.ndarray | None:
        if self.point is None or not faces:
            return max(faces, key=lambda face: _distance(face, *FACE), default=None)
        away = [np.hypot(*(face.mean(axis=0) - np.multiply(self.point, size))) for face in faces]
        nearest = faces[int(np.argmin(away))]
        return None if self.pointed_at and min(away) > _distance(nearest, *FACE) else nearest  # that is another one

    def _is_cut(self, image: np.ndarray) -> bool:
        # as many points of each: in a recorded call images change their size
        small = image[np.ix_(*(np.arange(POINTS) * length // POINTS for length in image.shape[:2]))].mean(axis=2)
        before, self.before = self.before, small
        return before is not None and float(np.abs(small - before).mean()) > CUT

    def notes(self) -> Iterator[str]:
        """Say what is to be known when the series is read."""
        n_faces, where = np.array(self.n_faces), " near the chosen point" if self.pointed_at else ""
        if not n_faces.any():
            yield f"no face in any of {len(n_faces)} frames{where}"
        elif (lost := float((n_faces == 0).mean())) > LOST:
            yield f"no face in {100 * lost:.0f} % of the frames{where}"
        if (several := float((n_faces > 1).mean())) > SEVERAL:
            share = f"{SEVERAL_FACES} in {100 * several:.0f} % of the frames"
            yield f"{share}; one is followed, by --face X Y the nearest to a point"
        if self.cuts_s:
            yield f"{len(self.cuts_s)} cut(s) of scene, at {', '.join(f'{at:.1f} s' for at in self.cuts_s[:3])}"


def _measures(face: np.ndarray) -> list[float]:
    return [_distance(face, *pair) / max(_distance(face, *by), 1e-6) for pair, by in DISTANCES.values()]


def _distance(face: np.ndarray, a: int, b: int) -> float:
    return float(np.hypot(*(face[a] - face[b])))
