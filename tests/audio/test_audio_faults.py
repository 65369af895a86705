"""Audio that cannot be trusted: every error names the file and says how to mend it."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile
from media import FASTSTART, speech, write_media, write_silent_film

from musetools import AudioError, MusetoolsError, ParameterError, audio_blocks, load_audio
from musetools.audio import DECODERS
from musetools.files import find_media

MEND = ("again", "Name a file", "Mux its sound", "cut it out", "Invert one channel", "Convert it first", "pass array.T")
pytestmark = pytest.mark.parametrize("decoder", DECODERS)


def error_of(source, decoder: str, kind: type[MusetoolsError] = AudioError) -> str:
    """Load what cannot be loaded, and give the message."""
    with pytest.raises(kind) as caught:
        load_audio(source, decoder=decoder)
    message = str(caught.value)
    assert any(mend in message for mend in MEND) or kind is ParameterError, message
    return message


# --- no audio at all


def test_a_missing_file(tmp_path, decoder):
    message = error_of(tmp_path / "gone.wav", decoder)
    assert f"{tmp_path / 'gone.wav'} is not there" in message
    assert os.getcwd() in message
    assert "is not there" in error_of(tmp_path / ("x" * 300), decoder)
    assert "is not there" in error_of("nul\0.wav", decoder)


def test_a_folder(tmp_path, decoder):
    assert f"{tmp_path} is a folder" in error_of(tmp_path, decoder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe(tmp_path, decoder):
    os.mkfifo(tmp_path / "a.wav")
    assert "a.wav is a pipe or a device" in error_of(tmp_path / "a.wav", decoder)
    with pytest.raises(ParameterError, match=r"a\.wav is a pipe or a device"):
        find_media(tmp_path / "a.wav")


def test_an_empty_file(tmp_path, decoder):
    (tmp_path / "empty.wav").touch()
    assert "empty.wav is empty (0 bytes)" in error_of(tmp_path / "empty.wav", decoder)
    error_of(io.BytesIO(), decoder)


@pytest.mark.parametrize("name", ["notes.wav", "notes.mp3", "notes", "notes.txt"])
def test_text_is_no_media(tmp_path, name, decoder):
    """FFmpeg takes text under its own name for a picture of a terminal."""
    (tmp_path / name).write_text("These are the notes of a meeting, not its recording.\n" * 50)
    assert name in error_of(tmp_path / name, decoder)


def test_a_video_without_sound(tmp_path, decoder):
    message = error_of(write_silent_film(tmp_path / "mute.mp4"), decoder)
    assert "mute.mp4 has no audio stream (streams: video)" in message


@pytest.mark.parametrize("name", ["nothing.wav", "nothing.flac"])
def test_a_file_without_samples(tmp_path, name, decoder):
    soundfile.write(tmp_path / name, np.zeros((0, 2), np.int16), 44_100)
    assert name in error_of(tmp_path / name, decoder)


def test_a_wav_of_an_unknown_codec(tmp_path, decoder):
    path = write_media(tmp_path / "odd.wav", speech(0.5), 44_100)
    riff = bytearray(path.read_bytes())
    riff[20:22] = struct.pack("<H", 0x4D5A)
    path.write_bytes(riff)
    assert "odd.wav" in error_of(path, decoder)


def test_a_file_that_may_not_be_read(tmp_path, decoder):
    path = write_media(tmp_path / "private.wav", speech(0.5), 44_100)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(AudioError, match=r"private\.wav"):
        load_audio(path, decoder=decoder)


@pytest.mark.parametrize(
    "source", [None, b"speech.wav", [np.zeros(5), 16_000], np.zeros(5), (), (np.zeros(5),), (np.zeros(5), 16_000, 1)]
)
def test_what_is_no_source(source, decoder):
    with pytest.raises(ParameterError, match=r"\(array, sample_rate\)"):
        load_audio(source, decoder=decoder)


def test_a_file_opened_as_text(tmp_path, decoder):
    path = write_media(tmp_path / "speech.wav", speech(0.5), 44_100)
    with open(path, encoding="latin-1") as file, pytest.raises(ParameterError, match="binary"):
        load_audio(file, decoder=decoder)


# --- truncated

FILES = {  # what is cut, and after which part of the file; below 0: bytes from the end
    "speech.wav": [4, 11, 20, 36, 43, 44, 0.5, -17_640],
    "speech_24.wav": [60, -26_460],
    "speech.flac": [4, 30, 0.1, 0.9],
    "front.mp4": [20, 0.3, 0.9],
    "end.m4a": [20, 0.9],
    "speech.mp3": [0.1, 0.95],
    "speech.mkv": [20, 0.5, 0.9],
    "speech.rf64": [60, 0.5],
}
CUTS = [(name, cut) for name, cuts in FILES.items() for cut in cuts]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name in FILES:
        subtype = "PCM_24" if "24" in name else None
        if name.endswith(".rf64"):
            soundfile.write(folder / name, speech(), 44_100, format="RF64")
        else:
            write_media(folder / name, speech(), 44_100, subtype, **(FASTSTART if name == "front.mp4" else {}))
    return folder


@pytest.mark.parametrize(("name", "cut"), CUTS)
def test_a_truncated_file(whole, tmp_path, name, cut, decoder):
    content = (whole / name).read_bytes()
    part = content[: cut if isinstance(cut, int) else int(cut * len(content))]
    (tmp_path / name).write_bytes(part)
    message = error_of(tmp_path / name, decoder)
    assert name in message
    assert "truncated" in message
    assert "truncated" in error_of(io.BytesIO(part), decoder)


def test_whole_files_are_not_called_truncated(whole, decoder):
    for name in FILES:
        assert abs(len(load_audio(whole / name, decoder=decoder)) - 48_000) <= 640


def test_truncation_is_told_after_the_blocks_that_are_there(tmp_path, decoder):
    path = write_media(tmp_path / "half.flac", speech(12), 44_100)
    os.truncate(path, path.stat().st_size // 2)
    blocks, heard = audio_blocks(path, decoder=decoder), 0
    with pytest.raises(AudioError, match=r"half\.flac"):  # noqa: PT012 - what came before the error is the point
        for block in blocks:
            heard += len(block)
    assert heard > 16_000


def test_an_odd_chunk_before_the_samples(whole, tmp_path, decoder):
    content = (whole / "speech.wav").read_bytes()
    odd = content[:36] + b"note" + (3).to_bytes(4, "little") + b"odd\0" + content[36:]  # padded to an even length
    (tmp_path / "odd.wav").write_bytes(odd)
    assert len(load_audio(tmp_path / "odd.wav", decoder=decoder)) == 48_000
    (tmp_path / "odd.wav").write_bytes(odd[:-20_000])
    assert "truncated" in error_of(tmp_path / "odd.wav", decoder)


# --- samples that are not finite


@pytest.mark.parametrize(
    ("value", "channels", "rate", "sample"),
    [
        (np.nan, 1, 44_100, 0),
        (np.nan, 2, 16_000, 88_888),
        (np.inf, 1, 16_000, 24_000),
        (np.inf, 2, 44_100, 330_750),
        (-np.inf, 2, 44_100, 0),
    ],
)
def test_a_sample_that_is_not_finite(tmp_path, value, channels, rate, sample, decoder):
    samples = np.resize(speech(3, 16_000, 1), (8 * rate, channels)).astype(np.float32) / 32768
    samples[sample, -1] = value
    soundfile.write(tmp_path / "spoilt.wav", samples, rate, subtype="FLOAT")
    for name, source in (("spoilt.wav", tmp_path / "spoilt.wav"), ("the array", (samples.T, rate))):
        message = error_of(source, decoder)
        assert f"{name}: sample {sample} (at {sample / rate:.3f} s) is not finite" in message


def test_the_first_of_several_is_named(tmp_path, decoder):
    samples = np.zeros((5 * 44_100, 2))
    samples[30_000:, 0] = samples[20_000:, 1] = np.nan
    soundfile.write(tmp_path / "spoilt.wav", samples, 44_100, subtype="DOUBLE")
    assert "sample 20000 (at 0.454 s)" in error_of(tmp_path / "spoilt.wav", decoder)


# --- channels that cancel each other


@pytest.mark.parametrize("gain", [1, 0.97, 0.9])
def test_antiphase(tmp_path, gain, decoder):
    """A miswired cable is never exactly -1: what is 20 dB below the louder channel is no downmix."""
    left = speech(5, channels=1)
    pcm = np.hstack([left, (-gain * left).astype(np.int16)])
    soundfile.write(tmp_path / "anti.wav", pcm, 44_100)
    for name, source in (("anti.wav", tmp_path / "anti.wav"), ("the array", (pcm.T, 44_100))):
        message = error_of(source, decoder)
        assert name in message
        assert "its channels cancel each other" in message


def test_nearly_antiphase_is_quiet_but_fine(tmp_path, decoder):
    left = speech(5, channels=1) / 32768
    soundfile.write(tmp_path / "nearly.wav", np.hstack([left, -0.7 * left]), 44_100)
    waveform = load_audio(tmp_path / "nearly.wav", decoder=decoder)
    expected = load_audio((0.15 * left[:, 0], 44_100), decoder=decoder)
    np.testing.assert_allclose(waveform, expected, atol=2 / 32768)


def test_one_silent_channel_is_fine(decoder):
    left = speech(1, channels=1)[:, 0]
    assert np.abs(load_audio((np.stack([left, 0 * left]), 44_100), decoder=decoder)).max() > 0.01


@pytest.mark.parametrize(
    ("name", "channels", "subtype"),
    [("a.wav", 1, None), ("a.wav", 2, "PCM_U8"), ("a.flac", 2, None), ("a.mp3", 1, None), ("a.m4a", 2, None)],
)
def test_digital_silence_is_audio(tmp_path, name, channels, subtype, decoder):
    """In unsigned bytes it is 128."""
    write_media(tmp_path / name, np.zeros((44_100, channels), np.int16), 44_100, subtype)
    waveform = load_audio(tmp_path / name, decoder=decoder)
    assert abs(len(waveform) - 16_000) <= 640
    assert (waveform == 0).all()


def test_a_very_quiet_stereo_recording_is_not_called_antiphase(tmp_path, decoder):
    hiss = np.random.default_rng(0).integers(-8, 9, (44_100, 2)).astype(np.int32) << 8  # below half a 16-bit step
    soundfile.write(tmp_path / "quiet.wav", hiss, 44_100, subtype="PCM_24")
    assert len(load_audio(tmp_path / "quiet.wav", decoder=decoder)) == 16_000


# --- arrays that are no audio


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.zeros((1000, 2)), r"at most 8; got \(1000, 2\).*pass array\.T"),
        (np.zeros((9, 1000)), r"at most 8; got \(9, 1000\)"),
        (np.zeros((0, 1000)), r"got .*\(0, 1000\)"),
        (np.zeros((1, 2, 1000)), r"got float64 \(1, 2, 1000\)"),
        (np.float32(0.5), r"got float32 \(\)"),
        (np.zeros(1000, complex), "got complex128"),
        (np.zeros(1000, bool), "got bool"),
        (np.zeros(1000, np.uint8), "got uint8"),
        (np.full(1000, None), "got object"),
        ("speech.wav", "got <U10"),
    ],
)
def test_arrays_that_are_no_audio(array, got, decoder):
    with pytest.raises(ParameterError, match=f"(?s)an array of audio.*{got}"):
        load_audio((array, 44_100), decoder=decoder)


@pytest.mark.parametrize(("array", "rate"), [([], 16_000), (np.zeros((2, 0)), 44_100), (np.zeros(0, np.int16), 16_000)])
def test_an_empty_array(array, rate, decoder):
    assert "the array holds no audio samples" in error_of((array, rate), decoder)


@pytest.mark.parametrize("rate", [0, -16_000, 0.5, 16_000.0, True, "16000", None, np.nan, 2**31], ids=repr)
def test_rates_that_are_none(rate, decoder):
    with pytest.raises(ParameterError, match=r"the sample rate must be .*; got ") as caught:
        load_audio((np.zeros(1000, np.float32), rate), decoder=decoder)
    assert repr(rate) in str(caught.value)
