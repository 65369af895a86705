"""The drop-in classes: signatures, types, values and failures of the originals, and what ``mended=True`` changes."""

import inspect
import math
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import soundfile
import torch
from checkpoints import Payload, save_openai, small_weights
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import SPEECH, encoder_of, published_v1, published_v15, reference, reference_states, speech
from pipelines import gathered, musetools, numbered, v1_infer, v15_infer
from whisper.audio import log_mel_spectrogram, pad_or_trim

from musetools import RECIPES, RecipeError, load_audio, trace_rows
from musetools.infer import compat
from musetools.infer.compat.latentsync import Audio2Feature as LatentSync
from musetools.infer.compat.musetalk import Audio2Feature, AudioProcessor

SEGMENT = 480_000
CLOSE = {"rtol": 0, "atol": 2e-5}
OTHER_CPU = {"rtol": 0, "atol": 1.3e-4}  # see tests/features/test_features.py
RATES = st.one_of(
    st.integers(1, 60),
    st.sampled_from([23.976, 24.97, 29.97, 59.94, 12.5, 49.999]),
    st.integers(100, 6000).map(lambda n: n / 100),
)
CONTEXTS = st.just((2, 2)) | st.tuples(st.integers(0, 4), st.integers(0, 4))


@pytest.fixture(scope="module")
def v1(encoder) -> Audio2Feature:
    return Audio2Feature(model_path=encoder)


@pytest.fixture(scope="module")
def latentsync(small) -> LatentSync:
    return LatentSync(model_path=small, device="cpu")


@pytest.fixture
def wav(tmp_path):
    """Write speech of any length as 16 kHz samples, bit for bit what a loader will give."""

    def write(n_samples: int, name: str = "clip.wav") -> str:
        samples = speech(50_000 + n_samples)[50_000:]
        soundfile.write(tmp_path / name, samples, 16_000, "PCM_16")
        return str(tmp_path / name)

    return write


# --- signatures

MUSETALK = {
    "__init__": {"whisper_model_type": "tiny", "model_path": "./models/whisper/tiny.pt"},
    "get_sliced_feature": {"feature_array": ..., "vid_idx": ..., "audio_feat_length": [2, 2], "fps": 25},
    "get_sliced_feature_sparse": {"feature_array": ..., "vid_idx": ..., "audio_feat_length": [2, 2], "fps": 25},
    "feature2chunks": {"feature_array": ..., "fps": ..., "audio_feat_length": [2, 2]},
    "audio2feat": {"audio_path": ...},
}
LATENTSYNC = {
    "__init__": {
        "model_path": "checkpoints/whisper/tiny.pt",
        "device": None,
        "audio_embeds_cache_dir": None,
        "num_frames": 16,
        "audio_feat_length": [2, 2],
    },
    "get_sliced_feature": {"feature_array": ..., "vid_idx": ..., "fps": 25},
    "get_sliced_feature_sparse": {"feature_array": ..., "vid_idx": ..., "fps": 25},
    "feature2chunks": {"feature_array": ..., "fps": ...},
    "audio2feat": {"audio_path": ...},
    "crop_overlap_audio_window": {"audio_feat": ..., "start_index": ...},
}
MUSETALK_15 = {
    "__init__": {"feature_extractor_path": "openai/whisper-tiny/"},
    "get_audio_feature": {"wav_path": ..., "start_index": 0, "weight_dtype": None},
    "get_whisper_chunk": {
        "whisper_input_features": ...,
        "device": ...,
        "weight_dtype": ...,
        "whisper": ...,
        "librosa_length": ...,
        "fps": 25,
        "audio_padding_length_left": 2,
        "audio_padding_length_right": 2,
    },
}


def positional(function) -> dict:
    """Names and defaults of what can be given by position, in order; "mended" must be a keyword of its own."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    assert all(p.name == "mended" and p.default is False for p in parameters if p.kind is p.KEYWORD_ONLY)
    given = {p.name: ... if p.default is p.empty else p.default for p in parameters if p.kind is not p.KEYWORD_ONLY}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def test_chunks_without_setting_an_instance_up():
    """As the guide traces v1's own class: its methods need no weights."""
    own = Audio2Feature.__new__(Audio2Feature)
    rows = trace_rows(lambda features: own.feature2chunks(features, 25), 300).rows
    np.testing.assert_array_equal(rows, RECIPES["musetalk-v1-infer"].chunk_rows(96_000, 25))


