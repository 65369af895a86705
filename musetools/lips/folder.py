"""What lips say of the clips of a check: offset, drift and confidence of each, and findings with a level.

An offset counts against the median of the folder's clips, where there are some: what all clips share is a property of
the camera or the converter, and of how talkers' mouths lead their sound.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from musetools.audio.load import load_audio
from musetools.check.clip import ClipAudit, audit_clip
from musetools.check.findings import Finding, by_level
from musetools.check.folder import FolderAudit, worst_first
from musetools.errors import AudioError, ParameterError
from musetools.features.encoder import Encoder
from musetools.lips.estimate import FARTHEST_S, REACH_S, LipSync, in_words, lip_sync
from musetools.lips.expected import MouthModel
from musetools.lips.mouth import SEVERAL_FACES, mouth_measures
from musetools.lips.series import MouthSeries, read_mouth
from musetools.table import signed
from musetools.worker import Worker

__all__ = ["lips_errors", "of_lips", "with_lips", "with_sync"]

WARNING_MS, ERROR_MS = 80.0, 160.0  # beyond, with the whole interval
TYPICAL = 4  # clips with a number whose median is the folder's own offset
CLEAR_S = 4.0  # of face and sound: all clips of people so long that were tried got a number
NOT_COMPARED = "no file that can be read", "no video", "no sound"  # which are findings of their own, but for the second


def with_lips(
    audit: FolderAudit,
    encoder: Encoder | None,
    *,
    mouth: str | os.PathLike | None = None,
    face: tuple[float, float] | None = None,
    reach_s: float = REACH_S,
    progress: bool = False,
    **tracks: int | None,
) -> FolderAudit:
    """Look at the lips of checked clips; arguments and errors as of `lip_sync`, `mouth_measures` and `audit_folder`.

    `mouth` is another tracker's series of the only clip, see `read_mouth`. `remarks` say what all clips share.
    """
    if mouth is not None and len(audit.audits) != 1:
        raise ParameterError(f"one series of a mouth fits one clip; got {len(audit.audits)} clips. Name one of them")
    with Worker() as worker:
        every = [
            _sync(worker, clip, encoder, reach_s, series=mouth, face=face, **tracks)
            for clip in tqdm(audit.audits, unit="clip", file=sys.stderr, disable=not progress)
        ]
    numbers = [sync.offset_ms for sync in every if sync.offset_ms is not None]
    usual = float(np.median(numbers)) if len(numbers) >= TYPICAL else 0.0
    clips = [with_sync(clip, sync, usual) for clip, sync in zip(audit.audits, every, strict=True)]
    ranked = sorted(clips, key=lambda clip: -_apart(clip, usual))
    return replace(worst_first(ranked), passed_over=audit.passed_over, remarks=_remarks(numbers, usual))


@contextmanager
def lips_errors(encoder: Encoder | None, **tracks: int | None) -> Iterator[Callable[[str | os.PathLike], str | None]]:
    """Give a function of a file's path that says why lips forbid training on it; None if they forbid nothing.

    One process looks at all that it is asked about. Errors as `mouth_measures`.
    """
    with Worker() as worker:

        def error_of(path: str | os.PathLike) -> str | None:
            found = of_lips(_sync(worker, audit_clip(path, quick=True, **tracks), encoder, **tracks))
            return next((finding.sentence for finding in found if finding.level == "error"), None)

        yield error_of


def _sync(
    worker: Worker,
    clip: ClipAudit,
    encoder: Encoder | None,
    reach_s: float = REACH_S,
    *,
    series: str | os.PathLike | None = None,
    face: tuple[float, float] | None = None,
    **tracks: int | None,
) -> LipSync:
    info = clip.info
    for there, what in zip((info, info and info.video, info and info.audio), NOT_COMPARED, strict=True):
        if there is None:
            return LipSync(reach_s=reach_s, why=what)
    if series is not None:
        mouth, waveform = read_mouth(series, np.array(clip.timeline.frames_s)), load_audio(clip.name, **tracks)
    else:
        try:
            ((mouth, waveform),) = worker.run(_mouth_and_sound, clip.name, face=face, **tracks)
        except (AudioError, ParameterError) as error:
            return LipSync(reach_s=reach_s, why=str(error))
    sync = lip_sync(mouth, waveform, encoder, reach_s=reach_s)
    every = [why for why in (sync.why, *mouth.notes) if why]
    return replace(sync, why="; ".join(w for w in every if not any(o != w and o.startswith(w) for o in every)))


def _mouth_and_sound(
    path: str, *, face: tuple[float, float] | None, audio_track: int | None = None, video_track: int | None = None
) -> Iterator[tuple[MouthSeries, np.ndarray]]:
    """Yield both, once: a generator, so that a `Worker` can run it."""
    mouth = mouth_measures(path, face=face, video_track=video_track)
    yield mouth, load_audio(path, audio_track=audio_track, video_track=video_track)


def with_sync(clip: ClipAudit, sync: LipSync, usual_ms: float = 0.0) -> ClipAudit:
    """Return an audit with what lips say of its clip, against what is usual in its folder."""
    return replace(clip, lips=sync, findings=by_level([*clip.findings, *of_lips(sync, usual_ms)]))


def of_lips(sync: LipSync, usual_ms: float = 0.0) -> Iterator[Finding]:
    """Judge what lips say of a clip, against what is usual in its folder."""
    if sync.offset_ms is None:
        farther = "match" in sync.why and sync.reach_s < FARTHEST_S
        mend = f"Search farther, by check --lips --reach {FARTHEST_S:g}, look" if farther else "Look"
        sentence = f"Whether lips fit the sound is not known: {sync.why}. {mend} at it, or leave it out"
        yield Finding(_unknown_level(sync), "lips unknown", sync.confidence, sentence)
        return
    relative = sync.offset_ms - usual_ms
    low, high = (edge - usual_ms for edge in sync.interval_ms)
    if level := _level(low, high):
        against = " against the other clips" if usual_ms else ""
        span = f"({low:+.0f} … {high:+.0f} ms{against})"
        yield Finding(level, "lips", relative, f"By the lips {in_words(relative)} {span}. Move it")
    ends = [edge * sync.seconds for edge in sync.drift_interval_ms_s or (0, 0)]
    if level := _level(*ends):
        sentence = (
            f"By the lips sound drifts {sync.drift_ms_s:+.1f} ms a second: a wrong frame rate or sampling rate. "
            "Export it again at the recording's own rates"
        )
        yield Finding(level, "lips drift", sync.drift_ms_s, sentence)


def _unknown_level(sync: LipSync) -> str:
    wrong_sound = "no better" in sync.why and sync.seconds >= CLEAR_S
    if "no face in any" in sync.why or (wrong_sound and SEVERAL_FACES not in sync.why):  # another one may speak
        return "error"
    return "note" if sync.why in NOT_COMPARED or "needed" in sync.why else "warning"


def _level(low: float, high: float) -> str:
    nearest = max(low, -high)  # of the interval to 0; negative where it holds 0
    return "error" if nearest > ERROR_MS else "warning" if nearest > WARNING_MS else ""


def _apart(clip: ClipAudit, usual_ms: float) -> float:
    return abs(clip.lips.offset_ms - usual_ms) if clip.lips.offset_ms is not None else 0.0


def _remarks(numbers: list[float], usual_ms: float) -> str:
    if not numbers:
        return "lips: no clip's offset can be told"
    low, high = (signed(end) for end in np.quantile(numbers, [0.1, 0.9]))
    text = f"lips: clips with a number: {len(numbers)}, sound {low} … {high} ms (10 … 90 %), positive: late"
    if len(numbers) >= TYPICAL:
        text += f"; median {usual_ms:+.0f} ms, from which each is judged: the camera's or the converter's, not theirs"
    about = MouthModel.load().about
    return f"{text}. The model's own clips lie at {about['median_ms']:+d} ms ± {about['spread_ms']} ms"
