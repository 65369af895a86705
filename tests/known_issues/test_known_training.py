"""Known defects of the training pipelines; ids are those of FACTS section 3."""

import numpy as np
import pytest

from musetools import RECIPES
from musetools.lab.difference.measure import compare
from musetools.recipes.recipe import add_positions
from musetools.recipes.sampler import training_window

SECOND = 16_000
OURS, TRAIN = RECIPES["musetools"], RECIPES["musetalk-v1.5-train"]


def test_k1_training_adds_no_positions_inference_does():
    infer = RECIPES["musetalk-v1.5-infer"]
    assert (TRAIN.positional_encoding, infer.positional_encoding) == (False, True)
    assert ("positional encoding", "not added", "added") in compare(TRAIN, infer).spec_differences
    chunk = np.zeros((50, 384), np.float32)
    assert np.square(add_positions(chunk) - chunk).mean() == pytest.approx(0.5, abs=1e-6)  # as large as a sine
    assert compare("musetools", "musetools").category == "interchangeable"  # one recipe, so one answer on both sides


def test_k5_after_30_s_a_frame_gets_the_wrong_audio():
    published, ours = (recipe.chunk_rows(33 * SECOND, 25) for recipe in (TRAIN, OURS))
    np.testing.assert_array_equal(published[750], published[0])  # second 0, of a 33 s clip
    np.testing.assert_array_equal(published[760], np.arange(16, 26))
    np.testing.assert_array_equal(ours[750], np.arange(1496, 1506))
    wrong = [i for i in range(2, 824) if published[i].tolist() != list(range(2 * i - 4, 2 * i + 6))]
    assert wrong == list(range(750, 824))


@pytest.mark.parametrize("block", [0, 1])
def test_k6_the_sync_loss_hears_4_s_too_early(block):
    """The window starts 4 s later; the shifted number is used for the unshifted mel, 80 frames a second, as well."""
    for frame in range(750 * block + 700, 750 * block + 750):
        start, shifted = training_window(frame)
        assert start == 4 * SECOND
        assert shifted == frame - 750 * block - 100
        mel_frame = int(80 * (shifted / 25))
        assert mel_frame == int(80 * ((frame - 750 * block) / 25)) - 4 * 80
    assert training_window(750 * block + 699) == (0, 699)


def test_k6_our_frames_keep_their_numbers():
    features = np.zeros((1650, 1, 1), np.float32)
    chunks = OURS.chunks(features, 33 * SECOND, 25)
    assert chunks.frames == range(825)
    assert chunks[700:].frames.start == 700
    assert np.nanmax(np.abs(chunks.lag_ms())) < 1e-6
    np.testing.assert_array_equal(TRAIN.chunk_rows(33 * SECOND, 25)[700:748], chunks.rows[700:748])  # these are right


def folder_of_clips(n_clips: int, n_samples: int) -> tuple[dict, dict]:
    """What `train_codes` leaves in one folder: audio and pictures under running numbers, each with clip and frame."""
    infer, audio, pictures = RECIPES["musetalk-v1-infer"], {}, {}
    for clip in range(n_clips):
        for frame in range(n_samples // 320 // 2):
            audio[len(audio)] = clip, frame
        for frame in range(len(infer.chunk_rows(n_samples, 25))):
            pictures[len(pictures)] = clip, frame
    return audio, pictures


@pytest.mark.parametrize("n_samples", [10 * SECOND, 10 * SECOND + 321])
def test_k12_every_clip_adds_two_frames_between_audio_and_pictures(n_samples):
    audio, pictures = folder_of_clips(5, n_samples)
    for clip in range(5):
        starts = [next(n for n, of in files.items() if of == (clip, 0)) for files in (pictures, audio)]
        assert starts[0] - starts[1] == 2 * clip
    assert len(OURS.chunk_rows(n_samples, 25)) == n_samples // 640  # a chunk for every frame, none over


def test_k12_a_chunk_at_a_boundary_mixes_two_clips():
    audio, _ = folder_of_clips(2, 10 * SECOND)
    heard = [{audio[n][0] for n in range(frame - 2, frame + 3)} for frame in range(2, 498)]
    mixed = [frame for frame, clips in enumerate(heard, start=2) if len(clips) == 2]
    assert mixed == [248, 249, 250, 251]
    assert OURS.chunk_rows(10 * SECOND, 25).max() == 499  # a clip's rows are its own
    assert RECIPES["musetalk-v1-train"].chunk_rows(10 * SECOND, 25).max() == 499  # as they are in a folder of its own


def test_k13_musetalkplus_trains_without_the_last_future_frame():
    plus, infers, ours = (
        RECIPES[name].chunk_rows(10 * SECOND, 25)[5:-5]
        for name in ("musetalkplus-train", "musetalk-v1-infer", "musetools")
    )
    assert (plus[:, -2:] == -1).all()  # ten of fifty chunk rows
    np.testing.assert_array_equal(plus[:, :-2], ours[:, :-2])
    assert (ours >= 0).all()
    np.testing.assert_array_equal(infers[: len(ours)], ours)