def test_signatures_are_the_originals(latentsync):
    for cls, original in ((Audio2Feature, MUSETALK), (LatentSync, LATENTSYNC), (AudioProcessor, MUSETALK_15)):
        for name, expected in original.items():
            assert positional(getattr(cls, name)) == expected, (cls, name)
            assert list(positional(getattr(cls, name))) == list(expected)


@pytest.mark.parametrize(("cls", "expected"), [(Audio2Feature, MUSETALK), (AudioProcessor, MUSETALK_15)])
def test_the_class_itself_shows_its_signature(cls, expected):
    """What Jupyter shows where someone types the name and a bracket."""
    assert positional(cls) == expected["__init__"]


@pytest.mark.parametrize(
    "keywords",
    [{}, {"device": "cpu"}, {"audio_embeds_cache_dir": None}, {"num_frames": 8}, {"audio_feat_length": [1, 1]}],
    ids=str,
)
def test_latentsyncs_own_call_with_any_of_its_keywords(keywords, small):
    made = LatentSync(model_path=small, **keywords)
    assert (made.num_frames, list(made.audio_feat_length)) == (
        keywords.get("num_frames", 16),
        keywords.get("audio_feat_length", [2, 2]),
    )
    assert made.embedding_dim == 64


def test_the_published_default_calls(small, weights, tmp_path):
    """LatentSync's names the weights alone, or weights and device by position; MuseTalk's names a size first."""
    path = str(save_openai(tmp_path / "tiny.pt", weights))
    for made in (LatentSync(model_path=path), LatentSync(path, "cpu")):
        assert isinstance(made.audio2feat(str(SPEECH)), torch.Tensor)
        assert hasattr(made, "crop_overlap_audio_window")
    expected = Audio2Feature(model_path=small).audio2feat(str(SPEECH))
    for made in (Audio2Feature(model_path=path), Audio2Feature("tiny", path)):
        np.testing.assert_array_equal(made.audio2feat(str(SPEECH)), expected)


def test_the_names_of_earlier_versions():
    assert (compat.Audio2Feature, compat.AudioProcessor) == (Audio2Feature, AudioProcessor)


def test_unknown_keywords_are_an_error(small):
    with pytest.raises(TypeError, match="colour"):
        Audio2Feature(model_path=small, colour="red")


# --- MuseTalk v1: features


