"""Media files and arrays become the waveform that each published pipeline would see."""

import io
import math
import subprocess
import sys
from itertools import pairwise
from tempfile import SpooledTemporaryFile

import librosa
import numpy as np
import psutil
import pytest
from media import FASTSTART, SPEECH, reference, speech, write_media, write_tone

from musetools import AudioError, ParameterError, audio_blocks, load_audio, loudness
from musetools.audio import DECODERS

SECONDS = 5  # longer than a block
KINDS = {  # name of the file: rate, channels, subtype
    "16k_mono.wav": (16_000, 1, None),
    "16k_stereo.wav": (16_000, 2, None),
    "44k_mono.wav": (44_100, 1, None),
    "44k_stereo.wav": (44_100, 2, None),
    "48k_stereo.wav": (48_000, 2, None),
    "8k_mono.wav": (8_000, 1, None),
    "float.wav": (44_100, 2, "FLOAT"),
    "24bit.flac": (44_100, 2, "PCM_24"),
    "16bit.flac": (48_000, 1, None),
    "vorbis.ogg": (44_100, 2, None),
    "layer3.mp3": (44_100, 2, None),
    "sound.m4a": (44_100, 2, None),
    "film.mp4": (48_000, 2, None),
    "film.mkv": (44_100, 1, None),
}
EXACT = [name for name in KINDS if name.endswith((".wav", ".flac"))]
LIBROSA = [name for name in KINDS if not name.endswith((".m4a", ".mp4", ".mkv"))]  # what librosa opens without help


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for name, (rate, channels, subtype) in KINDS.items():
        options = FASTSTART if name.endswith(".mp4") else {}
        write_media(folder / name, speech(SECONDS, rate, channels), rate, subtype, **options)
    return folder


# --- files


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_speech(media, kind, decoder, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # no ffmpeg program is needed
    rate, channels, _ = KINDS[kind]
    waveform = load_audio(media / kind, decoder=decoder)
    expected = reference(speech(SECONDS, rate, channels), rate)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    blocks = list(audio_blocks(media / kind, decoder=decoder))
    assert len(blocks) > 1
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), waveform)
    assert abs(len(waveform) - SECONDS * 16_000) <= 640  # a video frame
    n = min(len(waveform), len(expected))
    assert np.corrcoef(waveform[:n], expected[:n])[0, 1] > 0.99
    if decoder == "ffmpeg":  # nothing is amiss with time stamps here, though those of ogg wobble
        np.testing.assert_array_equal(load_audio(media / kind), waveform)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # librosa.load imports audioread, which Python deprecates
@pytest.mark.parametrize("kind", LIBROSA)
def test_librosa_to_the_bit(media, kind):
    expected, _ = librosa.load(media / kind, sr=16_000)
    np.testing.assert_array_equal(load_audio(media / kind, decoder="librosa"), expected)


@pytest.mark.parametrize("kind", ["sound.m4a", "film.mp4", "film.mkv"])
def test_containers_are_mixed_and_resampled_as_librosa_does(media, kind):
    import av

    with av.open(media / kind) as container:
        planes = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    expected = librosa.resample(librosa.to_mono(planes), orig_sr=KINDS[kind][0], target_sr=16_000)
    np.testing.assert_array_equal(load_audio(media / kind, decoder="librosa"), expected)


def test_ffmpeg_keeps_16_khz_mono_as_it_is(media):
    expected = speech(SECONDS, 16_000, 1)[:, 0].astype(np.float32) / 32768
    np.testing.assert_array_equal(load_audio(media / "16k_mono.wav", decoder="ffmpeg"), expected)


