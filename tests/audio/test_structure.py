"""Where files end: cut anywhere they are truncated or cannot be verified, whatever writers put around the sound."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from broken import pcm, sound, with_sound, write
from media import picture, speech, write_media

from musetools import AudioError, audit_clip, load_audio
from musetools.audio import DECODERS

RATE = 16_000
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
TAG1 = b"TAG".ljust(128, b"\0")
TAG = b"ID3\4\0\0\0\0\2\0" + bytes(256)


def levels(path: Path) -> dict[str, str]:
    return {finding.what: finding.level for finding in audit_clip(path).findings}


def whole(path: Path, seconds: float = 2, tolerance: float = 0.05) -> None:
    """Assert that all of a file is decoded, and nothing is said of its end."""
    for decoder in DECODERS:
        assert len(load_audio(path, decoder=decoder)) / RATE == pytest.approx(seconds, abs=tolerance)
    assert not levels(path).keys() & {"undecodable", "unreadable", "truncated", "damage", "unverified length"}


def wave(*chunks: tuple[bytes, bytes], kind: bytes = b"RIFF", pad: bool = True) -> bytes:
    """Put chunks together to a wav file."""
    body = b"".join(
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2 * pad) for name, content in chunks
    )
    return kind + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def form(bits: int = 16, valid: int = 0, mask: int = 0) -> tuple[bytes, bytes]:
    """Return the chunk of a format of one channel; an extensible one if `valid` bits are given."""
    tag = 0xFFFE if valid else 1
    head = struct.pack("<HHIIHH", tag, 1, RATE, RATE * bits // 8, bits // 8, bits)
    return b"fmt ", head + (struct.pack("<HHI", 22, valid, mask) + PCM_GUID if valid else b"")


def samples(dtype: str = "<i2", n: int = 2 * RATE) -> bytes:
    mono = speech(3, RATE, 1)[:n, 0]
    scaled = {"<i2": mono, "<i4": mono.astype("<i4") << 16, "u1": mono // 256 + 128}
    return scaled[dtype].astype(dtype).tobytes()


# --- cut anywhere

FRAGMENTS = "frag_keyframe+default_base_moof+empty_moov"
CUT = {
    "a.mp4": {},
    "front.mp4": {"movflags": "faststart"},
    "fragments.mp4": {"movflags": FRAGMENTS},
    "dash.mp4": {"movflags": FRAGMENTS + "+dash"},
    "index.mp4": {"movflags": FRAGMENTS + "+dash+global_sidx"},
    "no_end.mp4": {"movflags": FRAGMENTS + "+skip_trailer"},
    **{f"a.{suffix}": {} for suffix in ("mov", "mkv", "avi", "flv", "ts", "webm", "wmv")},
    "live.mkv": {"live": "1"},
}
CODECS = {".webm": ("libopus", "libvpx"), ".avi": ("libmp3lame", "mpeg4"), ".wmv": ("wmav2", "mpeg4")}


@pytest.mark.parametrize("name", CUT)
def test_a_video_that_is_cut_anywhere(tmp_path, name):
    path = tmp_path / name
    codec, of_video = CODECS.get(path.suffix, ("aac", "libx264"))
    write(path, lambda c: picture(c, 3, of_video), lambda c: sound(c, codec, 3, rate=48_000), **CUT[name])
    assert "undecodable" not in levels(path)
    cut_anywhere(path, (b"moof", b"mdat", b"sidx", b"\x1f\x43\xb6\x75", b"01wb", b"idx1", b"\x47\x41"))


SOUND = {".wav": "PCM_16", ".w64": "PCM_16", ".aiff": "PCM_16", ".caf": "PCM_16", ".au": "PCM_16", ".flac": None}


@pytest.mark.parametrize("name", [*(f"a{suffix}" for suffix in SOUND), "a.ogg", "a.mp3", "a.m4a", "piped.wav"])
def test_sound_that_is_cut_anywhere(tmp_path, name):
    path = tmp_path / name
    if name == "piped.wav":
        content = wave(form(), (b"data", samples()))
        path.write_bytes(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    elif path.suffix in SOUND:
        soundfile.write(path, pcm(2, RATE), RATE, SOUND[path.suffix])
    else:
        write_media(path, speech(2), 44_100)
    cut_anywhere(path, (b"OggS", b"\xff\xfb", b"\xff\xf8"))


def cut_anywhere(path: Path, marks: tuple[bytes, ...]) -> None:
    """Assert that no cut passes in silence: in steps of a tenth, and before the elements that marks begin."""
    content = path.read_bytes()
    last = [content.rindex(mark) for mark in marks if mark in content]
    half = [content.index(mark, len(content) // 2) for mark in marks if mark in content[len(content) // 2 :]]
    for at in {*(len(content) * k // 10 for k in range(1, 10)), *last, *half, *(p - 4 for p in (*last, *half))}:
        path.write_bytes(content[:at])
        found = levels(path)
        assert "error" in found.values() or "unverified length" in found, f"{path.name} cut at byte {at}"


ZEROS = {
    "a.aac": {},
    "no_xing.mp3": {"write_xing": "0"},
    "a.mp3": {},
    "a.flv": {},
    "a.ts": {},
    "fragments.mp4": {"movflags": FRAGMENTS},
}


@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("stop", [0.7, 1], ids=["inside", "to the end"])
def test_zeros_in_place_of_data(tmp_path, name, stop):
    """A download that was broken off, whose file had its full size from the start; or a hole in one."""
    path = tmp_path / name
    codec = "libmp3lame" if path.suffix == ".mp3" else "aac"
    tracks = [lambda c: sound(c, codec, 3, rate=44_100)]
    if path.suffix not in (".aac", ".mp3"):
        tracks.append(lambda c: picture(c, 3))
    write(path, *tracks, **ZEROS[name])
    content = bytearray(path.read_bytes())
    first, last = len(content) // 2, int(stop * len(content))
    content[first:last] = bytes(last - first)
    path.write_bytes(content)
    found = levels(path)
    assert "error" in found.values() or "hole" in found, found  # of a transport stream time stamps tell it


def test_an_mp4_whose_data_are_zeros_from_the_middle_on(tmp_path):
    """A parser takes them for a single packet."""
    path = tmp_path / "a.mp4"
    write(path, lambda c: sound(c, "libmp3lame", 3, rate=48_000), movflags="faststart")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3] + bytes(len(content) - len(content) * 2 // 3))
    for decoder in DECODERS:
        with pytest.raises(AudioError, match="truncated"):
            load_audio(path, decoder=decoder)
    assert audit_clip(path).level == "error"


def test_mp3s_joined_around_a_tag(tmp_path):
    one = write_media(tmp_path / "a.mp3", speech(2), 44_100).read_bytes()
    path = tmp_path / "b.mp3"
    path.write_bytes(one + b"TAG".ljust(128, b"\0") + one)
    for decoder in DECODERS:
        with pytest.raises(AudioError, match="files were joined"):
            load_audio(path, decoder=decoder)
    path.write_bytes(one + b"<?xpacket?>" + 2000 * b"x")  # behind as many frames as it counts
    whole(path)


# --- what writers put around the sound


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
def test_large_wavs_say_how_long_they_are(tmp_path, kind):
    path, data = tmp_path / "a.wav", samples()
    sizes = b"ds64", struct.pack("<QQQI", len(data) + 80, len(data), 0, 0)
    content = wave(sizes, form(), (b"data", data), kind=kind)
    place = content.index(b"data") + 4
    path.write_bytes(content[:4] + b"\xff" * 4 + content[8:place] + b"\xff" * 4 + content[place + 4 :])
    whole(path, tolerance=0)
    path.write_bytes(path.read_bytes()[:30_000])
    for decoder in DECODERS:
        with pytest.raises(AudioError, match="truncated"):
            load_audio(path, decoder=decoder)


@pytest.mark.parametrize(
    "content",
    [
        wave(form(), (b"data", samples()), (b"_PMX", b"<xml/>")),
        wave(form(8), (b"data", samples("u1", 2 * RATE - 1)), (b"LIST", b"INFOISFT\0\0\0\0"), pad=False),
        wave(form(16, 16, mask=1), (b"data", samples())),
        wave(form(32, 24, mask=4), (b"data", samples("<i4"))),
        wave((b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, RATE * 4, 4, 24)), (b"data", samples("<i4"))),
    ],
    ids=["a name of signs", "no padding", "left alone", "24 of 32 bits", "24 bits in 4 bytes"],
)
def test_wavs_of_all_kinds_are_whole(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    whole(path, tolerance=0.0001)
    expected = speech(3, RATE, 1)[: 2 * RATE - 1, 0] / 32768
    for decoder in DECODERS:
        assert np.abs(load_audio(path, decoder=decoder)[: 2 * RATE - 1] - expected).max() < 0.01


def test_a_wav_named_as_raw_samples(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(wave(form(), (b"data", samples())))
    whole(path, tolerance=0)


def test_a_wav_of_mp3(tmp_path):
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        for packet in sound(container, "libmp3lame", 2, rate=44_100):
            container.mux(packet)
    for decoder in DECODERS:
        assert len(load_audio(path, decoder=decoder)) / RATE == pytest.approx(2, abs=0.06)


def test_two_chunks_of_samples(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wave(form(), (b"data", samples()), (b"data", samples())))
    for decoder in DECODERS:
        with pytest.raises(AudioError, match="second data chunk"):
            load_audio(path, decoder=decoder)


@pytest.mark.parametrize("suffix", [".mp3", ".flac"])
def test_two_tags_in_front(tmp_path, suffix):
    path = write_media(tmp_path / f"a{suffix}", speech(2), 44_100)
    path.write_bytes(2 * TAG + path.read_bytes())
    whole(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for decoder in DECODERS:
        with pytest.raises(AudioError, match="truncated"):
            load_audio(path, decoder=decoder)


def test_tags_behind_an_mp3_hold_no_sound(tmp_path):
    """A cover is longer than the sound, and may hold what looks like the header of a frame."""
    path = write_media(tmp_path / "a.mp3", speech(2), 44_100)
    content, plain = path.read_bytes(), len(load_audio(path, decoder="ffmpeg"))
    cover = bytes(range(256)) + content[1000:9000] + bytes(range(256))
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, len(cover) + 59, 1, 0xA0000000) + bytes(8)
    ape += struct.pack("<II", len(cover), 2) + b"Cover Art (Front)\0" + cover
    lyrics = b"LYRICSBEGIN" + b"LYR00400" + 44 * b"la la la " + b"line000415LYRICS200"
    for tail in (ape, lyrics, lyrics + b"TAG".ljust(128, b"\0")):
        path.write_bytes(content + tail)
        for decoder in DECODERS:
            assert len(load_audio(path, decoder=decoder)) == pytest.approx(plain, abs=600)  # what encoders pad
        assert not {"error", "warning"} & {*levels(path).values()}


APE_ITEM = struct.pack("<II", 900, 0) + b"Title\0" + 900 * b"a"
BEHIND = {
    "APEv1": APE_ITEM + b"APETAGEX" + struct.pack("<IIII", 1000, len(APE_ITEM) + 32, 1, 0) + bytes(8),
    "MusicMatch": b"18273645".ljust(2000, b" ") + TAG1,
    "zeros": bytes(5000) + TAG1,
}
BEHIND["APEv1 and ID3v1"] = BEHIND["APEv1"] + TAG1


@pytest.mark.parametrize("suffix", [".mp3", ".aac"])
def test_a_tag_that_says_so_at_its_end_shows_that_the_file_is_whole(tmp_path, suffix):
    """Where nothing else does: MP3 without a Xing header, and ADTS."""
    path, codec = tmp_path / f"a{suffix}", {".mp3": "libmp3lame", ".aac": "aac"}[suffix]
    options = {"write_xing": "0"} if suffix == ".mp3" else {}
    write(path, lambda c: sound(c, codec, 2, rate=44_100), **options)
    plain, content = len(load_audio(path)), path.read_bytes()
    for kind, tag in BEHIND.items():
        path.write_bytes(content + tag)
        assert len(load_audio(path)) == pytest.approx(plain, abs=1200), kind
        assert "error" not in levels(path).values(), kind


def test_a_header_of_an_mp3_that_is_damaged_is_not_called_truncated(tmp_path):
    path = write_media(tmp_path / "a.mp3", speech(2), 44_100)
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xfb", len(content) // 2)] = 0x7F
    path.write_bytes(content)
    for decoder in DECODERS:
        with pytest.raises(AudioError, match=r"no frame begins at byte \d+.*damaged"):
            load_audio(path, decoder=decoder)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".flv", ".ts", *(suffix for suffix in SOUND if suffix != ".flac")])
def test_bytes_behind_a_whole_file_are_a_note(tmp_path, suffix):
    """They may be padding, or as many slipped in before: there is no telling."""
    path = tmp_path / f"a{suffix}"
    if suffix in SOUND:
        soundfile.write(path, pcm(2, RATE), RATE)
    else:
        with_sound(path, seconds=2)
    content = path.read_bytes()
    for tail in (b"odd", b"Trailer of no known kind", bytes(20_000 if suffix in SOUND else 300)):
        path.write_bytes(content + tail)
        found = levels(path)
        assert found["unverified length"] == "note", tail
        assert "error" not in found.values(), tail


def test_flash_that_was_joined(tmp_path):
    path = with_sound(tmp_path / "a.flv", seconds=2)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(AudioError, match="second file begins at byte"):
        load_audio(path)
    assert audit_clip(path, quick=True).level == "error"


def test_a_codec_of_changing_modes_declares_no_length(tmp_path):
    """AMR: FFmpeg takes the rate of the first frame for that of all."""
    path = tmp_path / "a.amr"
    path.write_bytes(b"#!AMR\n" + 100 * (b"\x3c" + bytes(31)) + 100 * (b"\x04" + bytes(12)))
    assert audit_clip(path, quick=True).n_samples == 4 * RATE
    assert len(load_audio(path)) == 4 * RATE
    assert "declared length" not in levels(path)


# --- edit lists of mp4


def with_edits(path: Path, edits: list[tuple[int, int, int]], clock: int = 1000, track: str = "sound") -> Path:
    """Write a video, one of whose tracks has these edits: ms, start in its ticks (-1: a pause), speed."""
    write(path, lambda c: picture(c, 3), lambda c: sound(c, "aac", 3), movie_timescale=str(clock))
    content, edits = bytearray(path.read_bytes()), [(ms * clock // 1000, *rest) for ms, *rest in edits]
    place = content.rindex(b"elst") if track == "sound" else content.index(b"elst", content.rindex(b"moov"))
    size, body = int.from_bytes(content[place - 4 : place], "big"), bytes(4) + struct.pack(">I", len(edits))
    body += b"".join(struct.pack(">Iii", length, start, round(speed * 65_536)) for length, start, speed in edits)
    content[place + 4 : place + size - 4] = body
    for name in (b"elst", b"edts", b"trak", b"moov"):  # the last one comes last, so that no offset changes
        at = content.rindex(name, 0, place + 4) - 4
        content[at : at + 4] = struct.pack(">I", int.from_bytes(content[at : at + 4], "big") + len(body) + 8 - size)
    content[at_length(content, place) : at_length(content, place) + 4] = struct.pack(">I", sum(e[0] for e in edits))
    path.write_bytes(content)
    return path


def at_length(content: bytearray, place: int) -> int:
    return content.rindex(b"tkhd", 0, place) + 24


@pytest.mark.parametrize(
    ("edits", "match"),
    [
        ([(1000, 1024, 1), (500, -1, 1), (1500, 45_124, 1)], "a pause inside the clip"),
        ([(3000, 1024, 1), (500, -1, 1)], "or behind it"),
        ([(1500, 1024, 2)], "at another speed"),
        ([(500, -1, 1), (1000, 1024, 0), (1500, 1024, 1)], "at another speed"),
    ],
    ids=["pause", "pause behind", "fast", "still"],
)
def test_edits_that_no_decoder_here_follows_are_refused(tmp_path, edits, match):
    path = with_edits(tmp_path / "a.mp4", edits)
    for decoder in DECODERS:
        with pytest.raises(AudioError, match=match):
            load_audio(path, decoder=decoder)
    assert audit_clip(path, quick=True).level == "error"


def test_edits_of_a_track_that_is_not_used_are_no_fault(tmp_path):
    path = with_edits(tmp_path / "a.mp4", [(1000, 1024, 1), (500, -1, 1), (1500, 45_124, 1)], track="video")
    for decoder in ("ffmpeg", "librosa"):  # which count samples, and look at no video
        assert len(load_audio(path, decoder=decoder)) / RATE == pytest.approx(3, abs=0.03)
    with pytest.raises(AudioError, match="a pause inside the clip"):
        load_audio(path)
    assert audit_clip(path, quick=True).level == "error"


def test_a_pause_of_no_length_is_no_fault(tmp_path):
    whole(with_edits(tmp_path / "a.mp4", [(3000, 1024, 1), (0, -1, 1)]), 3)


@pytest.mark.parametrize("clock", [24, 30, 2997, 15_360, 44_100])  # one of each kind that writers use
@pytest.mark.parametrize("edits", [[(1000, 1024, 1)], [(400, -1, 1), (1000, 1024, 1)]], ids=["trimmed", "late"])
def test_a_part_that_an_editor_kept_is_whole(tmp_path, edits, clock):
    """Less than half of the packets are left then, and nothing is damaged."""
    path = with_edits(tmp_path / "a.mp4", edits, clock)
    late_s = 0.4 * clock // 1 / clock * (len(edits) - 1)
    assert len(load_audio(path)) / RATE == pytest.approx(1 + late_s, abs=0.03)
    assert len(load_audio(path, decoder="ffmpeg")) / RATE == pytest.approx(1, abs=0.03)


def test_a_box_that_ends_far_behind_the_file(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(
        struct.pack(">I4s8s", 16, b"ftyp", b"isom\0\0\0\0") + struct.pack(">I4sQ", 1, b"moov", 2**63) + bytes(99)
    )
    for decoder in DECODERS:
        with pytest.raises(AudioError, match=r"truncated|damaged"):
            load_audio(path, decoder=decoder)
    assert audit_clip(path).level == "error"


@pytest.mark.parametrize("mark", [b"LYRICSEND", b"000415LYRICS200"])
def test_lyrics_behind_an_mp3_without_xing(tmp_path, mark):
    path = tmp_path / "a.mp3"
    write(path, lambda c: sound(c, "libmp3lame", 2, rate=44_100), write_xing="0")
    plain = len(load_audio(path))
    path.write_bytes(path.read_bytes() + b"LYRICSBEGIN" + 100 * b"words " + mark + b"TAG".ljust(128, b"\0"))
    assert len(load_audio(path)) == plain
    assert "error" not in levels(path).values()
