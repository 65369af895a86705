"""Everything that puts lips out of sync, found before a week of training: in clips, folders, stores and chunks."""

import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from musetools.audio.load import load_audio
from musetools.audio.loudness import loudness
from musetools.check.clip import ClipAudit, audit_clip, known_samples
from musetools.check.findings import Finding, by_level
from musetools.check.folder import FolderAudit, audit_folder, worst_first
from musetools.features.encoder import Encoder
from musetools.lab.alignment.converter import ConverterAudit, audit_converter
from musetools.lab.alignment.lag import MeasuredLag, measure_lags
from musetools.lab.answer import Answer
from musetools.lab.project import project_file
from musetools.lips import LipSync, MouthModel, MouthSeries, mouth_measures, read_mouth
from musetools.lips.estimate import compared, expected_and_sync
from musetools.lips.folder import WARNING_MS, with_sync
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.recipes.sampler import SamplerAudit, audit_sampler
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE
from musetools.train.store import FeatureStore

__all__ = ["Alignment", "Mouth", "check_store", "evaluate", "look_at_mouth"]

NAMED = 5  # clips that the answer names
FINE_FPS = 100  # values of loudness a second in which a burst is looked for
SHUT, BURST_S = 0.05, 0.08  # share of frames in which lips count as shut; length of the burst, and of what is before it
LENGTHS = (750, 800, 1000, 1500)  # frames of clips whose starts are replayed beside those of the clip itself


@dataclass(frozen=True, eq=False)
class Mouth:
    """A clip's mouth and its sound."""

    seen: MouthSeries
    expected: np.ndarray  # (n_rows, n_measures): the mouth expected from the sound
    sync: LipSync

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mouth seen and the one expected, (n_points,) each, 100 a second, mean 0 and deviation 1."""
        even, known, wanted = compared(self.seen, self.expected)
        seen, expected = even.mean(axis=1), wanted.mean(axis=1)
        seen = np.where(known, seen / max(seen[known].std(), 1e-9), np.nan)
        return seen, expected / max(expected.std(), 1e-9)

    def plosive(self, waveform: np.ndarray) -> int | None:
        """Return the frame with shut lips after which sound, moved to the mouth, rises most.

        None without pictures, or without sound around any frame with shut lips.
        """
        lips, times = self.seen.values[:, 0], self.seen.times_s + (self.sync.offset_ms or 0) / 1000
        if self.seen.places is None or not np.isfinite(lips).any():
            return None
        loud = np.maximum(loudness(waveform, FINE_FPS), -70)
        sums = np.concatenate([[0.0], np.cumsum(loud)])
        here, step = np.rint(times * FINE_FPS).astype(int), round(BURST_S * FINE_FPS)
        before, middle, after = (np.clip(here + k * step, 0, len(loud)) for k in (-1, 0, 1))
        rise = (sums[after] - 2 * sums[middle] + sums[before]) / step
        shut = (lips <= np.nanquantile(lips, SHUT)) & (here >= step) & (here < len(loud) - step)
        return int(np.argmax(np.where(shut, rise, -np.inf))) if shut.any() else None


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
        within = f"within {error:.1f} ms for each recipe that runs"
        found.append(f"Clicks confirm the lag expected from the index matrix, {within}.")
        if self.mouth is None:
            return [*found, "Lips were not looked at: give mouth='face' (pip install 'musetools[face]'), or a table."]
        whose = "" if len(audits) == 1 else f" of {Path(self.clip.name).name} alone (musetools check --lips: of all)"
        return [*found, f"Mouth against audio{whose}: {self.mouth.sync}. {self._conclusion()}"]

    def _conclusion(self) -> str:
        if self.mouth.sync.offset_ms is None:
            return "So whether lips fit the sound is not known."
        if beyond := [f for f in self.clip.findings if f.what in ("lips", "lips drift")]:
            mend = f" To mend it: {self.clip.mend}" if "--sound" in self.clip.mend else ""
            return f"{beyond[0].level.capitalize()}: aligned talkers differ by less.{mend}"
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
        Where the mouth's series is from. "face": measured in the video by MediaPipe; "none"; or a table (see
        `read_mouth`). "auto": the csv of the clip's name beside it where there is one, as for the drawn talker,
        otherwise the face where MediaPipe is installed.
    frames_per_sample : int, default 16
        Frames in one item of the training loader.

    Returns
    -------
    Alignment

    Raises
    ------
    ParameterError
        If there is no clip with video and audio, or the table does not belong to it.
    AudioError, MissingExtraError, EncoderError
        If its audio cannot be decoded, or as `mouth_measures`.
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


def look_at_mouth(
    clip: str | os.PathLike, waveform: np.ndarray, frames_s: np.ndarray, encoder: Encoder, mouth: str = "auto"
) -> Mouth | None:
    """Compare a clip's mouth with its sound, a waveform at 16 kHz; None without a series.

    The mouth is expected from the rows of the encoder if that is tiny.en, otherwise from loudness; so is a drawn mouth,
    by the rule that it was drawn by. `frames_s` are the times at which frames are shown; errors are as of `evaluate`.
    """
    beside = Path(clip).with_suffix(".csv")
    if mouth == "auto":
        mouth = str(beside) if beside.is_file() else "face" if find_spec("mediapipe") else "none"
    if mouth == "none":
        return None
    seen = mouth_measures(clip) if mouth == "face" else read_mouth(project_file(mouth), frames_s)
    model = MouthModel.load()
    return Mouth(seen, *expected_and_sync(seen, waveform, encoder if model.fits(encoder) else None, model))


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
