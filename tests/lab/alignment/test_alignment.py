"""The answer of notebook 02 names what is wrong, computed from the numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figure_checks import check

from musetools import ParameterError, audit_clip
from musetools.check.clip import ClipAudit
from musetools.check.folder import FolderAudit
from musetools.lab.alignment import Alignment, ConverterAudit, MeasuredLag, Mouth, answer_box, evaluate
from musetools.lab.alignment.measure import NAMED
from musetools.lips import LipSync, MouthSeries
from musetools.lips.folder import with_sync

RATE = 16_000
DATA = Path(__file__).resolve().parents[3] / "data"
TIMES = np.arange(100) / 25
SYNC = LipSync(40.3, (35, 45), 0.07, (-1, 1), 0.99, 1.0, 4.0, 0.6)
LATE = Mouth(MouthSeries(TIMES, np.sin(9 * TIMES)[:, None] * np.ones(4)), np.ones((200, 4)), SYNC)


def lag_of(error_ms: float) -> MeasuredLag:
    return MeasuredLag(np.array([30]), np.array([error_ms]), np.zeros(1))


def clip(n_frames: int) -> ClipAudit:
    """Audit four seconds of noise that belong to so many frames."""
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, 4 * RATE).astype(np.float32)
    return audit_clip((sound, RATE), n_frames=n_frames, fps=25)


def answer_of(*audits: ClipAudit, errors_ms: tuple = (1.0,), mouth: Mouth | None = None) -> Alignment:
    clicks = {str(i): lag_of(error) for i, error in enumerate(errors_ms)}
    return Alignment(FolderAudit(audits), audits[0], np.zeros(1), mouth, clicks, [], ConverterAudit(missing="none"))


def test_a_good_folder():
    answer = answer_of(clip(100), clip(101), errors_ms=(2.2, 1), mouth=LATE)
    found = answer.sentences()
    assert repr(answer).splitlines() == found
    assert len(found) == 3
    assert found[0].startswith("0 of 2 clips must not go into training with musetools")
    assert "within 2.2 ms" in found[1]
    assert str(SYNC) in found[2]
    assert "Mouth against audio of the array alone" in found[2]


def test_sound_that_drifts_is_not_called_in_sync():
    """Though in the middle of the clip it is where the mouth is; moving it mends nothing."""
    drifting = replace(SYNC, offset_ms=0.0, interval_ms=(-5, 5), drift_ms_s=60.0, drift_interval_ms_s=(50, 70))
    conclusion = answer_of(with_sync(clip(100), drifting), mouth=replace(LATE, sync=drifting)).sentences()[-1]
    assert conclusion.startswith("Mouth against audio: sound")
    assert conclusion.endswith("Error: aligned talkers differ by less.")


def test_each_finding_is_named():
    bad, doubtful = clip(150), clip(102)
    found = answer_of(bad, doubtful, clip(100)).sentences()
    assert found[0].startswith("1 of 3 clips")
    wanted = [f"the array: {f.sentence}." for audit in (bad, doubtful) for f in audit.findings if f.level != "note"]
    assert found[1:-2] == wanted
    assert wanted
    assert "Lips were not looked at" in found[-1]


def test_the_answer_box_holds_three_sentences():
    answer = answer_of(clip(150), clip(102), mouth=LATE)
    said, box = answer.sentences(), answer_box(answer)
    assert box.sentences == [said[0], said[1], said[-1]]
    check(box.figure, {"sound late by, in ms"}, ["Sound 40 ms late"])


def test_a_few_of_many_are_named(tmp_path):
    """Each without its folder."""
    found = answer_of(*[audit_clip(tmp_path / "deep" / "gone.mp4")] * (NAMED + 3)).sentences()
    assert any(sentence.startswith("3 more clips") for sentence in found)
    named = [sentence for sentence in found if "is not there" in sentence]
    assert len(named) == NAMED
    assert all(sentence.startswith("gone.mp4: ") for sentence in named)


def test_the_answer_on_a_clip(encoder, monkeypatch):
    monkeypatch.setattr("musetools.lab.alignment.measure.measure_lags", lambda *_: {"musetools": lag_of(1)})
    monkeypatch.setattr("musetools.lab.alignment.measure.audit_converter", lambda: ConverterAudit(missing="none"))
    answer = evaluate(DATA / "talker_25.mp4", "musetools", encoder)
    assert answer.mouth.seen.drawn
    assert answer.mouth.sync.offset_ms == pytest.approx(0, abs=10)
    assert answer.clip.n_frames in [sampler.n_frames for sampler in answer.samplers]
    assert evaluate(DATA / "talker_25.mp4", "musetools", encoder, mouth="none").mouth is None
    with pytest.raises(ParameterError, match="ends at"):
        evaluate(DATA / "talker_25.mp4", "musetools", encoder, mouth="data/voice_a.csv")