@pytest.mark.parametrize("n_samples", [320, 399, 400, 640, SEGMENT - 1, SEGMENT + 1, SEGMENT + 319, SEGMENT + 320])
def test_v1_on_every_boundary(n_samples, small, weights, wav):
    path = wav(n_samples)
    got = Audio2Feature(model_path=small).audio2feat(path)
    assert (type(got), got.dtype, len(got)) == (np.ndarray, np.float32, n_samples // 320)
    np.testing.assert_allclose(got, published_v1(load_audio(path), weights), **CLOSE)


@pytest.mark.parametrize("n_samples", [201, 256, 319])
def test_v1_on_less_than_a_row(n_samples, v1, wav):
    """One mel frame, so a segment without a row; the chunker then finds nothing to clamp to."""
    features = v1.audio2feat(wav(n_samples))
    assert features.shape == (0, 5, 384)
    assert features.dtype == np.float32
    with pytest.raises(IndexError):
        v1.feature2chunks(features, 25)
    with pytest.raises(IndexError):
        v1.get_sliced_feature(features, 0)
    with pytest.raises(IndexError):
        v1.get_sliced_feature_sparse(features, 0)


@pytest.mark.parametrize("n_samples", [0, 1, 160, 200])
def test_v1_on_what_has_no_spectrum(n_samples, v1, latentsync, wav):
    for made in (v1, latentsync):
        with pytest.raises(RuntimeError, match=r"clip\.wav"):
            made.audio2feat(wav(n_samples))


def test_v1_on_a_file_that_is_missing(v1, latentsync, tmp_path):
    for made in (v1, latentsync):
        with pytest.raises(RuntimeError, match=r"^Failed to load audio: .*no\.wav"):
            made.audio2feat(str(tmp_path / "no.wav"))


def test_v1_takes_a_waveform_as_well(v1, latentsync, wav):
    """As the loader of the originals does."""
    path = wav(70_000)
    waveform = load_audio(path)
    for made in (v1, latentsync):
        expected = made.audio2feat(path)
        for heard in (waveform, torch.from_numpy(waveform)):
            np.testing.assert_array_equal(made.audio2feat(heard), expected)
        with pytest.raises(RuntimeError, match=r"^Failed to load audio: "):
            made.audio2feat(waveform[:200])


# --- MuseTalk v1: chunks


@given(n_rows=st.integers(1, 150), fps=RATES, context=CONTEXTS)
@settings(max_examples=60)
def test_v1_chunks_of_any_features(n_rows, fps, context, small):
    features, rows = numbered(n_rows), v1_infer(320 * n_rows, fps, context)[1]
    expected = [gathered(features, taken) for taken in rows]
    arrays = Audio2Feature(model_path=small).feature2chunks(features, fps, list(context))
    latentsync = LatentSync(model_path=small, audio_feat_length=list(context))
    tensors = latentsync.feature2chunks(torch.from_numpy(features), fps)
    for got, kind in ((arrays, np.ndarray), (tensors, torch.Tensor)):
        assert type(got) is list
        assert {type(chunk) for chunk in got} == {kind}
        np.testing.assert_array_equal(np.stack(got), expected)


def sparse_rows(n_rows: int, frame: int, context: tuple[int, int], fps: float) -> list[int]:
    """The row before each neighbour's start, and the row it starts with; one row twice where one of them is missing."""
    taken = []
    for neighbour in range(frame - context[0], frame + context[1] + 1):
        row = int(neighbour * 50 / fps)
        if row < 1:
            taken += [0, 0]
        elif row > n_rows - 1:
            taken += [n_rows - 1] * 2
        else:
            taken += [row - 1, row]
    return taken


def dense_rows(n_rows: int, frame: int, context: tuple[int, int], fps: float) -> list[int]:
    centre = int(frame * 50 / fps)
    return [min(max(centre + j, 0), n_rows - 1) for j in range(-2 * context[0], 2 * (context[1] + 1))]


@given(n_rows=st.integers(1, 80), frame=st.integers(-5, 60), fps=RATES, context=CONTEXTS)
@settings(max_examples=100)
@pytest.mark.parametrize(
    ("name", "rows_of"), [("get_sliced_feature", dense_rows), ("get_sliced_feature_sparse", sparse_rows)]
)
def test_slices_and_their_rows(name, rows_of, n_rows, frame, fps, context, small):
    features, rows = numbered(n_rows), rows_of(n_rows, frame, context, fps)
    chunk, taken = getattr(Audio2Feature(model_path=small), name)(features, frame, list(context), fps)
    assert (type(taken), taken) == (list, rows)
    assert type(chunk) is np.ndarray
    np.testing.assert_array_equal(chunk, gathered(features, rows))
    tensors = LatentSync(model_path=small, audio_feat_length=list(context))
    chunk, taken = getattr(tensors, name)(torch.from_numpy(features), frame, fps)
    assert (type(taken), taken) == (list, rows)
    assert isinstance(chunk, torch.Tensor)
    np.testing.assert_array_equal(chunk, gathered(features, rows))


def test_a_slice_by_its_keywords(v1):
    features = numbered(40, 5, 384)
    chunk, taken = v1.get_sliced_feature(feature_array=features, vid_idx=3, audio_feat_length=[2, 2], fps=25)
    assert chunk.shape == (50, 384)
    assert taken == list(range(2, 12))
    np.testing.assert_array_equal(v1.feature2chunks(feature_array=features, fps=25)[3], chunk)
    assert v1.get_sliced_feature(features, 0)[1] == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert v1.get_sliced_feature_sparse(features, 1)[1] == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]


def test_v1_refuses_what_is_no_rate(v1, latentsync):
    features = numbered(20)
    for made in (v1, latentsync):
        with pytest.raises(ZeroDivisionError):
            made.feature2chunks(features, 0)
        for name in ("get_sliced_feature", "get_sliced_feature_sparse"):
            with pytest.raises(ZeroDivisionError):
                getattr(made, name)(features, 1, fps=0)
        for fps in (math.nan, -25):  # the original loops for ever at -25
            with pytest.raises(ValueError, match="fps"):
                made.feature2chunks(features, fps)


# --- LatentSync


def test_latentsyncs_features_are_a_tensor(latentsync, small, wav):
    path = wav(70_000)
    got = latentsync.audio2feat(path)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got, Audio2Feature(model_path=small).audio2feat(path))