@pytest.mark.parametrize("kind", EXACT)
def test_ffmpeg_resamples_well_and_in_16_bits(media, kind):
    rate, channels, _ = KINDS[kind]
    waveform = load_audio(media / kind, decoder="ffmpeg")
    expected = reference(speech(SECONDS, rate, channels), rate)
    steps = waveform.astype(float) * 32768
    np.testing.assert_array_equal(steps, steps.round())
    assert abs(len(waveform) - len(expected)) <= 1
    n = min(len(waveform), len(expected))
    assert np.corrcoef(waveform[:n], expected[:n])[0, 1] > 0.9999
    assert np.sqrt(np.mean((waveform[:n] - expected[:n]) ** 2)) < 0.001  # 3 dB of level would be ten times this


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("kind", ["44k_stereo.wav", "24bit.flac", "layer3.mp3", "film.mp4"])
def test_file_objects_can_be_read_twice(media, kind, decoder):
    expected = load_audio(media / kind, decoder=decoder)
    with open(media / kind, "rb") as file:
        for source in (file, io.BytesIO(file.read())):
            for _ in range(2):
                np.testing.assert_array_equal(load_audio(source, decoder=decoder), expected)
            assert not source.closed


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("kind", ["24bit.flac", "film.mp4"])
def test_an_upload_that_is_kept_in_memory_is_read(media, kind, decoder):
    """Its mode is "w+b" and its name None, as where a web server hands it over."""
    content = (media / kind).read_bytes()
    with SpooledTemporaryFile(max_size=2**30) as upload:
        upload.write(content)
        np.testing.assert_array_equal(load_audio(upload, decoder=decoder), load_audio(media / kind, decoder=decoder))
        upload.truncate(len(content) // 2)
        with pytest.raises(AudioError, match="the file object"):
            load_audio(upload, decoder=decoder)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_file_is_closed_when_its_blocks_are_left(decoder):
    blocks = audio_blocks(SPEECH, decoder=decoder)
    next(blocks)
    before = psutil.Process().num_fds()
    blocks.close()
    assert psutil.Process().num_fds() == before - 1


@pytest.mark.parametrize("name", ["12:30.wav", "concat:a.wav", "-i.wav", "%d {0} é ü.wav"])
def test_names_that_mean_something_to_ffmpeg_are_only_names(tmp_path, monkeypatch, name):
    write_media(tmp_path / name, speech(0.1), 44_100)
    monkeypatch.chdir(tmp_path)
    for decoder in DECODERS:
        assert len(load_audio(name, decoder=decoder)) == 1600


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_title_that_is_not_utf8_does_no_harm(tmp_path, decoder):
    path = write_media(tmp_path / "titled.wav", speech(0.1), 44_100)
    title = b"LIST" + (16).to_bytes(4, "little") + b"INFOINAM" + (4).to_bytes(4, "little") + "Müll".encode("latin-1")
    riff = bytearray(path.read_bytes() + title)
    riff[4:8] = (len(riff) - 8).to_bytes(4, "little")
    path.write_bytes(riff)
    assert len(load_audio(path, decoder=decoder)) == 1600


# --- arrays


def test_a_16_khz_mono_array_of_float32_stays_as_it_is():
    waveform = np.random.default_rng(0).normal(size=70_000).astype(np.float32)  # finer than 16 bits, above full scale
    for decoder in DECODERS:
        np.testing.assert_array_equal(load_audio((waveform, 16_000), decoder=decoder), waveform)
        np.testing.assert_array_equal(load_audio((waveform[None], 16_000), decoder=decoder), waveform)


@pytest.mark.parametrize("dtype", ["float64", "float16", ">f4"])
def test_other_floats_are_converted(dtype):
    samples = np.linspace(-1, 1, 1000).astype(dtype)
    waveform = load_audio((samples, 16_000))
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, samples.astype(np.float32))


