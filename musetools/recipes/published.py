"""The published pipelines as data: how each makes features, which rows each frame takes, and on what input it stops."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from html import escape

import numpy as np

from musetools.chunks.rows import ZERO_ROW, Chunks, window_offsets
from musetools.errors import ParameterError, RecipeError
from musetools.features.extract import EncoderWindow, FeatureSpec
from musetools.recipes import rows as cuts
from musetools.recipes.rows import Context, Cut
from musetools.timing import exact_fps

__all__ = ["RECIPES", "Recipe", "add_positions", "register"]


@dataclass(frozen=True)
class Recipe:
    """A named pipeline: how it makes features, how it makes chunks.

    Parameters
    ----------
    name : str
        What it is called.
    features : FeatureSpec
        How it makes features.
    cut : callable
        ``(n_samples, fps, context) -> (first_frame, rows)``: the number of the first frame that gets a chunk, and the
        index matrix.
    positional_encoding : bool
        Whether `add_positions` is applied to the chunk before the model sees it.
    source : str
        Repository and file.
    version : str
        Version or date of what was read.
    note : str
        What to know of it, and on what input it stops.
    """

    name: str
    features: FeatureSpec
    cut: Callable[[int, float | Fraction, Context], Cut]
    positional_encoding: bool
    source: str
    version: str
    note: str

    def chunk_rows(self, n_samples: int, fps: float | Fraction, context: Context = (2, 2)) -> np.ndarray:
        """Return which feature rows each frame takes.

        Parameters
        ----------
        n_samples : int
            Length of the waveform, 16 kHz.
        fps : float or Fraction
            Video frames per second, as the pipeline would be told.
        context : (int, int), default (2, 2)
            Frames of audio taken left and right of a frame.

        Returns
        -------
        ndarray of int64, shape (n_frames, rows_per_chunk)
            Row numbers on the clip's axis, -1 for a row of zeros; a line for each frame that the pipeline returns.

        Raises
        ------
        RecipeError
            If the pipeline stops on this input.
        ParameterError
            If an argument is out of range.
        """
        return self._cut(n_samples, fps, context)[1]

    def chunks(self, features: np.ndarray, n_samples: int, fps: float | Fraction, context: Context = (2, 2)) -> Chunks:
        """Cut features as the pipeline does.

        Parameters
        ----------
        features : ndarray, shape (n_rows, n_layers, width)
            What ``audio2feat(source, encoder, spec=recipe.features)`` returns.
        n_samples, fps, context
            As in `chunk_rows`.

        Returns
        -------
        Chunks

        Raises
        ------
        RecipeError, ParameterError
            As `chunk_rows`; also if the features lack rows that the pipeline takes.
        """
        first, rows = self._cut(n_samples, fps, context)
        if rows.max(initial=ZERO_ROW) >= len(features):
            raise ParameterError(
                f"{self.name} takes rows up to {rows.max()} of {n_samples} samples, the features have {len(features)}: "
                f"make them with spec=RECIPES[{self.name!r}].features"
            )
        return Chunks(features, rows, fps, first_frame=first)

    def model_input(self, chunks: Chunks, frame: int) -> np.ndarray:
        """Return what the model is given for a frame: its chunk, with positional encoding where the pipeline adds it.

        Parameters
        ----------
        chunks : Chunks
            What `chunks` returned.
        frame : int
            Number of the video frame.

        Returns
        -------
        ndarray of float32, shape (rows_per_chunk · n_layers, width)

        Raises
        ------
        ParameterError
            If the frame has no chunk.
        """
        chunk = chunks.at(frame)
        return add_positions(chunk) if self.positional_encoding else chunk

    def first_frame(self, n_samples: int, fps: float | Fraction, context: Context = (2, 2)) -> int:
        """Return the number of the frame that the first line of `chunk_rows` belongs to."""
        return self._cut(n_samples, fps, context)[0]

    def _cut(self, n_samples: int, fps: float | Fraction, context: Context) -> Cut:
        exact_fps(fps)  # what is no frame rate at all is an error of the caller, not a fault of the pipeline
        window_offsets(context)
        try:
            return self.cut(n_samples, fps, context)
        except RecipeError as error:
            message = f"{self.name} stops on {n_samples} samples at {fps} fps: {error}"
            raise RecipeError(message, error.original) from None

    def __repr__(self) -> str:
        return f"Recipe({self.name!r}, {self.version}, {self.source})"

    def _repr_html_(self) -> str:
        name, version, source, note = map(escape, (self.name, self.version, self.source, self.note))
        return f"<b>{name}</b> ({version}, <code>{source}</code>): {note}"


RECIPES: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Add a recipe to `RECIPES`, so that it can be named wherever a recipe is.

    Raises
    ------
    ParameterError
        If another recipe has this name.
    """
    if RECIPES.setdefault(recipe.name, recipe) is not recipe:
        raise ParameterError(f"there is a recipe {recipe.name!r} already: choose another name")
    return recipe


def add_positions(chunks: np.ndarray) -> np.ndarray:
    """Add MuseTalk's sinusoidal positional encoding to chunks.

    Parameters
    ----------
    chunks : ndarray of float, shape (..., rows, width)
        Chunks, ``(50, 384)`` each for Whisper tiny.

    Returns
    -------
    ndarray of float32, same shape
        Row p gets ``sin(p / 10000^(2k/width))`` in its even, the cosine in its odd dimensions.

    Notes
    -----
    Source: ``PositionalEncoding`` in ``musetalk/models/unet.py`` (TMElyralab/MuseTalk).
    """
    rows, width = chunks.shape[-2:]
    rate = np.exp(np.arange(0, width, 2) * (-math.log(10000.0) / width))
    angle = np.arange(rows)[:, None] * rate
    positions = np.empty((rows, width), np.float32)
    positions[:, 0::2], positions[:, 1::2] = np.sin(angle), np.cos(angle)
    return (chunks + positions).astype(np.float32, copy=False)


