"""MuseTalk's classes of v1 and v1.5: change one import line, keep every signature, shape, type and value.

Where an original fails, its class here raises the same exception; where it ends the process, a `RecipeError`. With
``mended=True`` they take frame rates exactly and return the right number of chunks instead.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musetools.audio.load import load_audio
from musetools.errors import AudioError, EmptyAudioError, RecipeError
from musetools.features.encoder import Encoder, as_encoder
from musetools.features.extract import FeatureRows
from musetools.features.mel import centred_log_mel, normalised
from musetools.features.spec import FeatureSpec
from musetools.recipes.recipe import RECIPES, Recipe
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["Audio2Feature", "AudioProcessor"]

_V1, _V15 = FeatureSpec.named("musetalk-v1"), FeatureSpec.named("musetalk-v1.5")
_SHORTEST = 201  # samples that torch.stft can mirror at their ends


class Audio2Feature:
    """MuseTalk v1's class of this name.

    Parameters
    ----------
    whisper_model_type : str, default "tiny"
        Not used, as in the original.
    model_path : str or Encoder, default "./models/whisper/tiny.pt"
        An OpenAI checkpoint, anything else that `load_encoder` takes, or an encoder.
    mended : bool, default False
        Whether `feature2chunks` takes fps exactly and returns one chunk for every whole frame.

    Notes
    -----
    Source: ``musetalk/whisper/audio2feature.py`` (TMElyralab/MuseTalk).
    """

    mended = False  # where no instance is set up, as in `Audio2Feature.__new__(Audio2Feature)`

    def __init__(
        self, whisper_model_type: str = "tiny", model_path="./models/whisper/tiny.pt", *, mended: bool = False
    ):
        self.whisper_model_type, self.mended = whisper_model_type, mended
        self.model = as_encoder(model_path)

    def audio2feat(self, audio_path: str | np.ndarray | torch.Tensor) -> np.ndarray:
        """Return v1 features of a file, or of a waveform at 16 kHz, float32 (n_rows, n_layers, width).

        RuntimeError if the audio cannot be read.
        """
        waveform = isinstance(audio_path, (np.ndarray, torch.Tensor))  # which the original takes, too
        try:
            source = (audio_path, SAMPLE_RATE) if waveform else audio_path
            return FeatureRows(source, self.model, _V1, shortest=_SHORTEST).array()
        except AudioError as error:
            raise RuntimeError(f"Failed to load audio: {error}") from error

    def feature2chunks(
        self, feature_array: np.ndarray, fps: float, audio_feat_length: Sequence[int] = (2, 2)
    ) -> list[np.ndarray]:
        """Return a list of chunks, ``(50, 384)`` each for tiny: two too many at 25 fps unless mended."""
        n_samples = len(feature_array) * ROW_SAMPLES
        with _recipe("musetalk-v1-infer", fps, mended=self.mended) as recipe:
            return list(recipe.chunks(feature_array, n_samples, fps, tuple(audio_feat_length)))

    def get_sliced_feature(
        self, feature_array: np.ndarray, vid_idx: int, audio_feat_length: Sequence[int] = (2, 2), fps: float = 25
    ) -> tuple[np.ndarray, list[int]]:
        """Return one frame's chunk and the rows that it takes, clamped at the ends."""
        left, right = audio_feat_length
        centre = int(vid_idx * 50 / fps)
        return _taken_at(feature_array, range(centre - 2 * left, centre + 2 * (right + 1)))

    def get_sliced_feature_sparse(
        self, feature_array: np.ndarray, vid_idx: int, audio_feat_length: Sequence[int] = (2, 2), fps: float = 25
    ) -> tuple[np.ndarray, list[int]]:
        """Return the chunk of the row before and at each neighbouring frame's start; at the ends, one row twice."""
        (left, right), last, taken = audio_feat_length, len(feature_array) - 1, []
        for frame in range(vid_idx - left, vid_idx + right + 1):
            row = int(frame * 50 / fps)
            taken += [row - 1, row] if 1 <= row <= last else [row, row]
        return _taken_at(feature_array, taken)


