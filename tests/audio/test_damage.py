"""Damaged and joined files of many containers: told by an error or by a finding, whole files are not."""

import io
import re
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import soundfile
from clips import write_clip
from media import speech, write_media

from musetools import AudioError, audit_clip, load_audio
from musetools.audio import DECODERS
from musetools.audio.structure import structure_of

RATE = 44_100
FORMATS = {".aiff": "AIFF", ".au": "AU", ".w64": "W64", ".caf": "CAF", ".wav": "WAV"}
JOINED = {
    **dict.fromkeys(FORMATS, "follow the end"),
    **dict.fromkeys((".flac", ".ogg", ".opus"), "joined"),
    ".mp3": "Xing header counts",
    ".m4a": r"second index \(moov\)",
    ".mp4": r"second index \(moov\)",
    ".mkv": "follow the end",
    ".avi": "follow the end",
    ".asf": "follow the end",
}


def write(path: Path) -> Path:
    """Write two seconds, with a picture in what usually has one."""
    if path.suffix == ".opus":
        soundfile.write(path, speech(2, 16_000), 16_000, format="OGG", subtype="OPUS")
    elif path.suffix in FORMATS:
        soundfile.write(path, speech(2), RATE, format=FORMATS[path.suffix])
    elif path.suffix in (".mp3", ".m4a", ".flac", ".ogg"):
        write_media(path, speech(2), RATE)
    else:
        write_clip(path)
    return path


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
    assert audit_clip(path, quick=True).level == "error"


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


def changed(path: Path, mark: bytes, ahead: int, new: bytes, after: int = 0) -> Path:
    """Overwrite bytes some way behind a mark."""
    content = bytearray(path.read_bytes())
    place = content.index(mark, after) + ahead
    content[place : place + len(new)] = new
    path.write_bytes(content)
    return path


def refused(path: Path, match: str) -> None:
    for decoder in DECODERS:
        with pytest.raises(AudioError, match=match):
            load_audio(path, decoder=decoder)
    assert audit_clip(path).level == "error"


@pytest.mark.parametrize(
    ("suffix", "mark", "ahead", "new", "match"),
    [
        (".avi", b"01wb", 0, b"\x81\0\0\x81", "no chunk begins at byte"),
        (".avi", b"idx1", 32, b"\xff", "index at byte .* does not match"),
        (".mkv", b"\x1c\x53\xbb\x6b", 0, b"\x81\0\0\x81", "no part of Matroska"),
        (".mkv", b"\x16\x54\xae\x6b", 40, b"\x55", "checksum at byte"),
        (".asf", b"\x82\0\0", 0, b"\0\0\0", "no header"),
        (".mp3", b"Info", 141, b"\x55\x55", "does not match its checksum"),
        (".aiff", b"SSND", 9, b"\1", "truncated"),
        (".m4a", b"mvhd", 16, b"\x20", "index is damaged"),
    ],
)
def test_structure_that_does_not_fit_is_refused(tmp_path, suffix, mark, ahead, new, match):
    path = write(tmp_path / f"clip{suffix}")
    after = 110 if mark[0] == 0x16 else path.stat().st_size // 2 if suffix in (".avi", ".asf", ".mkv") else 0
    refused(changed(path, mark, ahead, new, after), match)


def test_a_wav_whose_rates_do_not_fit_is_damaged(tmp_path):
    """Which of the two is wrong cannot be known: "timeline" takes the first, `check` calls it an error."""
    path = changed(write(tmp_path / "clip.wav"), b"fmt ", 12, b"\x80\x70")
    for decoder in ("ffmpeg", "librosa"):
        with pytest.raises(AudioError, match="which do not fit"):
            load_audio(path, decoder=decoder)
    assert [f.what for f in audit_clip(path).findings if f.level == "error"] == ["damage"]
    assert audit_clip(changed(path, b"fmt ", 16, b"\0\0\0\0")).level == "ok"  # no rate of bytes at all


