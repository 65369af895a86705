"""Known defects in what features are made of, and at the edges; ids are those of FACTS section 3."""

from dataclasses import replace

import numpy as np
import pytest
from checkpoints import small_weights
from oracles import SPEECH, encoder_of, raw_log_mel, speech

from musetools import RECIPES, EncoderWindow, FeatureSpec, audio2feat
from musetools.infer.compat.latentsync import Audio2Feature as LatentSync
from musetools.infer.compat.musetalk import Audio2Feature, AudioProcessor
from musetools.lab.difference.measure import compare

SECOND = 16_000
OURS = RECIPES["musetools"]
V1, V15 = FeatureSpec.named("musetalk-v1"), FeatureSpec.named("musetalk-v1.5")


def features(encoder, waveform: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    return audio2feat((waveform, SECOND), encoder, spec=spec)


def gap(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Largest difference of each row of each layer."""
    return np.abs(one - two).max(axis=-1)


def test_k2_the_last_layer_is_raw_or_normed(encoder):
    waveform = speech(5 * SECOND)
    raw, normed = (features(encoder, waveform, replace(V1, final_norm=norm)) for norm in (False, True))
    chunks = [OURS.chunks(f, len(waveform), 25)[60] for f in (raw, normed)]
    differ = np.flatnonzero((chunks[0] != chunks[1]).any(axis=1))
    assert differ.tolist() == [4, 9, 14, 19, 24, 29, 34, 39, 44, 49]  # ten of fifty
    assert np.abs(chunks[0] - chunks[1])[differ].max() > 0.5
    train, infer = RECIPES["musetalk-v1-train"], RECIPES["musetalk-v1.5-infer"]
    assert (train.features.final_norm, infer.features.final_norm, OURS.features.final_norm) == (False, True, True)


def test_k3_short_clips_differ_in_every_row(small):
    """The encoder attends to the padding: 27 s of it, for a clip of 3 s."""
    waveform = speech(3 * SECOND)
    v1, v15 = (features(small, waveform, replace(spec, final_norm=True)) for spec in (V1, V15))
    assert (gap(v1, v15)[:, 1:] > 1e-3).all()
    np.testing.assert_array_equal(features(small, waveform, OURS.features), v15)  # ours: silence, on either side


def test_k3_zero_in_normalised_mel_is_not_silence():
    """Silence is normalised to the floor, well below the 0.0 that v1 fills with."""
    log_mel = raw_log_mel(np.pad(speech(3 * SECOND), (0, 27 * SECOND)))
    floor = float(log_mel.max()) - 8
    assert log_mel[:, 400:].max() <= floor
    assert (floor + 4) / 4 < -0.3


def test_k3_the_floor_is_the_files_or_the_windows(small):
    waveform = speech(60 * SECOND)  # its first 30 s are 26 dB down
    of_file, of_window = (features(small, waveform, replace(V15, mel_peak=peak)) for peak in ("file", "window"))
    differs = (gap(of_file, of_window)[:, 0] > 1e-3).mean()
    assert differs > 0.2
    assert OURS.features.mel_peak == "window"


def test_k4_right_of_the_clip_training_hears_silence_and_inference_nothing():
    train, infer, ours = (
        RECIPES[name].chunk_rows(10 * SECOND, 25)[:250]
        for name in ("musetalk-v1.5-train", "musetalk-v1.5-infer", "musetools")
    )
    assert train[249].tolist() == list(range(494, 504))  # the clip ends with row 499
    assert infer[249].tolist() == [*range(494, 500), -1, -1, -1, -1]
    assert ours[249].tolist() == [*range(494, 500), 499, 499, 499, 499]
    assert (ours >= 0).all()


def test_k4_left_of_the_clip_training_rarely_meets_zeros():
    train, infer = (
        RECIPES[name].chunk_rows(28 * SECOND, 25) for name in ("musetalk-v1.5-train", "musetalk-v1.5-infer")
    )
    assert np.flatnonzero((train[:700] == -1).any(axis=1)).tolist() == [0, 1]  # of 700 that a sample may start with
    assert np.flatnonzero((infer == -1).any(axis=1)).tolist() == [0, 1, 698, 699]  # of every clip
    assert not (OURS.chunk_rows(28 * SECOND, 25) == -1).any()


OVERLAPPED = EncoderWindow(5, 20, 5, 30)


def test_k15_a_jump_every_30_s(small):
    """From row 1499 to row 1500 features jump, whatever is said there; overlapped windows have no jump at second 30.

    Theirs, every 20 s, are a jump in positions too, but no loss of context: see the next test.
    """
    waveform = np.resize(speech(12 * SECOND), 40 * SECOND)
    for window, jumps in ((V15.window, True), (OVERLAPPED, False)):
        rows = features(small, waveform, FeatureSpec(window=window))[1300:1700]
        steps = np.sqrt(np.square(np.diff(rows, axis=0)).mean(axis=-1))
        assert (steps[199] > 3 * np.median(steps, axis=0)).all() == jumps
        assert jumps or (steps[199] < 2 * np.median(steps, axis=0)).all()


def test_k15_rows_beside_the_boundary_lack_context():
    """Against one window over 15 … 45 s; positions are zeroed, so that only what the encoder sees is compared."""
    weights = small_weights()
    weights.state["positional_embedding"].zero_()
    blind, waveform = encoder_of(weights), np.resize(speech(12 * SECOND), 60 * SECOND)
    beside = slice(1498, 1502)
    whole = features(blind, waveform[15 * SECOND : 45 * SECOND], FeatureSpec())[beside.start - 750 : beside.stop - 750]
    hard, overlapped = (
        gap(features(blind, waveform, FeatureSpec(window=window))[beside], whole)[:, 0]
        for window in (V15.window, OVERLAPPED)
    )
    assert hard.max() > 0.1
    assert overlapped.max() < 1e-4


@pytest.mark.parametrize("mended", [False, True])
def test_k19_two_videos_of_one_name_share_their_features(mended, namesakes, small, tmp_path):
    """Published, a file's name alone decides; mended, what is in it and what made the features."""
    fresh, cache = LatentSync(model_path=small), tmp_path / "deep" / "cache"
    made = LatentSync(model_path=small, audio_embeds_cache_dir=str(cache), mended=mended)
    monday, tuesday = (made.audio2feat(str(path)).numpy() for path in namesakes)
    np.testing.assert_array_equal(monday, fresh.audio2feat(str(namesakes[0])))
    np.testing.assert_array_equal(tuesday, fresh.audio2feat(str(namesakes[int(mended)])))
    assert not np.array_equal(monday, fresh.audio2feat(str(namesakes[1])))
    assert len(list(cache.iterdir())) == 1 + mended
    assert (cache / "take 1_embeds.pt").exists() == (not mended)
    assert all(path.name.endswith("_embeds.pt") for path in cache.iterdir())


def test_k20_main_feeds_v15_features_to_v1_weights(small):
    """`--version v1` changes the model that is conditioned, not the audio path, which is `AudioProcessor` for both."""
    v1 = Audio2Feature(model_path=small)
    trained_on = np.stack(v1.feature2chunks(v1.audio2feat(SPEECH), 25))
    mels, n_samples = AudioProcessor().get_audio_feature(SPEECH)
    fed = AudioProcessor().get_whisper_chunk(mels, "cpu", mels[0].dtype, small, n_samples).numpy()
    per_row = gap(trained_on[10:290], fed[10:290])
    assert (per_row.reshape(280, 10, 2)[:, :, 1] > 0.01).all()  # layer 1 of every row: the padding, and the norm
    assert RECIPES["musetalk-v1-train"].features == RECIPES["musetalk-v1-infer"].features != V15
    ours = compare(OURS, OURS, SPEECH, encoder=small)  # a recipe's chunks come with its own features
    assert len(ours.values.equal) == 301
    assert ours.category == "interchangeable"
