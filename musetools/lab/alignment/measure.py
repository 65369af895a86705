"""Find out why lips are out of sync before a week of training: clips, folders, stores, chunks, mouth and sound."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musetools.audio.load import load_audio
from musetools.check.clip import ClipAudit, audit_clip, known_samples
from musetools.check.findings import Finding, by_level
from musetools.check.folder import FolderAudit, audit_folder, worst_first
from musetools.features.encoder import Encoder
from musetools.lab.alignment.conversions import ConverterAudit
from musetools.lab.alignment.converter import audit_converter
from musetools.lab.alignment.lag import MeasuredLag, measure_lags
from musetools.lab.alignment.offset import OffsetEstimate, estimate_offset
from musetools.lab.answer import Answer
from musetools.lab.speech import read_openings
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.recipes.sampler import SamplerAudit, audit_sampler
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE

if TYPE_CHECKING:
    from musetools.train.store import FeatureStore

__all__ = ["Alignment", "check_store", "conclusions", "evaluate"]

NAMED = 5  # clips that the conclusions name
LENGTHS = (750, 800, 1000, 1500)  # frames of clips whose starts are replayed beside those of the clip itself


@dataclass(frozen=True, eq=False, repr=False)
class Alignment(Answer):
    """What was found about the alignment of a clip, or of a folder of them.

    Attributes
    ----------
    folder : FolderAudit
        The audit of every clip.
    clip : ClipAudit
        The worst clip that has picture and sound; the rest is about it.
    waveform : ndarray of float32, shape (n_samples,)
        Its sound.
    mouth : ndarray of float64, shape (n_frames,), or None
        How far the mouth is open in each frame, where a table was given.
    offset : OffsetEstimate or None
        How late the sound comes after that mouth.
    clicks : dict of str to MeasuredLag
        Lag measured with clicks, for each recipe that runs at the clip's frame rate.
    samplers : list of SamplerAudit
        The v1.5 loader, replayed on clips of several lengths.
    converter : ConverterAudit
        What the ffmpeg program of this machine does.
    """

    folder: FolderAudit
    clip: ClipAudit
    waveform: np.ndarray
    mouth: np.ndarray | None
    offset: OffsetEstimate | None
    clicks: dict[str, MeasuredLag]
    samplers: list[SamplerAudit]
    converter: ConverterAudit

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return conclusions(self.folder, self.clicks, self.offset)


def evaluate(
    clips: str | os.PathLike,
    recipe: str | Recipe,
    encoder: Encoder,
    *,
    openings: str | os.PathLike | None = None,
    frames_per_sample: int = 16,
) -> Alignment:
    """Look for every cause of lips out of sync: the answer of notebook 02.

    Parameters
    ----------
    clips : path
        A video, or a folder of them.
    recipe : Recipe or str
        The pipeline that is to be trained or run on it.
    encoder : Encoder
        Any weights, for the clicks.
    openings : path, optional
        Table of the clip's mouth openings, see `musetools.lab.speech.read_openings`.
    frames_per_sample : int, default 16
        Frames in one item of the training loader.

    Returns
    -------
    Alignment

    Raises
    ------
    ParameterError
        If there is no clip with picture and sound, or the table does not belong to it.
    AudioError
        If its sound cannot be decoded.
    """
    folder = audit_folder(clips, recipe)
    clip, fps = folder.focus, float(folder.focus.fps)
    waveform, mouth, offset = load_audio(clip.info.path), None, None
    if openings is not None:
        mouth = read_openings(openings, fps=clip.fps, n_frames=clip.n_frames)[1]
        offset = estimate_offset(mouth, waveform, clip.fps)
    samplers = [audit_sampler(n, frames_per_sample) for n in sorted({clip.n_frames or 0, *LENGTHS})]
    return Alignment(folder, clip, waveform, mouth, offset, measure_lags(encoder, fps), samplers, audit_converter())


def conclusions(folder: FolderAudit, clicks: dict[str, MeasuredLag], offset: OffsetEstimate | None) -> list[str]:
    """Write whether to train on some clips, and what is wrong with those that have findings.

    Parameters
    ----------
    folder : FolderAudit
        The audit of the clips.
    clicks : dict of str to MeasuredLag
        By recipe.
    offset : OffsetEstimate or None
        Mouth against sound, where that was estimated.

    Returns
    -------
    list of str
    """
    bad = [audit for audit in folder.audits if audit.level != "ok"]
    recipe, error = folder.audits[0].recipe.name, max(lag.error_ms for lag in clicks.values())
    found = [f"{folder.errors} of {len(folder.audits)} clips must not go into training with {recipe} as they are."]
    for audit in bad[:NAMED]:
        name = audit.name.rsplit("/", 1)[-1]
        found += [f"{name}: {finding.sentence}." for finding in audit.findings if finding.level != "note"]
    if len(bad) > NAMED:
        found.append(f"{len(bad) - NAMED} more clips have findings: see the table.")
    found.append(f"Clicks confirm the lag expected from the index matrix, within {error:.1f} ms for every recipe.")
    return found if offset is None else [*found, f"Mouth against sound: {offset}."]


def check_store(
    store: "FeatureStore", videos: str | os.PathLike | None = None, *, recipe: str | Recipe = "musetools"
) -> FolderAudit:
    """Audit a whole training set against its features.

    Parameters
    ----------
    store : FeatureStore
        The features.
    videos : path, optional
        Folder of the videos, by the names or below the folders that they were extracted from; by default where the
        store found them.
    recipe : Recipe or str, default "musetools"
        The pipeline that is to be trained.

    Returns
    -------
    FolderAudit
        An audit of each clip; a clip whose video is gone, or has another length than its features, has an error.
    """
    return worst_first(_check_clip(store, clip, videos, recipe_of(recipe)) for clip in store)


def _check_clip(store: "FeatureStore", clip: str, videos: str | os.PathLike | None, recipe: Recipe) -> ClipAudit:
    record = store.record(clip)
    source = Path((record.source or {}).get("path", clip))
    path = source if videos is None else _below(Path(videos), clip, source.name)
    audit = audit_clip(path, recipe, quick=True)
    found, declared = list(audit.findings), known_samples(audit.info) if audit.info else None
    if declared is not None and abs(declared - record.samples) > 2 * ROW_SAMPLES:
        gap = (declared - record.samples) / SAMPLE_RATE
        message = f"{path} has {gap:+.2f} s of sound against its features in the store. Extract it again"
        found.append(Finding("error", "other sound", gap, message))
    return ClipAudit(clip, recipe, audit.info, record.samples, audit.n_frames, audit.fps, by_level(found))


def _below(folder: Path, clip: str, name: str) -> Path:
    """Find a clip's video: `extract` writes the folders that it lay in into its id."""
    path = folder.joinpath(*clip.split("__"))
    return path if path.is_file() else folder / name