@pytest.mark.parametrize(("ahead", "new"), [(0, b"\0"), (3, b"\xf0")], ids=["track", "flags"])
def test_a_block_that_ffmpeg_stops_at_is_refused(tmp_path, ahead, new):
    """FFmpeg would skip the rest of the cluster, and of the last one nothing would show it."""
    path = write(tmp_path / "clip.mkv")
    head = re.compile(rb"\xa3[\x81-\xff]\x82|\xa3[\x40-\x7f].\x82", re.DOTALL).search(path.read_bytes(), 4000)
    refused(changed(path, head[0], len(head[0]) - 1 + ahead, new, 4000), "block at byte")


def test_bits_inside_a_cluster_do_not_match_its_checksum(tmp_path):
    path = write(tmp_path / "clip.mkv")
    content = bytearray(path.read_bytes())
    content[content.index(b"\x1f\x43\xb6\x75") + 10] ^= 1  # of the checksum itself
    path.write_bytes(content)
    assert len(load_audio(path)) > 30_000
    assert "damage" in found(path)
    with pytest.raises(AudioError, match="checksum"):
        load_audio(path, decoder="ffmpeg")


def test_a_track_that_begins_on_the_way_is_no_crash(tmp_path):
    path = write(tmp_path / "clip.flv")
    content = bytearray(path.read_bytes())
    tag = b"\x12\0\0\1" + bytes(7) + b"\x02" + (12).to_bytes(4, "big")  # a tag of text
    place = 13
    for _ in range(8):
        place += 15 + int.from_bytes(content[place + 1 : place + 4], "big")
    path.write_bytes(content[:place] + tag + content[place:])
    with suppress(AudioError):
        load_audio(path)
    assert audit_clip(path).name == str(path)


def test_a_format_whose_structure_is_not_known_has_a_length_that_is_not(tmp_path):
    path = write(tmp_path / "clip.mp3")
    path.write_bytes(b"junk" + path.read_bytes()[2000:])  # FFmpeg finds the next frame
    with open(path, "rb") as file:
        assert not structure_of(file).verified
    assert "unverified length" in found(path)


def test_sound_hours_after_its_picture_is_refused_before_hours_of_silence_are_made(tmp_path):
    """One flipped bit of a time stamp; decoders that count samples do not look at it."""
    path = write_clip(tmp_path / "clip.mkv", late_s=25_000)
    with pytest.raises(AudioError, match=r"starts 25000\..* s from its video"):
        load_audio(path)
    assert "undecodable" in found(path)


FAR = b"\x7f" * 6


class Modest(io.BytesIO):
    """A file of which no more is asked than two of it would hold."""

    def seek(self, place: int, whence: int = 0) -> int:
        assert place <= 2 * len(self.getbuffer())
        return super().seek(place, whence)

    def read(self, n: int = -1) -> bytes:
        assert n <= max(2**20, 2 * len(self.getbuffer()))
        return super().read(n)


@pytest.mark.parametrize(
    ("suffix", "edits", "match"),
    [
        (".asf", [(b"\x30\x26\xb2\x75", 18, FAR, 0)], ""),  # of its header, which no decoder looks at
        # of the tracks of a live stream, whose segment has none
        (
            ".mkv",
            [(b"\x18\x53\x80\x67", 4, b"\x01" + 7 * b"\xff", 0), (b"\x16\x54\xae\x6b", 4, b"\x01" + FAR, 110)],
            "truncated",
        ),
        (".avi", [(b"idx1", 4, b"\xf0\xff\xff\xff", 0)], "chunks do not end"),
    ],
)
def test_a_length_that_no_file_has_is_not_believed(tmp_path, suffix, edits, match):
    """Neither is a place read that lies far behind the end, nor is so much memory taken."""
    path = write(tmp_path / f"clip{suffix}")
    for edit in edits:
        changed(path, *edit)
    structure_of(Modest(path.read_bytes()))
    if match:
        refused(path, match)
    else:
        assert not found(path) & {"undecodable", "unreadable"}
        for decoder in DECODERS:
            assert abs(len(load_audio(path, decoder=decoder)) - 32_000) < 1600


def test_time_stamps_that_leave_next_to_no_sound(tmp_path):
    """A clock of seconds instead of samples: 2 s of sound would become hours of silence."""
    path = write(tmp_path / "clip.avi")
    refused(changed(path, b"auds", 20, struct.pack("<II", 60, 1)), "of sound over .* s of silence")
