"""Damaged and joined files of many containers: told by an error or by a finding, whole files are not."""

import struct
from pathlib import Path

import pytest
import soundfile
from clips import write_clip
from media import speech, write_media

from musetools import AudioError, audit_clip, load_audio
from musetools.audio.load import DECODERS
from musetools.audio.structure import structure_of

RATE = 44_100
FORMATS = {".aiff": "AIFF", ".au": "AU", ".w64": "W64", ".caf": "CAF", ".wav": "WAV"}
JOINED = {
    **dict.fromkeys(FORMATS, "follow the end"),
    ".mp3": "Xing header counts",
    ".m4a": r"second index \(moov\)",
    ".mp4": r"second index \(moov\)",
    ".mkv": "follow the end",
    ".avi": "follow the end",
    ".asf": "follow the end",
}


def write(path: Path) -> Path:
    """Write two seconds, with a picture in what usually has one."""
    if path.suffix in FORMATS:
        soundfile.write(path, speech(2), RATE, format=FORMATS[path.suffix])
        return path
    return write_media(path, speech(2), RATE) if path.suffix in (".mp3", ".m4a") else write_clip(path)


def found(path: Path) -> set[str]:
    return {finding.what for finding in audit_clip(path).findings}


@pytest.mark.parametrize("suffix", JOINED)
def test_a_whole_file_is_taken_and_a_joined_one_is_named(tmp_path, suffix):
    path = write(tmp_path / f"clip{suffix}")
    for decoder in DECODERS:
        assert abs(len(load_audio(path, decoder=decoder)) - 32_000) < 1600
    assert not found(path) & {"unverified length", "damage", "undecodable", "unreadable"}
    path.write_bytes(2 * path.read_bytes())
    for decoder in DECODERS:
        with pytest.raises(AudioError, match=f"clip{suffix}.*{JOINED[suffix]}"):
            load_audio(path, decoder=decoder)
    assert "undecodable" in found(path)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("tail", [b"odd", bytes(20_000)], ids=["a few bytes", "zeros"])
def test_bytes_after_the_declared_end_are_a_note(tmp_path, suffix, tail):
    """They may be padding, or as many slipped in before: there is no telling."""
    path = write(tmp_path / f"clip{suffix}")
    path.write_bytes(path.read_bytes() + tail)
    assert "unverified length" in found(path)


@pytest.mark.parametrize("suffix", [".wav", ".avi"])
def test_a_missing_byte_is_no_missing_pad(tmp_path, suffix):
    path = write(tmp_path / f"clip{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[:20_000] + content[20_001:])
    with pytest.raises(AudioError, match="truncated"):
        load_audio(path)


def test_an_odd_last_chunk_needs_no_pad(tmp_path):
    path = write(tmp_path / "clip.wav")
    path.write_bytes(path.read_bytes() + b"note" + struct.pack("<I", 3) + b"odd")
    assert len(load_audio(path)) == 32_000


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_chunks_that_do_not_tile_are_damage(tmp_path, suffix):
    path = write(tmp_path / f"clip{suffix}")
    content = bytearray(path.read_bytes())
    place = content.index({".avi": b"01wb", ".mkv": b"\x1c\x53\xbb\x6b"}[suffix], len(content) // 2)
    content[place : place + 4] = b"\x81\0\0\x81"
    path.write_bytes(content)
    assert "damage" in found(path)
    with pytest.raises(AudioError, match="byte"):
        load_audio(path, decoder="ffmpeg")


def test_a_format_whose_structure_is_not_known_has_a_length_that_is_not(tmp_path):
    path = write(tmp_path / "clip.mp3")
    path.write_bytes(b"junk" + path.read_bytes()[2000:])  # FFmpeg finds the next frame
    with open(path, "rb") as file:
        assert not structure_of(file).verified
    assert "unverified length" in found(path)
