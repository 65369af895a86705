"""Drop-in classes for existing code bases: change one import line, keep every signature, shape, type and value.

Where an original fails, its class here raises the same exception; where it ends the process, a `RecipeError`. With
``mended=True`` they take frame rates exactly and return the right number of chunks instead.
"""

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musetools.audio.load import load_audio
from musetools.chunks.sequence import Chunks
from musetools.errors import AudioError, EmptyAudioError, RecipeError
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.extract import FeatureRows
from musetools.features.mel import centred_log_mel, normalised
from musetools.features.spec import FeatureSpec
from musetools.files import replacing
from musetools.recipes.recipe import RECIPES, Recipe
from musetools.timing import ROW_RATE, ROW_SAMPLES

__all__ = ["Audio2Feature", "AudioProcessor"]

_V1, _V15 = FeatureSpec.named("musetalk-v1"), FeatureSpec.named("musetalk-v1.5")
_SHORTEST = 201  # samples that torch.stft can mirror at their ends
_LATENTSYNC_KEYWORDS = {"device", "audio_embeds_cache_dir", "num_frames", "audio_feat_length"}


def _shows_its_init(cls: type) -> type:
    """Let `help` and Jupyter show what is asked for, not the ``*args`` of ``__new__``."""
    init = inspect.signature(cls.__init__)
    cls.__signature__ = init.replace(parameters=list(init.parameters.values())[1:])
    return cls


@_shows_its_init
class Audio2Feature:
    """MuseTalk v1's class of this name; with LatentSync's keywords, LatentSync's.

    Parameters
    ----------
    whisper_model_type : str, default "tiny"
        Not used, as in the original.
    model_path : str or Encoder, default "./models/whisper/tiny.pt"
        An OpenAI checkpoint, anything else that `load_encoder` takes, or an encoder.
    mended : bool, default False
        Whether `feature2chunks` takes fps exactly and returns one chunk for every whole frame.
    **kwargs
        Any of LatentSync's ``device``, ``audio_embeds_cache_dir``, ``num_frames`` (default 16) and
        ``audio_feat_length`` (default [2, 2]) makes it LatentSync's class, which gives torch tensors.

    Notes
    -----
    Sources: ``musetalk/whisper/audio2feature.py`` (TMElyralab/MuseTalk), ``latentsync/whisper/audio2feature.py``
    (bytedance/LatentSync).
    """

    def __new__(cls, *args, **kwargs):
        """Make LatentSync's class where its keywords are given: both originals have this one name."""
        latentsync = cls is Audio2Feature and _LATENTSYNC_KEYWORDS & kwargs.keys()
        return object.__new__(_LatentSync if latentsync else cls)

    def __init__(
        self, whisper_model_type: str = "tiny", model_path="./models/whisper/tiny.pt", *, mended: bool = False
    ):
        self.whisper_model_type, self.mended = whisper_model_type, mended
        self.model = model_path if isinstance(model_path, Encoder) else load_encoder(model_path)

    def audio2feat(self, audio_path: str) -> np.ndarray:
        """Return v1 features, float32 (n_rows, n_layers, width); RuntimeError if the audio cannot be read."""
        try:
            rows = list(FeatureRows(audio_path, self.model, _V1, shortest=_SHORTEST))
        except AudioError as error:
            raise RuntimeError(f"Failed to load audio: {error}") from error
        return np.concatenate([np.empty((0, self.model.n_layers, self.model.width), np.float32), *rows])

    def feature2chunks(
        self, feature_array: np.ndarray, fps: float, audio_feat_length: Sequence[int] = (2, 2)
    ) -> list[np.ndarray]:
        """Return a list of chunks, ``(50, 384)`` each for tiny: two too many at 25 fps unless mended."""
        recipe = RECIPES["musetools" if self.mended else "musetalk-v1-infer"]
        return list(_chunks(recipe, feature_array, fps, audio_feat_length))

    def get_sliced_feature(
        self, feature_array: np.ndarray, vid_idx: int, audio_feat_length: Sequence[int] = (2, 2), fps: float = 25
    ) -> tuple[np.ndarray, list[int]]:
        """Return one frame's chunk and the rows that it takes, clamped at the ends."""
        left, right = audio_feat_length
        centre = int(vid_idx * 50 / fps)
        return _gathered(feature_array, range(centre - 2 * left, centre + 2 * (right + 1)))

    def get_sliced_feature_sparse(
        self, feature_array: np.ndarray, vid_idx: int, audio_feat_length: Sequence[int] = (2, 2), fps: float = 25
    ) -> tuple[np.ndarray, list[int]]:
        """Return the chunk of the row before and at each neighbouring frame's start; at the ends, one row twice."""
        (left, right), last, taken = audio_feat_length, len(feature_array) - 1, []
        for frame in range(vid_idx - left, vid_idx + right + 1):
            row = int(frame * 50 / fps)
            taken += [row - 1, row] if 1 <= row <= last else [row, row]
        return _gathered(feature_array, taken)


