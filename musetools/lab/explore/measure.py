"""One clip under two recipes, prepared once, so that any of its frames can be shown and played at once."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from musetools import Chunks, Encoder, ParameterError, Recipe, loudness
from musetools.check.findings import SILENT_DBFS
from musetools.chunks.rows import ZERO_ROW, chunk_offsets
from musetools.lab.explore.clip import DEFAULT_FPS, Clip
from musetools.lab.look import INFER, TRAIN, covered, rows_of, span_s
from musetools.recipes.profile import Profile, profile
from musetools.recipes.recipe import recipe_of
from musetools.recipes.rows import as_passed
from musetools.table import signed, spans
from musetools.timing import ROW_RATE, SAMPLE_RATE, exact_fps, frame_start

__all__ = ["Scene", "Side", "prepare"]


@dataclass(frozen=True, eq=False)
class Side:
    """One recipe's chunks of a clip."""

    role: str  # "training" or "inference"
    colour: str
    profile: Profile
    chunks: Chunks | None  # None where the pipeline stops

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.profile.recipe.name

    def rows(self, frame: int) -> np.ndarray | None:
        """Return the rows that a frame takes, -1 for one of zeros; None if it has no chunk."""
        return rows_of(self.chunks, frame) if self.chunks else None

    def span_s(self, frame: int) -> tuple[float, float] | None:
        """Return the stretch that a frame's rows are centred on, in seconds; None if it has no rows."""
        return span_s(self.rows(frame))

    def coverage(self, frame: int) -> str:
        """Write how much audio a frame's chunk covers, and its lag."""
        if not self.chunks:
            return f"stops at {float(self.profile.fps):.5g} fps"
        rows = self.rows(frame)
        return "no chunk" if rows is None else covered(rows, self.profile.lag_ms[self.chunks.index_of(frame)])

    def sentence(self, frame: int) -> str:
        """Write which rows a frame takes, and when they are."""
        rows, span = self.rows(frame), self.span_s(frame)
        if not self.chunks:
            return f"{self.profile.stops}."
        if rows is None:
            return f"{self.name} has no chunk for this frame."
        taken, zeros = "no row of the features", int((rows == ZERO_ROW).sum())
        if span:
            taken = f"rows {spans(np.unique(rows[rows != ZERO_ROW]))}, {max(0, span[0]):.2f} s to {span[1]:.2f} s"
        return f"{self.name} takes {taken}{f', and {zeros} of zeros' if zeros else ''}: it {self.coverage(frame)}."


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip at a frame rate, chunked by two recipes: all that is needed to show any frame of it."""

    clip: Clip
    fps: Fraction  # video frames per second
    context: tuple[int, int]  # frames of audio left and right of a frame
    sides: tuple[Side, Side]  # training and inference
    weights: str  # name of the encoder
    loudness: np.ndarray  # (n,), of each whole frame, in dBFS
    expected: tuple[np.ndarray, np.ndarray] | None  # seconds, and the opening that sound suggests then

    @property
    def n_frames(self) -> int:
        """Frames that can be shown: whole frames of the clip, and surplus ones that a recipe makes."""
        return max(len(self.loudness), *(side.profile.frames.stop for side in self.sides))

    @cached_property
    def edges_ms(self) -> np.ndarray:
        """Where frames start and end, shape (n_frames + 1,)."""
        return 1000 * np.arange(self.n_frames + 1) / float(self.fps)

    @cached_property
    def silent(self) -> np.ndarray:
        """Whether each frame's own audio lies below -50 dBFS; frames after the end of the audio are silent too."""
        return np.append(self.loudness < SILENT_DBFS, np.ones(self.n_frames - len(self.loudness), bool))

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each layer's dimensions, shape (n_layers, width), of training's features."""
        chunks = next((side.chunks for side in self.sides if side.chunks), None)
        if chunks is None:
            return np.zeros((1, 1)), np.ones((1, 1))
        return chunks.features.mean(axis=0), chunks.features.std(axis=0) + 1e-9

    @cached_property
    def differs(self) -> np.ndarray:
        """Whether each frame takes other rows on the two sides; one without a chunk on a side that chunks does."""
        taken = ([side.rows(i) for side in self.sides] for i in range(self.n_frames))
        return np.array([not np.array_equal(*both) for both in taken])

    def next_difference(self, frame: int) -> int | None:
        """Return the next frame at which the two sides begin to take other rows, from the first on after the last."""
        begins = np.flatnonzero(self.differs & ~np.append(False, self.differs[:-1]))
        return int(next((i for i in begins if i > frame), begins[0])) if len(begins) else None

    @cached_property
    def worst_frame(self) -> int | None:
        """The frame whose two chunks differ most in value; None where all are equal, or one side has none."""
        gaps = [(gap := self.difference(i)) is not None and float(np.square(gap).mean()) for i in range(self.n_frames)]
        return int(np.argmax(gaps)) if any(gaps) else None

    @property
    def rate_note(self) -> str:
        """What to know of the frame rate: that it is not the clip's own."""
        if self.clip.fps in (None, self.fps):
            return ""
        return f"The clip is {float(self.clip.fps):.6g} fps, cut as {float(self.fps):.6g}."

    def start_s(self, frame: int) -> float:
        """Return when a frame starts."""
        return float(frame / self.fps)

    def frame_at(self, time_s: float) -> int:
        """Return the frame that is on screen at an instant, the last one after its end."""
        return min(self.n_frames - 1, int(time_s * self.fps + Fraction(1, 1000)))

    def places(self, side: int, frame: int) -> np.ndarray:
        """Return at which row's time each row of a frame's chunk is drawn: zeros lie where rows would go on."""
        rows = self.sides[side].rows(frame)
        real = np.flatnonzero(rows != ZERO_ROW)
        if not len(real):
            return int(frame_start(frame, self.fps, ROW_RATE)) + chunk_offsets(self.context)
        j = np.arange(len(rows))
        nearest = real[np.abs(j[:, None] - real).argmin(axis=1)]
        return rows[nearest] + j - nearest

    def chunk(self, side: int, frame: int) -> np.ndarray | None:
        """Return a frame's chunk in standard deviations, (rows · layers, width), NaN where it is zeros."""
        chosen, (mean, spread) = self.sides[side], self.scale
        if (rows := chosen.rows(frame)) is None:
            return None
        seen = (chosen.chunks.at(frame).reshape(len(rows), *mean.shape) - mean) / spread
        seen[rows == ZERO_ROW] = np.nan
        return seen.reshape(-1, mean.shape[-1])

    def difference(self, frame: int) -> np.ndarray | None:
        """Return training's chunk less inference's, in standard deviations; None unless both have one."""
        both = [side.chunks.at(frame) for side in self.sides if side.rows(frame) is not None]
        if len(both) < 2 or both[0].shape != both[1].shape:
            return None
        _, spread = self.scale
        return ((both[0] - both[1]).reshape(-1, *spread.shape) / spread).reshape(both[0].shape)

    def image_number(self, frame: int) -> int | None:
        """Return which image is on screen when a frame starts; None if there is none."""
        return self.clip.images.at(self.start_s(frame)) if self.clip.images else None

    def seen_s(self, frame: int) -> float:
        """Return when the image on screen appeared; the frame's own start where there is none."""
        number = self.image_number(frame)
        return self.start_s(frame) if number is None else float(self.clip.images.times_s[number])

    def opening(self, frame: int) -> float | None:
        """Return how far the mouth is open in the image on screen, by the csv; None without one."""
        return None if self.clip.openings is None else float(np.interp(self.seen_s(frame), *self.clip.openings))

    def sound(self, side: int, frame: int) -> np.ndarray:
        """Return the samples that a frame's rows are centred on, as many of them as the clip has."""
        first, stop = (max(0, round(edge * SAMPLE_RATE)) for edge in self.sides[side].span_s(frame) or (0, 0))
        return self.clip.waveform[first:stop]

    def level(self, frame: int) -> str:
        """Write how loud a frame is, and whether that is silence."""
        if frame >= len(self.loudness):
            return "after the audio"
        return ("silent, " if self.silent[frame] else "") + f"{signed(self.loudness[frame])} dBFS"

    def sentences(self, frame: int) -> list[str]:
        """Write what one frame is and gets, computed from the numbers."""
        start, stop = self.start_s(frame), self.start_s(frame + 1)
        if frame < len(self.loudness):
            below = f" (below {signed(SILENT_DBFS)} dBFS)" if self.silent[frame] else ""
            found = [f"Frame {frame} lasts from {start:.3f} s to {stop:.3f} s: {self.level(frame)}{below}."]
        else:
            end = f"the audio ends at {self.clip.duration_s:.3f} s"
            found = [f"Frame {frame} starts at {start:.3f} s and is not whole: {end}."]
        if self.rate_note:
            found.append(self.rate_note)
        found += [side.sentence(frame) for side in self.sides]
        if (gap := self.difference(frame)) is not None:
            a, b = (side.rows(frame) for side in self.sides)
            same, size = int((a == b).sum()), float(np.sqrt(np.square(gap).mean()))
            rows = "Both take the same rows" if same == len(a) else f"{same} of {len(a)} rows are the same"
            values = f"differ by {size:.2g} standard deviations" if size else "are equal"
            found.append(f"{rows}; the chunks {values}.")
        if (opening := self.opening(frame)) is not None:
            expected = float(np.interp(self.seen_s(frame), *self.expected))
            found.append(f"The mouth is {opening:.2f} open (0 shut, 1 wide); sound suggests {expected:.2f}.")
        if positions := [side.name for side in self.sides if side.profile.recipe.positional_encoding]:
            found.append(f"Positional encoding, which is added by {' and '.join(positions)}, is not drawn.")
        return found