@pytest.mark.parametrize("start", [-3, 0, 11, 290])
def test_latentsyncs_window_of_chunks(start, encoder):
    made, features = LatentSync(model_path=encoder, num_frames=16), torch.from_numpy(numbered(602, 5, 384))
    got = made.crop_overlap_audio_window(audio_feat=features, start_index=start)
    assert got.shape == (16, 50, 384)
    for frame, chunk in enumerate(got, start=start):
        np.testing.assert_array_equal(chunk, gathered(features.numpy(), dense_rows(602, frame, (2, 2), 25)))


@pytest.mark.parametrize("mended", [False, True])
def test_a_cached_file_is_used(mended, namesakes, small, tmp_path, monkeypatch):
    made = LatentSync(model_path=small, audio_embeds_cache_dir=str(tmp_path / "cache"), mended=mended)
    first = made.audio2feat(namesakes[0])
    monkeypatch.setattr(type(small), "hidden_states", None)  # encoding again would fail
    assert torch.equal(made.audio2feat(namesakes[0]), first)


def test_the_mended_cache_knows_its_weights(namesakes, small, tmp_path):
    other = encoder_of(small_weights(seed=1))
    cache = str(tmp_path / "cache")
    one, two = (LatentSync(model_path=e, audio_embeds_cache_dir=cache, mended=True) for e in (small, other))
    assert not torch.equal(one.audio2feat(namesakes[0]), two.audio2feat(namesakes[0]))