@_shows_its_init
class _LatentSync(Audio2Feature):
    """LatentSync's class: torch tensors, its own context, and features cached by the file's name."""

    def __init__(
        self,
        model_path="checkpoints/whisper/tiny.pt",
        device: str | None = None,
        audio_embeds_cache_dir: str | None = None,
        num_frames: int = 16,
        audio_feat_length: Sequence[int] = (2, 2),
        *,
        mended: bool = False,
    ):
        encoder = model_path if isinstance(model_path, Encoder) else load_encoder(model_path, device=device)
        super().__init__(model_path=encoder, mended=mended)
        self.audio_embeds_cache_dir, self.num_frames = audio_embeds_cache_dir, num_frames
        self.audio_feat_length, self.embedding_dim = audio_feat_length, encoder.width
        if audio_embeds_cache_dir:
            Path(audio_embeds_cache_dir).mkdir(parents=True, exist_ok=True)

    def audio2feat(self, audio_path: str) -> torch.Tensor:
        """Return v1 features as a tensor, from the cache where there is one."""
        if not self.audio_embeds_cache_dir:
            return torch.from_numpy(super().audio2feat(audio_path))
        cached = Path(self.audio_embeds_cache_dir) / self._cache_name(audio_path)
        try:
            return torch.load(cached, weights_only=True)
        except FileNotFoundError:
            pass
        except Exception as error:  # whatever is wrong with a cache file, as in the original: say so and make it anew
            print(f"{type(error).__name__} - {error} - {cached}")
        features = torch.from_numpy(super().audio2feat(audio_path))
        with replacing(cached) as file:
            torch.save(features, file)
        return features

    def _cache_name(self, audio_path: str) -> str:
        """Name the cache file by the media file's name alone, which two folders may share; mended, by what is in it."""
        name = os.path.basename(audio_path)
        if not self.mended:
            return name.replace(".mp4", "_embeds.pt")
        with open(audio_path, "rb") as file:
            content = hashlib.file_digest(file, "sha256")
        content.update(self.model.fingerprint.encode())
        return f"{Path(name).stem[:100]}-{content.hexdigest()[:32]}_embeds.pt"

    def feature2chunks(self, feature_array: torch.Tensor, fps: float) -> list[torch.Tensor]:
        """Return a list of chunks, tensors ``(50, 384)`` each for tiny."""
        chunks = super().feature2chunks(np.asarray(feature_array), fps, self.audio_feat_length)
        return [torch.from_numpy(chunk) for chunk in chunks]

    def get_sliced_feature(self, feature_array: torch.Tensor, vid_idx: int, fps: float = 25) -> tuple:
        """Return one frame's chunk as a tensor, and the rows that it takes."""
        return _as_tensor(super().get_sliced_feature(np.asarray(feature_array), vid_idx, self.audio_feat_length, fps))

    def get_sliced_feature_sparse(self, feature_array: torch.Tensor, vid_idx: int, fps: float = 25) -> tuple:
        """Return the sparse chunk of a frame as a tensor, and the rows that it takes."""
        array = np.asarray(feature_array)
        return _as_tensor(super().get_sliced_feature_sparse(array, vid_idx, self.audio_feat_length, fps))

    def crop_overlap_audio_window(self, audio_feat: torch.Tensor, start_index: int) -> torch.Tensor:
        """Return the chunks of `num_frames` frames from `start_index` on at 25 fps, ``(num_frames, 50, 384)``."""
        frames = range(start_index, start_index + self.num_frames)
        return torch.stack([self.get_sliced_feature(audio_feat, i, fps=25)[0] for i in frames])


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
        recipe = RECIPES["musetools" if self.mended else "musetalk-v1.5-infer"]
        context = (audio_padding_length_left, audio_padding_length_right)
        rows = _rows(recipe, librosa_length, fps if self.mended else int(fps), context)
        with_zeros = torch.cat([features, torch.zeros_like(features[:1])])  # row -1
        return with_zeros[torch.from_numpy(rows).to(device)].flatten(1, 2)


def _hidden_states(whisper: Any, mel: torch.Tensor) -> torch.Tensor:
    """Return every layer's hidden states of a batch, (batch, rows, layers, width)."""
    if isinstance(whisper, Encoder):
        return whisper.hidden_states(mel)
    return torch.stack(whisper.encoder(mel, output_hidden_states=True).hidden_states, dim=2)


@contextmanager
def _as_the_original() -> Iterator[None]:
    """Turn what stops a recipe into what the original raises, unless that ends the process."""
    try:
        yield
    except RecipeError as error:
        if error.original is SystemExit:
            raise
        raise error.original(str(error)) from error


def _chunks(recipe: Recipe, features: np.ndarray, fps: float, context: Sequence[int]) -> Chunks:
    with _as_the_original():
        return recipe.chunks(features, len(features) * ROW_SAMPLES, _checked(fps), tuple(context))


def _rows(recipe: Recipe, n_samples: int, fps: float, context: Sequence[int]) -> np.ndarray:
    with _as_the_original():
        return recipe.chunk_rows(n_samples, _checked(fps), tuple(context))


def _checked(fps: float) -> float:
    """Fail as the originals do, whose first use of fps is to divide by it."""
    _ = ROW_RATE / fps
    return fps


def _gathered(features: np.ndarray, rows: Iterable[int]) -> tuple[np.ndarray, list[int]]:
    """Take rows, clamped at the ends, and join them to a chunk."""
    taken = np.clip(list(rows), 0, len(features) - 1)
    return features[taken].reshape(-1, features.shape[-1]), taken.tolist()


def _as_tensor(sliced: tuple[np.ndarray, list[int]]) -> tuple[torch.Tensor, list[int]]:
    return torch.from_numpy(sliced[0]), sliced[1]
