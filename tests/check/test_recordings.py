"""Recordings as phones, screens and browsers make them: what is wrong is found, with its number, and nothing else."""

from pathlib import Path

import av
import numpy as np
import pytest
from recordings import LOST_S, PAUSE_S, RECORDINGS, SECONDS, SENT, even, sound, write

from musetools import load_audio
from musetools.check.folder import audit_folder

OPUS_S = 0.02  # a packet
# By recording: findings that are no notes, with their numbers; None where the file's own stamps say how much.
FOUND = {
    "phone_variable_rate": {"variable rate": 1, "length": 30.6},  # ms: the last frame is shown for 1/24 s
    "phone_trimmed": {},
    "phone_portrait": {},
    "browser_recorder": {},
    "browser_fragments": {},
    "browser_call": {"hole": 960},  # ms: 28 packets in the pause, 20 lost ones
    "screen_late_sound": {"start offset": 480},
    "screen_obs": {},
    "camera_dropped_frames": {"variable rate": 1},
    "stream_segment": {},
    "stream_cut": {"start offset": None},
    "stream_cmaf": {},
}
NOTES = {
    "phone_trimmed": {"frame count": -39},  # frames from the key frame at 0 to 1.3 s
    "phone_portrait": {"audio tracks": 1},
    "screen_obs": {"audio tracks": 1},
    **{name: {"unverified length": 1} for name in ("browser_recorder", "browser_fragments", "browser_call")},
    **{name: {"unverified length": 1} for name in ("stream_segment", "stream_cut")},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings")
    for make in RECORDINGS:
        make(path)
    return path


def file_of(folder, name):
    return next(path for path in folder.iterdir() if path.stem == name)


@pytest.fixture(scope="module")
def audits(folder):
    """Audits of the folder, decoded and quick."""
    return {quick: audit_folder(folder, quick=quick) for quick in (False, True)}


def audit_of(audits, name, *, quick=False):
    return next(audit for audit in audits[quick].audits if Path(audit.name).stem == name)


def starts_ms(path) -> float:
    """Return when sound starts against the first frame, as PyAV decodes them."""
    at = []
    for kind in ("audio", "video"):
        with av.open(str(path)) as container:
            frame = next(container.decode(**{kind: 0}))
            at.append(1000 * float(frame.pts * frame.time_base))
    return at[0] - at[1]


def numbers(audit, *levels: str) -> dict[str, float]:
    return {f.what: f.number for f in audit.findings if f.level in levels and f.what != "silence"}


@pytest.mark.parametrize("quick", [False, True], ids=["decoded", "quick"])
@pytest.mark.parametrize("name", FOUND)
def test_what_is_found(folder, audits, name, quick):
    path, audit = file_of(folder, name), audit_of(audits, name, quick=quick)
    right = {what: starts_ms(path) if number is None else number for what, number in FOUND[name].items()}
    assert numbers(audit, "error", "warning") == pytest.approx(right, abs=2)
    assert numbers(audit, "note") == NOTES.get(name, {})
    assert audit.level == ("error" if right else "ok")


@pytest.mark.parametrize("name", [name for name in FOUND if name not in ("stream_cmaf", "browser_call")])
def test_where_sound_starts(folder, audits, name):
    timeline = audit_of(audits, name).timeline
    assert 1000 * timeline.start_offset_s == pytest.approx(starts_ms(file_of(folder, name)), abs=1)
    assert timeline.holes == timeline.overlaps == ()


def test_holes_of_a_call(folder, audits):
    timeline = audit_of(audits, "browser_call").timeline
    in_pause = round((PAUSE_S[1] - PAUSE_S[0]) / OPUS_S)
    right = [(SENT - 1) * OPUS_S, (in_pause - SENT - 1) * OPUS_S, LOST_S[1] - LOST_S[0]]
    assert [length for _, length in timeline.holes] == pytest.approx(right, abs=0.002)
    samples = load_audio(file_of(folder, "browser_call"))
    assert not samples[round(16_000 * 2.05) : round(16_000 * 2.38)].any()
    assert len(samples) == pytest.approx(16_000 * SECONDS, abs=500)


def test_offsets_below_zero_move_nothing(folder, tmp_path):
    """The same film without fragments has the same sound from its first frame on."""
    plain = write(tmp_path / "plain.mp4", even(), sound(), b_frames=2)
    cmaf, whole = load_audio(file_of(folder, "stream_cmaf")), load_audio(plain)
    np.testing.assert_array_equal(cmaf[: len(whole)], whole[: len(cmaf)])


def test_a_folder_of_them(audits):
    assert len(audits[False].audits) == len(RECORDINGS) == 12
    assert audits[False].errors == sum(bool(found) for found in FOUND.values())