_V1, _V15 = FeatureSpec.named("musetalk-v1"), FeatureSpec.named("musetalk-v1.5")
_MUSETALK = "TMElyralab/MuseTalk "
for _recipe in (
    Recipe(
        "musetools",
        features=FeatureSpec.named("musetools"),
        cut=cuts.canonical,
        positional_encoding=False,
        source="musetools/chunks.py",
        version="0.1",
        note="Exact fps, context that does not depend on fps, one chunk for every whole frame, edges clamped. "
        "Stops where there is a frame but no feature row.",
    ),
    Recipe(
        "musetalk-v1-train",
        features=_V1,
        cut=cuts.v1_files,
        positional_encoding=True,
        source=_MUSETALK + "train_codes branch: scripts/data.py, train_codes/DataLoader.py",
        version="1.0, August 2024",
        note="One file of two rows a frame, k.npy = rows 2k and 2k+1, whatever the fps; a frame whose "
        "neighbour is missing is dropped. No input stops it: a clip too short leaves no frame.",
    ),
    Recipe(
        "musetalk-v1-infer",
        features=_V1,
        cut=cuts.v1,
        positional_encoding=True,
        source=_MUSETALK + "musetalk/whisper/audio2feature.py",
        version="1.0, April 2024",
        note="Edges clamped; the end is tested after a chunk is appended, so there are two too many at 25 fps. "
        "Stops on audio without a feature row.",
    ),
    Recipe(
        "musetalk-v1.5-train",
        features=FeatureSpec(keep_fill=True),
        cut=cuts.v15_loader,
        positional_encoding=False,
        source=_MUSETALK + "musetalk/data/dataset.py, process_audio_features in musetalk/utils/utils.py",
        version="1.5, September 2025",
        note="Two rows a frame, whatever the fps, in a 30 s window that starts at 0 or, for frames from 700 of "
        "a block on, at 4 s: frames from 750 on get the audio of the first 30 s. Zeros before row 0; past "
        "the end of the audio, what the encoder makes of silence. The matrix takes every frame for the "
        "first of its sample.",
    ),
    Recipe(
        "musetalk-v1.5-infer",
        features=_V15,
        cut=cuts.v15,
        positional_encoding=True,
        source=_MUSETALK + "musetalk/utils/audio_processor.py",
        version="1.5, March 2025",
        note="Counts in int(fps) and in floats, pads by ceil(50 / int(fps)) zero rows a frame of context. "
        "Stops the process at 50 fps and above, on audio of 40 to 60 ms, and on audio without a frame.",
    ),
    Recipe(
        "livetalking",
        features=FeatureSpec(window=EncoderWindow(0.2, 0.64, 0.2, 30)),
        cut=partial(cuts.livetalking, centred=True),
        positional_encoding=True,
        source="lipku/LiveTalking avatars/audio_features/whisper.py, base_asr.py",
        version="August 2026, context [2, 3]",
        note="A buffer of 10 + 2·16 + 10 PCM blocks slides by 16 frames, two rows a frame whatever the fps; 20 "
        "ms blocks at 25 fps alone. Stops where fps is no int. The published code cuts a chunk out of one "
        "buffer; features here keep each row from the buffer whose middle it lies in, so chunks at a "
        "step's end hold rows of two passes.",
    ),
    Recipe(
        "livetalking-0-5",
        features=FeatureSpec(window=EncoderWindow(0.2, 0.64, 0.2, 30)),
        cut=partial(cuts.livetalking, centred=False),
        positional_encoding=True,
        source="lipku/LiveTalking avatars/audio_features/whisper.py, base_asr.py",
        version="November 2025 to August 2026, context [0, 5]",
        note="As livetalking, but all ten rows lie ahead: 80 ms in the future at 25 fps.",
    ),
    Recipe(
        "latentsync",
        features=_V1,
        cut=cuts.v1,
        positional_encoding=False,
        source="bytedance/LatentSync latentsync/whisper/audio2feature.py",
        version="1.6, June 2025",
        note="As musetalk-v1-infer; its pipelines convert every video to 25 fps first and call it at 25.",
    ),
    Recipe(
        "openavatarchat",
        features=replace(_V15, window=EncoderWindow(0, 1, 0, 30), keep_fill=True),
        cut=cuts.openavatarchat,
        positional_encoding=True,
        source="HumanAIGC-Engineering/OpenAvatarChat src/handlers/avatar/musetalk/avatar_musetalk_processor.py",
        version="November 2025",
        note="Every second, padded to a whole one, is a clip of its own to musetalk-v1.5-infer: zeros at every "
        "boundary. Frames are counted at 24 kHz, rounded up in each second. Stops where "
        "musetalk-v1.5-infer does.",
    ),
    Recipe(
        "musetalkplus-train",
        features=_V1,
        cut=cuts.plus_files,
        positional_encoding=True,
        source="IronSpiderMan/MuseTalkPlus musetalk/datasets.py, musetalk/audio/audio_feature_extract.py",
        version="September 2024",
        note="Loads frames i-2 … i+1 and leaves the place of i+2 zero, though its inference fills it; never "
        "loads a clip's last file. Whatever the fps. Stops where left and right context differ.",
    ),
):
    register(_recipe)
