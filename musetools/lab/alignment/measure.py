"""Everything that puts lips out of sync, found before a week of training: in clips, folders, stores and chunks."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from musetools.audio.load import load_audio
from musetools.check.clip import ClipAudit, audit_clip, known_samples
from musetools.check.findings import Finding, by_level
from musetools.check.folder import FolderAudit, audit_folder, worst_first
from musetools.features.encoder import Encoder
from musetools.lab.alignment.converter import ConverterAudit, audit_converter
from musetools.lab.alignment.lag import MeasuredLag, measure_lags
from musetools.lab.alignment.mouth import Mouth, look_at_mouth
from musetools.lab.answer import Answer
from musetools.lips.folder import WARNING_MS, with_sync
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.recipes.sampler import SamplerAudit, audit_sampler
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE
from musetools.train.store import FeatureStore

__all__ = ["Alignment", "check_store", "evaluate"]

NAMED = 5  # clips that the answer names
LENGTHS = (750, 800, 1000, 1500)  # frames of clips whose starts are replayed beside those of the clip itself


@dataclass(frozen=True, eq=False, repr=False)
class Alignment(Answer):
    """What was found about the alignment of a clip, or of a folder of them."""

    folder: FolderAudit  # the audit of every clip
    clip: ClipAudit  # the worst clip that has video and audio; the rest is about it
    waveform: np.ndarray  # float32, (n_samples,): its audio
    mouth: Mouth | None  # its mouth beside its audio, where there is a series of it
    clicks: dict[str, MeasuredLag]  # for each recipe that runs at the clip's frame rate
    samplers: list[SamplerAudit]  # the v1.5 loader, replayed on clips of several lengths
    converter: ConverterAudit  # what the ffmpeg program of this machine does

    def sentences(self) -> list[str]:
        """Write whether to train on the clips, and what is wrong with those that have findings."""
        audits, bad = self.folder.audits, [audit for audit in self.folder.audits if audit.level != "ok"]
        recipe, error = audits[0].recipe.name, max(lag.error_ms for lag in self.clicks.values())
        found = [f"{self.folder.errors} of {len(audits)} clips must not go into training with {recipe} as they are."]
        for audit in bad[:NAMED]:
            name = audit.name.rsplit("/", 1)[-1]
            found += [f"{name}: {finding.sentence}." for finding in audit.findings if finding.level != "note"]
        if len(bad) > NAMED:
            found.append(f"{len(bad) - NAMED} more clips have findings: see the table.")
        found.append(f"Clicks confirm the lag expected from the index matrix, within {error:.1f} ms for every recipe.")
        if self.mouth is None:
            return [*found, "Lips were not looked at: give mouth='face' (pip install 'musetools[face]'), or a table."]
        return [*found, f"Mouth against audio: {self.mouth.sync}. {self._conclusion()}"]

    def _conclusion(self) -> str:
        if self.mouth.sync.offset_ms is None:
            return "So whether lips fit the sound is not known."
        if beyond := [f for f in self.clip.findings if f.what == "lips"]:
            return f"{beyond[0].level.capitalize()}: aligned talkers differ by less. To mend it: {self.clip.mend}"
        return f"That is no more than aligned talkers differ by ({WARNING_MS:.0f} ms): in sync, as far as lips show."


def evaluate(
    clips: str | os.PathLike,
    recipe: str | Recipe,
    encoder: Encoder,
    *,
    mouth: str = "auto",
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
        Any weights for the clicks; tiny.en for the mouth of people.
    mouth : str, default "auto"
        Where the mouth's series is from, see `look_at_mouth`.
    frames_per_sample : int, default 16
        Frames in one item of the training loader.

    Returns
    -------
    Alignment

    Raises
    ------
    ParameterError
        If there is no clip with video and audio, or the table does not belong to it.
    AudioError
        If its audio cannot be decoded.
    """
    folder = audit_folder(clips, recipe)
    clip = folder.focus
    waveform = load_audio(clip.info.path)
    seen = look_at_mouth(clip.info.path, waveform, np.array(clip.timeline.frames_s), encoder, mouth)
    if seen is not None:
        audited, clip = clip, with_sync(clip, seen.sync)
        folder = replace(folder, audits=tuple(clip if one is audited else one for one in folder.audits))
    samplers = [audit_sampler(n, frames_per_sample) for n in sorted({clip.n_frames, *LENGTHS})]
    clicks = measure_lags(encoder, float(clip.fps))
    return Alignment(folder, clip, waveform, seen, clicks, samplers, audit_converter())


def check_store(
    store: FeatureStore, videos: str | os.PathLike | None = None, *, recipe: str | Recipe = "musetools"
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


def _check_clip(store: FeatureStore, clip: str, videos: str | os.PathLike | None, recipe: Recipe) -> ClipAudit:
    record = store.record(clip)
    path = Path((record.source or {}).get("path", clip))
    if videos is not None:  # `extract` writes the folders of a video into the clip's id
        below = Path(videos).joinpath(*clip.split("__"))
        path = below if below.is_file() else Path(videos) / path.name
    audit = audit_clip(path, recipe, quick=True)
    found, declared = list(audit.findings), known_samples(audit.info) if audit.info else None
    if declared is not None and abs(declared - record.samples) > 2 * ROW_SAMPLES:
        gap = (declared - record.samples) / SAMPLE_RATE
        message = f"{path} has {gap:+.2f} s of audio against its features in the store. Extract it again"
        found.append(Finding("error", "other sound", gap, message))
    return ClipAudit(clip, recipe, audit.info, record.samples, audit.n_frames, audit.fps, by_level(found))