def prepare(
    clip: Clip,
    train: str | Recipe,
    infer: str | Recipe,
    *,
    fps: float | Fraction | None = None,
    context: tuple[int, int] = (2, 2),
    encoder: Encoder,
) -> Scene:
    """Chunk a clip by two recipes and prepare all that is needed to show its frames.

    Parameters
    ----------
    clip : Clip
        What `read_clip` returns; it keeps the features that are made of it.
    train, infer : Recipe or str
        The recipes of the two sides; one that stops on this input has no chunks, and its side says why.
    fps : float or Fraction, optional
        Video frames per second, as they are passed to both; by default the clip's own, 25 for one without video.
    context : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    encoder : Encoder
        The weights.

    Raises
    ------
    ParameterError
        If an argument is unknown or out of range, or there is no frame to show.
    AudioError
        If the clip is too short for features.
    """
    rate = (clip.fps or Fraction(DEFAULT_FPS)) if fps is None else exact_fps(fps)
    passed, recipes = as_passed(rate) if fps is None else fps, (recipe_of(train), recipe_of(infer))

    def side(role: str, colour: str, recipe: Recipe) -> Side:
        features, n_samples = clip.features(recipe.features, encoder)
        made = profile(recipe, n_samples, passed, context)
        chunks = None if made.stops else recipe.chunks(features, n_samples, passed, context)
        return Side(role, colour, made, chunks)

    sides = side("training", TRAIN, recipes[0]), side("inference", INFER, recipes[1])
    loud = loudness(clip.waveform, rate)
    scene = Scene(clip, rate, context, sides, encoder.name, loud, clip.expected(encoder))
    if not scene.n_frames:
        raise ParameterError(
            f"{clip.name} lasts {clip.duration_s:.3f} s, less than a frame at {float(rate):g} fps. Take a longer one"
        )
    return scene