class AudioProcessor:
    """MuseTalk 1.5's class of this name.

    Parameters
    ----------
    feature_extractor_path : str, default "openai/whisper-tiny/"
        A Whisper folder; read for its number of mel bins where it is there, else 80.
    mended : bool, default False
        Whether `get_whisper_chunk` takes fps exactly, returns one chunk for every whole frame and clamps at the edges.

    Notes
    -----
    Source: ``musetalk/utils/audio_processor.py`` (TMElyralab/MuseTalk).
    """

    mended = False  # as above

    def __init__(self, feature_extractor_path: str = "openai/whisper-tiny/", *, mended: bool = False):
        config = Path(feature_extractor_path) / "preprocessor_config.json"
        self.n_mels = json.loads(config.read_text(encoding="utf-8"))["feature_size"] if config.is_file() else 80
        self.mended = mended

    def get_audio_feature(
        self, wav_path: str, start_index: int = 0, weight_dtype: torch.dtype | None = None
    ) -> tuple[list[torch.Tensor], int] | None:
        """Return the log-mel of each 30 s, ``(1, 80, 3000)``, and the number of samples; None if there is no file."""
        if not os.path.exists(wav_path):
            return None
        try:
            waveform = load_audio(wav_path, decoder=_V15.decoder)
        except EmptyAudioError:
            return [], 0
        length = _V15.window.pad_to * ROW_SAMPLES
        segments = [waveform[i : i + length] for i in range(0, len(waveform), length)]
        mels = [centred_log_mel(np.pad(segment, (0, length - len(segment))), self.n_mels) for segment in segments]
        return [normalised(mel, mel.max())[None].to(weight_dtype) for mel in mels], len(waveform)

    def get_whisper_chunk(
        self,
        whisper_input_features: list[torch.Tensor],
        device: str | torch.device,
        weight_dtype: torch.dtype,
        whisper: Any,
        librosa_length: int,
        fps: float = 25,
        audio_padding_length_left: int = 2,
        audio_padding_length_right: int = 2,
    ) -> torch.Tensor:
        """Return the chunks of a clip, ``(n_frames, 50, 384)`` for tiny, on `device` and of `weight_dtype`.

        `whisper` is a Hugging Face ``WhisperModel`` or an `Encoder`.
        """
        mels = [mel.to(device).to(weight_dtype) for mel in whisper_input_features]
        features = torch.cat([_hidden_states(whisper, mel).to(device, weight_dtype) for mel in mels], dim=1)[0]
        fps, context = fps if self.mended else int(fps), (audio_padding_length_left, audio_padding_length_right)
        with _recipe("musetalk-v1.5-infer", fps, mended=self.mended) as recipe:
            rows = recipe.chunk_rows(librosa_length, fps, context)
        with_zeros = torch.cat([features, torch.zeros_like(features[:1])])  # row -1
        return with_zeros[torch.from_numpy(rows).to(device)].flatten(1, 2)


def _hidden_states(whisper: Any, mel: torch.Tensor) -> torch.Tensor:
    """Return every layer's hidden states of a batch, (batch, rows, layers, width)."""
    if isinstance(whisper, Encoder):
        return whisper.hidden_states(mel)
    return torch.stack(whisper.encoder(mel, output_hidden_states=True).hidden_states, dim=2)


@contextmanager
def _recipe(published: str, fps: float, *, mended: bool) -> Iterator[Recipe]:
    """Give the published recipe, or the canonical one; what stops it is raised as the original raises it.

    Where the original ends the process, it is the RecipeError itself.
    """
    _ = ROW_RATE / fps  # may raise: the originals' first use of fps is to divide by it
    try:
        yield RECIPES["musetools" if mended else published]
    except RecipeError as error:
        if error.original is SystemExit:
            raise
        raise error.original(str(error)) from error


def _taken_at(features: np.ndarray, rows: Iterable[int]) -> tuple[np.ndarray, list[int]]:
    """Take rows, clamped at the ends, and join them to a chunk; return the rows that were taken, too."""
    taken = np.clip(list(rows), 0, len(features) - 1)
    return features[taken].reshape(-1, features.shape[-1]), taken.tolist()
