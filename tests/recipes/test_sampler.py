"""The v1.5 training loader's index arithmetic, replayed over every start of a clip."""

import pytest

from musetools import ParameterError
from musetools.recipes.sampler import audit_sampler


def served(start: int) -> tuple[int, int]:
    """Follow FACTS section 1 and K5, K6: which frame's audio and mel a sample that starts here gets."""
    within, window = start, 0
    while within >= 750:
        within -= 750
    if within >= 700:
        within, window = within - 100, 100
    return window + within, within


@pytest.mark.parametrize("frames_per_sample", [1, 16, 40])
@pytest.mark.parametrize("n_frames", [0, 1, 15, 16, 17, 700, 716, 750, 766, 800, 1000, 1600])
def test_every_start_is_replayed(n_frames, frames_per_sample):
    starts = [i for i in range(n_frames) if i + frames_per_sample <= n_frames]
    audit = audit_sampler(n_frames, frames_per_sample)
    assert audit.starts == len(starts)
    assert list(audit.wrong_audio) == [i for i in starts if served(i)[0] != i]
    assert list(audit.wrong_mel) == [i for i in starts if served(i)[1] != i]
    assert audit.wrong_audio_share == len(audit.wrong_audio) / max(1, len(starts))


@pytest.mark.parametrize(
    ("n_frames", "audio", "mel"), [(600, 0, 0), (750, 0, 0.048), (800, 0.045, 0.108), (1000, 0.239, 0.289)]
)
def test_known_shares(n_frames, audio, mel):
    audit = audit_sampler(n_frames)
    assert (audit.wrong_audio_share, audit.wrong_mel_share) == pytest.approx((audio, mel), abs=0.0005)
    assert f"{100 * audio:.1f} % get wrong audio, {100 * mel:.1f} % a wrong sync mel" in repr(audit)


def test_clips_shorter_than_a_sample():
    audit = audit_sampler(15)
    assert (audit.starts, audit.wrong_audio, audit.wrong_mel) == (0, (), ())
    assert audit.wrong_audio_share == audit.wrong_mel_share == 0
    for none in (0, -1):
        with pytest.raises(ParameterError, match="frame"):
            audit_sampler(100, none)


@pytest.mark.parametrize("n_frames", [-1, 10**12, "300", 300.0])
def test_what_is_no_number_of_frames(n_frames):
    with pytest.raises(ParameterError, match="frames"):
        audit_sampler(n_frames)