@pytest.mark.parametrize("kind", ["empty", "garbage", "torn", "payload"])
def test_a_broken_cache_is_made_anew(kind, namesakes, small, tmp_path, capsys):
    made = LatentSync(model_path=small, audio_embeds_cache_dir=str(tmp_path / "cache"))
    expected, cached = made.audio2feat(namesakes[0]), tmp_path / "cache" / "take 1_embeds.pt"
    whole = cached.read_bytes()
    if kind == "payload":
        torch.save(Payload(tmp_path / "sentinel"), cached)
    else:
        cached.write_bytes({"empty": b"", "garbage": b"not a tensor", "torn": whole[: len(whole) // 2]}[kind])
    assert torch.equal(made.audio2feat(namesakes[0]), expected)
    assert "take 1_embeds.pt" in capsys.readouterr().out
    assert torch.equal(torch.load(cached, weights_only=True), expected)
    assert not (tmp_path / "sentinel").exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["take 1_embeds.pt"]


# --- MuseTalk 1.5: features


class HuggingFace:
    """What `get_whisper_chunk` uses of a transformers WhisperModel, computed by openai-whisper's own modules."""

    def __init__(self, weights):
        self.net = reference(weights)

    def encoder(self, mel: torch.Tensor, output_hidden_states: bool) -> SimpleNamespace:
        assert output_hidden_states
        states = torch.from_numpy(reference_states(self.net, mel[0].float(), final_norm=True)).to(mel.dtype)
        return SimpleNamespace(hidden_states=tuple(states[None, :, layer] for layer in range(states.shape[1])))


def chunks_of(path, whisper, fps=25, dtype=torch.float32, mended=False) -> torch.Tensor:
    processor = AudioProcessor(mended=mended)
    features, n_samples = processor.get_audio_feature(str(path), weight_dtype=dtype)
    return processor.get_whisper_chunk(features, "cpu", dtype, whisper, n_samples, fps=fps)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # librosa.load imports audioread, which Python deprecates
@pytest.mark.parametrize(("fps", "n_chunks"), [(25, 301), (29.97, 349)])  # 12.05 s at int(29.97)
def test_v15_on_the_bundled_speech(fps, n_chunks, small, weights):
    """Chunks by `Encoder`, and by a Hugging Face model, against librosa, whisper's mel and a loop over rows."""
    waveform = librosa.load(SPEECH, sr=16_000)[0]
    features = published_v15(waveform, weights)
    expected = np.stack([gathered(features, taken) for taken in v15_infer(len(waveform), fps, (2, 2))[1]])
    for got in (chunks_of(SPEECH, whisper, fps) for whisper in (small, HuggingFace(weights))):
        assert isinstance(got, torch.Tensor)
        assert got.shape == expected.shape == (n_chunks, 20, 64)
        assert (got - torch.from_numpy(expected)).abs().max() <= 2e-5


def test_v15_gives_what_was_recorded(shared, encoder):
    path, recorded = shared / "real" / "yongen.wav", np.load(shared / "golden" / "features_yongen.npz")
    got = chunks_of(path, encoder)
    assert got.shape == tuple(recorded["v15_chunks_shape"])
    mels, n_samples = AudioProcessor().get_audio_feature(str(path))
    assert (len(mels), n_samples) == (1, recorded["v15_n_samples"])
    for row, values in zip(recorded["v15_rows"].tolist(), recorded["v15"], strict=True):
        frame = min(row // 2, len(got) - 1)  # row 2i+j stands at place 4+j of frame i's chunk
        place = 4 + row - 2 * frame
        np.testing.assert_allclose(got[frame].reshape(10, 5, 384)[place], values, **OTHER_CPU)


@pytest.mark.parametrize("n_samples", [1, 100, 399, 16_000, SEGMENT - 1, SEGMENT, SEGMENT + 1, SEGMENT + 319])
def test_v15_mels_of_30_s_each(n_samples, wav):
    """A tail of a single sample is a segment more, as in the original."""
    path = wav(n_samples)
    mels, length = AudioProcessor().get_audio_feature(path)
    assert type(mels) is list
    assert length == n_samples
    assert len(mels) == math.ceil(n_samples / SEGMENT)
    waveform = load_audio(path)
    for i, mel in enumerate(mels):
        assert (mel.shape, mel.dtype) == ((1, 80, 3000), torch.float32)
        expected = log_mel_spectrogram(pad_or_trim(waveform[i * SEGMENT : (i + 1) * SEGMENT], SEGMENT))
        np.testing.assert_allclose(mel[0], expected, **CLOSE)


def test_v15_on_no_file(tmp_path):
    assert AudioProcessor().get_audio_feature(str(tmp_path / "no.wav")) is None


def test_v15_on_an_empty_file(wav, encoder):
    assert AudioProcessor().get_audio_feature(wav(0)) == ([], 0)
    with pytest.raises((ValueError, RuntimeError), match="non-empty"):  # torch.cat's own, which was once the other
        AudioProcessor().get_whisper_chunk([], "cpu", torch.float32, encoder, 0)


def test_v15_reads_the_number_of_mel_bins(tmp_path, wav):
    (tmp_path / "preprocessor_config.json").write_text('{"feature_size": 128, "sampling_rate": 16000}')
    mels, _ = AudioProcessor(feature_extractor_path=str(tmp_path)).get_audio_feature(wav(16_000))
    assert mels[0].shape == (1, 128, 3000)


# --- MuseTalk 1.5: chunks


class Numbered:
    """A model of 3 layers and width 4 whose hidden states number the rows; a second segment goes on counting."""

    def __init__(self):
        self.seen = 0

    def encoder(self, mel: torch.Tensor, output_hidden_states: bool) -> SimpleNamespace:
        states = torch.from_numpy(numbered(1500 * (self.seen + 1))[-1500:])
        self.seen += 1
        return SimpleNamespace(hidden_states=tuple(states[None, :, layer] for layer in range(3)))


@given(
    n_samples=st.integers(640, 40_000) | st.integers(SEGMENT - 700, SEGMENT + 700),
    fps=st.integers(1, 60) | st.integers(100, 6000).map(lambda n: n / 100) | st.sampled_from([23.976, 29.97]),
    context=CONTEXTS,
)
@settings(max_examples=80)
@example(n_samples=1280, fps=25, context=(2, 2))  # padded by fewer zeros than asked for
@example(n_samples=16_000, fps=50, context=(2, 3))
def test_v15_chunks_of_any_clip(n_samples, fps, context):
    mels = [torch.zeros(1, 80, 3000)] * math.ceil(n_samples / SEGMENT)
    features = numbered(1500 * len(mels))
    given = mels, torch.device("cpu"), torch.float32, Numbered(), n_samples, fps, *context
    try:
        rows = v15_infer(n_samples, fps, context)[1]
    except (SystemExit, ValueError) as error:
        with pytest.raises(RecipeError if isinstance(error, SystemExit) else ValueError):
            AudioProcessor().get_whisper_chunk(*given)
    else:
        expected = [gathered(features, taken) for taken in rows]
        np.testing.assert_array_equal(AudioProcessor().get_whisper_chunk(*given), expected)


MEL = [torch.zeros(1, 80, 3000)]
FAILURES = [  # samples, fps, what the original raises; RecipeError where it ends the process
    (16_000, 0, ZeroDivisionError),
    (16_000, 0.9, ZeroDivisionError),
    (0, 25, ValueError),
    (639, 25, ValueError),
    (16_000, -25, ValueError),
    (16_000, math.nan, ValueError),
    (16_000, math.inf, OverflowError),
    (16_000, "fast", ValueError),
    (16_000, 50, RecipeError),
    (16_000, 59.94, RecipeError),
    (160_000, 120, RecipeError),
    (640, 25, RecipeError),
    (800, 25, RecipeError),
    (960, 25, RecipeError),
]


@pytest.mark.parametrize(("n_samples", "fps", "error"), FAILURES)
def test_v15_fails_as_the_original_but_never_ends_the_process(n_samples, fps, error):
    with pytest.raises(error) as caught:
        AudioProcessor().get_whisper_chunk(MEL, "cpu", torch.float32, Numbered(), n_samples, fps=fps)
    assert not isinstance(caught.value, SystemExit)
    if error is RecipeError:
        assert str(caught.value).startswith(f"musetalk-v1.5-infer stops on {n_samples} samples at {int(fps)} fps")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_v15_chunks_are_of_the_dtype_asked_for(dtype, small, weights):
    exact = chunks_of(SPEECH, small)
    for whisper in (small, HuggingFace(weights)):
        got = chunks_of(SPEECH, whisper, dtype=dtype)
        assert got.dtype == dtype
        assert 0 < (got.float() - exact).abs().max() < 0.3


def test_v15_chunks_may_be_trained_on(small, wav):
    """They came out of inference mode; a model must be able to learn from them all the same."""
    mels, n_samples = AudioProcessor().get_audio_feature(wav(30_000))
    chunks = AudioProcessor().get_whisper_chunk(mels, "cpu", torch.float32, small, n_samples)
    layer = torch.nn.Linear(64, 1)
    layer(chunks).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


# --- mended


@pytest.mark.parametrize("fps", [23.976, 24, 24.97, 25, 29.97, 30, 50, 59.94, 60])
def test_mended_v15_takes_rates_exactly(fps):
    n_samples = 61 * 16_000
    mels, features = MEL * 3, numbered(4500)
    got = AudioProcessor(mended=True).get_whisper_chunk(mels, "cpu", torch.float32, Numbered(), n_samples, fps)
    rows = musetools(n_samples, fps, (2, 2))[1]
    assert len(got) == len(rows)
    np.testing.assert_array_equal(got, [gathered(features, taken) for taken in rows])
    last = len(rows) - 9  # an interior frame near the minute's end: 29.97 has drifted by 2 s there
    row = (got[last, 12, 0].item() - 1) / 12  # of the chunk's fifth row, that the frame starts with
    assert -0.001 < last / float(RECIPES["musetools"].chunks(features, n_samples, fps).fps) - row / 50 < 0.021


@pytest.mark.parametrize(("n_samples", "n_chunks"), [(500, 0), (640, 1), (800, 1), (960, 1), (1279, 1)])
def test_mended_v15_takes_short_clips(n_samples, n_chunks, small, wav):
    mels, length = AudioProcessor().get_audio_feature(wav(n_samples))
    got = AudioProcessor(mended=True).get_whisper_chunk(mels, "cpu", torch.float32, small, length)
    assert got.shape == (n_chunks, 20, 64)


@pytest.mark.parametrize("cls", [Audio2Feature, LatentSync], ids=["musetalk", "latentsync"])
@pytest.mark.parametrize(("fps", "n_chunks"), [(25, 300), (29.97, 359), (30, 360), (23.976, 287), (50, 600)])
def test_mended_v1_counts_right(fps, n_chunks, cls, small):
    features = numbered(600)
    made = cls(model_path=small, mended=True)
    got = made.feature2chunks(torch.from_numpy(features) if cls is LatentSync else features, fps)
    assert type(got) is list
    assert len(got) == n_chunks
    rows = musetools(320 * 600, fps, (2, 2))[1]
    np.testing.assert_array_equal(np.stack(got), [gathered(features, taken) for taken in rows])


def test_mended_v1_of_no_rows_is_no_chunk(small):
    assert Audio2Feature(model_path=small, mended=True).feature2chunks(numbered(1)[:0], 25) == []


def test_mended_is_asked_for_by_name(small):
    with pytest.raises(TypeError):
        AudioProcessor("openai/whisper-tiny/", True)
    with pytest.raises(TypeError):
        Audio2Feature("tiny", small, True)
