"""LatentSync's class: change one import line, keep every signature, shape, type and value; see the musetalk module."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from musetools.errors import EncoderError
from musetools.features.encoder import as_encoder
from musetools.features.weights import load_pickled
from musetools.files import replacing, sha256_of
from musetools.infer.compat import musetalk

__all__ = ["Audio2Feature"]


class Audio2Feature(musetalk.Audio2Feature):
    """LatentSync's class of this name: torch tensors, its own context, and features cached by the file's name.

    Parameters
    ----------
    model_path : str or Encoder, default "checkpoints/whisper/tiny.pt"
        An OpenAI checkpoint, anything else that `load_encoder` takes, or an encoder.
    device : str, optional
        Where torch computes.
    audio_embeds_cache_dir : str, optional
        Folder of cached features; made where it is missing.
    num_frames : int, default 16
        Frames of `crop_overlap_audio_window`.
    audio_feat_length : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    mended : bool, default False
        Whether fps is taken exactly, one chunk is returned for every whole frame, and the cache is told apart by what
        is in a file and by the weights.

    Notes
    -----
    Source: ``latentsync/whisper/audio2feature.py`` (bytedance/LatentSync).
    """

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
        encoder = as_encoder(model_path, device=device)
        super().__init__(model_path=encoder, mended=mended)
        self.audio_embeds_cache_dir, self.num_frames = audio_embeds_cache_dir, num_frames
        self.audio_feat_length, self.embedding_dim = audio_feat_length, encoder.width
        if audio_embeds_cache_dir:
            Path(audio_embeds_cache_dir).mkdir(parents=True, exist_ok=True)

    def audio2feat(self, audio_path: str | np.ndarray | torch.Tensor) -> torch.Tensor:
        """Return v1 features as a tensor, those of a file from the cache where there is one."""
        if not self.audio_embeds_cache_dir:
            return torch.from_numpy(super().audio2feat(audio_path))
        cached = Path(self.audio_embeds_cache_dir) / self._cache_name(audio_path)
        if cached.is_file():
            try:
                return load_pickled(cached)
            except EncoderError as error:  # as in the original: say so and make it anew
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
            content = sha256_of(file) + self.model.fingerprint
        return f"{Path(name).stem[:100]}-{hashlib.sha256(content.encode()).hexdigest()[:32]}_embeds.pt"

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


def _as_tensor(sliced: tuple[np.ndarray, list[int]]) -> tuple[torch.Tensor, list[int]]:
    return torch.from_numpy(sliced[0]), sliced[1]