@pytest.mark.parametrize(("dtype", "full_scale"), [("int8", 2**7), ("int16", 2**15), (">i2", 2**15), ("int32", 2**31)])
def test_integers_are_scaled_by_their_range(dtype, full_scale):
    limits = np.iinfo(dtype)
    samples = np.array([limits.min, limits.min // 2, -1, 0, 1, limits.max], dtype)
    expected = (samples.astype(float) / full_scale).astype(np.float32)
    np.testing.assert_array_equal(load_audio((samples, 16_000)), expected)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("kind", [kind for kind in EXACT if kind != "24bit.flac"])
def test_an_array_is_treated_as_the_file_of_its_samples(media, kind, decoder):
    rate, channels, _ = KINDS[kind]
    planes = np.ascontiguousarray(speech(SECONDS, rate, channels).T)
    expected = load_audio(media / kind, decoder=decoder)
    for array in (planes, planes.astype(np.int32) << 16, (planes / 32768).astype(np.float32), planes / 32768):
        np.testing.assert_array_equal(load_audio((array, rate), decoder=decoder), expected)


@pytest.mark.parametrize("n_channels", [3, 7, 8])
@pytest.mark.parametrize("decoder", DECODERS)
def test_up_to_eight_channels_are_mixed(decoder, n_channels):
    planes = np.repeat(speech(1, channels=1).T, n_channels, axis=0)
    waveform = load_audio((planes, 44_100), decoder=decoder)
    np.testing.assert_allclose(waveform, load_audio((planes[:1], 44_100), decoder=decoder), atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_librosa_to_the_bit_at_awkward_lengths(rate):
    noise = np.random.default_rng(rate).uniform(-0.5, 0.5, 8 * rate + 7).astype(np.float32)
    for n in (1, 2, 3, 100, 401, 4 * rate - 1, 4 * rate, 4 * rate + 1, 8 * rate + 7):
        expected = librosa.resample(noise[:n], orig_sr=rate, target_sr=16_000)
        np.testing.assert_array_equal(load_audio((noise[:n], rate), decoder="librosa"), expected)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_ffmpeg_gives_no_more_and_hardly_less_than_the_exact_length(rate):
    noise = np.random.default_rng(rate).uniform(-0.5, 0.5, 5 * rate).astype(np.float32)
    for n in (441, 1000, 4 * rate - 1, 4 * rate, 4 * rate + 1, 5 * rate):
        exact = n * 16_000 / rate
        assert exact - 2 <= len(load_audio((noise[:n], rate))) < exact + 1


@pytest.mark.parametrize("n", [1, 5, 17, 40])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_handful_of_samples_is_no_crash(decoder, n):
    waveform = load_audio((np.full(n, 0.1, np.float32), 48_000), decoder=decoder)
    assert waveform.dtype == np.float32
    assert len(waveform) <= math.ceil(n / 3)


def test_the_rate_may_be_a_numpy_integer():
    samples = np.full(20_000, 0.1, np.float32)
    for rate in (np.int64(16_000), np.int16(16_000), np.uint16(44_100)):
        np.testing.assert_array_equal(load_audio((samples, rate)), load_audio((samples, int(rate))))


@pytest.mark.parametrize("decoder", ["sox", None, "FFMPEG", ""])
def test_an_unknown_decoder_is_refused_at_once(decoder):
    with pytest.raises(ParameterError, match=f"decoder must be one of timeline, ffmpeg, librosa; got {decoder!r}"):
        audio_blocks(SPEECH, decoder=decoder)


# --- memory

MINUTES = (1, 6)
PEAKS = """
import sys
from musetools import audio_blocks
for path in sys.argv[2:]:
    print(sum(len(block) for block in audio_blocks(path, decoder=sys.argv[1])))
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module", params=[".flac", ".mkv"])
def tones(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    return [write_tone(folder / f"{n}{request.param}", n, 24_000) for n in MINUTES]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("decoder", ["ffmpeg", "librosa"])
def test_memory_does_not_grow_with_length(tones, decoder):
    """The peak of a process that reads the short file, then the long one."""
    command = [sys.executable, "-c", PEAKS, decoder, *tones]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    n_short, before, n_long, after = map(int, done.stdout.split())
    assert (n_short, n_long) == tuple(n * 60 * 16_000 for n in MINUTES)
    assert after - before < 10 * 1024  # KiB; 5 minutes of waveform are 18 MiB


# --- loudness


def slow_loudness(waveform, fps_numerator, fps_denominator) -> list[float]:
    """Measure frame by frame, with boundaries in integers."""
    edges, frame = [0], 1
    while (edge := frame * 16_000 * fps_denominator // fps_numerator) <= len(waveform):
        if frame * 16_000 * fps_denominator > len(waveform) * fps_numerator:
            break  # the frame ends inside a sample that is not there
        edges.append(edge)
        frame += 1
    power = [sum(float(x) ** 2 for x in waveform[a:b]) / (b - a) for a, b in pairwise(edges)]
    return [max(-120.0, 10 * math.log10(p)) if p else -120.0 for p in power]


@pytest.mark.parametrize(
    ("fps", "exact"), [(29.97, (30000, 1001)), (25, (25, 1)), (23.976, (24000, 1001)), (7, (7, 1))]
)
@pytest.mark.parametrize("n", [16_016, 15_999, 534, 533])
def test_loudness_equals_the_slow_loop(fps, exact, n):
    waveform = speech(2, 16_000, 1)[8_000 : 8_000 + n, 0].astype(np.float32) / 32768
    measured = loudness(waveform, fps)
    assert measured.dtype == np.float32
    np.testing.assert_allclose(measured, slow_loudness(waveform, *exact), atol=1e-4)


def test_loudness_of_a_sine_and_of_silence():
    sine = np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000).astype(np.float32)
    np.testing.assert_allclose(loudness(sine, 25), np.full(50, -3.0103), atol=1e-3)
    np.testing.assert_array_equal(loudness(np.zeros(32_000, np.float32), 25), np.full(50, -120, np.float32))
    assert (loudness(np.ones(16_000, np.float32), 30) == 0).all()


def test_loudness_hears_each_frame_alone():
    waveform = np.zeros(32_032, np.float32)  # sixty frames of NTSC video
    waveform[534] = 1.0  # frame 1 starts at sample 533.87, so at 533
    assert np.flatnonzero(loudness(waveform, 29.97) > -120).tolist() == [1]
    waveform[:] = 0
    waveform[532] = 1.0
    assert np.flatnonzero(loudness(waveform, 29.97) > -120).tolist() == [0]


@pytest.mark.parametrize("waveform", [np.full(16_000, 9, np.int16), np.zeros((2, 16_000)), [[0.0], 1.0]])
def test_loudness_is_of_floats_alone(waveform):
    """Integers that were not scaled would all be loud."""
    with pytest.raises(ParameterError, match=r"a waveform is floats .* Use load_audio"):
        loudness(waveform, 25)


@pytest.mark.parametrize("n", [0, 1, 639])
def test_loudness_of_less_than_a_frame(n):
    assert loudness(np.ones(n, np.float32), 25).shape == (0,)
    with pytest.raises(ParameterError, match="fps must be"):
        loudness(np.ones(n, np.float32), 0)
