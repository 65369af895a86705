"""The v1.5 training loader's index arithmetic: which audio it takes for a frame, and for which starts that is wrong."""

from dataclasses import dataclass

import numpy as np

from musetools.chunks.rows import checked_count, checked_size
from musetools.errors import ParameterError
from musetools.timing import SAMPLE_RATE

__all__ = ["MUSETALK_FPS", "SamplerAudit", "audit_sampler", "training_window"]

MUSETALK_FPS = 25  # what its training code takes every video for


def training_window(frame: int | np.ndarray) -> tuple[int | np.ndarray, int | np.ndarray]:
    """Return which audio the v1.5 training loader takes for a frame, or for several, faults included.

    That is the first sample of the 30 s that the encoder sees, 0 or 64000 (4 s), and the frame's number within them, as
    the loader counts it (and as it counts for the sync loss). Frames from 750 on get the audio of the first 30 s; from
    700 of a block on, the stretch starts 4 s later and the index stays shifted.

    Source: ``FaceDataset.get_audio_file`` in ``musetalk/data/dataset.py`` (TMElyralab/MuseTalk).
    """
    block = 30 * MUSETALK_FPS
    shifted = frame % block
    late = shifted + 2 * MUSETALK_FPS >= block
    return late * 4 * SAMPLE_RATE, shifted - late * 4 * MUSETALK_FPS


@dataclass(frozen=True)
class SamplerAudit:
    """What the v1.5 training loader does to the samples of a clip."""

    n_frames: int
    frames_per_sample: int
    starts: int  # frames that a sample may start with
    wrong_audio: tuple[int, ...]  # starts that get the audio of another half minute (K5)
    wrong_mel: tuple[int, ...]  # starts whose sync loss gets another mel than that of the frame (K6)

    @property
    def wrong_audio_share(self) -> float:
        """Share of the starts with wrong audio, 0 … 1."""
        return len(self.wrong_audio) / max(1, self.starts)

    @property
    def wrong_mel_share(self) -> float:
        """Share of the starts with a wrong sync mel, 0 … 1."""
        return len(self.wrong_mel) / max(1, self.starts)

    def __repr__(self) -> str:
        return (
            f"of {self.starts} starts in {self.n_frames} frames, {100 * self.wrong_audio_share:.1f} % get wrong audio, "
            f"{100 * self.wrong_mel_share:.1f} % a wrong sync mel"
        )


def audit_sampler(n_frames: int, frames_per_sample: int = 16) -> SamplerAudit:
    """Replay the index arithmetic of MuseTalk 1.5's training loader over every start of a clip; T frames a sample.

    Source: ``FaceDataset.__getitem__`` in ``musetalk/data/dataset.py`` (TMElyralab/MuseTalk).
    """
    n_frames = checked_count("n_frames", n_frames)
    checked_size(n_frames, (0, 0))
    if checked_count("frames_per_sample", frames_per_sample) < 1:
        raise ParameterError(f"a sample has 1 frame or more; got {frames_per_sample!r}")
    starts = np.arange(max(0, n_frames - frames_per_sample + 1))
    first, shifted = training_window(starts)
    covered = first // (SAMPLE_RATE // MUSETALK_FPS) + shifted
    wrong_audio, wrong_mel = (tuple(np.flatnonzero(frames != starts).tolist()) for frames in (covered, shifted))
    return SamplerAudit(n_frames, frames_per_sample, len(starts), wrong_audio, wrong_mel)
