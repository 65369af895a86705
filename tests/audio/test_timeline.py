"""Sound lies where its time stamps say; every fault that people sent in is laid right, or refused by name."""

import os
import re
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from broken import (
    FRAME,
    RATE,
    pcm,
    rifx,
    sound,
    wav_with_size,
    with_bad_packet,
    with_sound,
    write,
)
from clips import write_clip
from media import copied, film_packets, mux, picture, speech, write_media

import musetools as mt
from musetools.audio import DECODERS, audio_blocks
from musetools.audio.container import opened
from musetools.audio.reading import read_timeline
from musetools.audio.shown import shown_frames
from musetools.audio.timeline import Piece, Timeline
from musetools.check.findings import of_timeline
from musetools.check.folder import audit_folder
from musetools.recipes.recipe import RECIPES

LATE_S = 0.478
HOLE = (1.0, 1.3)


def delay_s(waveform: np.ndarray, at_s: float) -> float:
    """Return how late half a second of the speech comes in a waveform, against its place in the speech."""
    expected = speech(6, 16_000, 1)[:, 0] / 32768
    first = round(at_s * 16_000)
    part = expected[first : first + 8000]
    around = waveform[max(0, first - 8000) : first + 16_000]
    energy = np.convolve(np.square(around, dtype=float), np.ones(len(part)), "valid") + 1e-9
    found = int(np.argmax(np.correlate(around, part, "valid") / np.sqrt(energy)))
    return (max(0, first - 8000) + found - first) / 16_000


# --- late, early, holes, overlaps


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts", "a.flv", "a.webm"])
def test_late_sound(tmp_path, name):
    codecs = ("libopus", "libvpx") if name == "a.webm" else ("aac", "libx264")
    path = with_sound(tmp_path / name, *codecs, late_s=LATE_S)
    priming = 0 if name == "a.webm" else FRAME / RATE
    placed = delay_s(mt.load_audio(path), 1.0)
    assert placed == pytest.approx(LATE_S, abs=priming + 0.002)
    timeline = read_timeline(path)
    assert timeline.start_offset_s == pytest.approx(LATE_S - priming, abs=priming + 0.002)
    counted = delay_s(mt.load_audio(path, decoder="ffmpeg"), 1.0)
    assert placed - counted == pytest.approx(timeline.worst.early_s, abs=0.001)
    (finding,) = [f for f in mt.audit_clip(path).findings if f.what == "start offset"]
    assert (finding.level, finding.mended) == ("error", True)
    assert finding.number == pytest.approx(1000 * timeline.start_offset_s, abs=0.1)


def test_sound_that_starts_before_the_picture_is_cut(tmp_path):
    path = with_sound(tmp_path / "a.mkv", "pcm_s16le", picture_starts_s=0.2)
    assert delay_s(mt.load_audio(path), 1.0) == pytest.approx(-0.2, abs=0.001)
    assert delay_s(mt.load_audio(path, decoder="ffmpeg"), 1.0) == pytest.approx(0, abs=0.001)
    assert read_timeline(path).start_offset_s == pytest.approx(-0.2, abs=0.001)


@pytest.mark.parametrize(
    ("name", "codec", "video", "live"),
    [
        ("a.mp4", "aac", "libx264", False),
        ("a.mkv", "pcm_s16le", "libx264", False),
        ("a.webm", "libopus", "libvpx", False),
        ("a.webm", "libopus", "libvpx", True),
        ("a.ts", "aac", "libx264", False),
    ],
)
def test_a_hole(tmp_path, name, codec, video, live):
    """What a browser or a phone lost comes back as silence of the same length, and is listed."""
    path = with_sound(tmp_path / name, codec, video, drop=HOLE, live=live)
    waveform = mt.load_audio(path)
    assert delay_s(waveform, 1.8) == pytest.approx(delay_s(waveform, 0.3), abs=0.001)
    timeline = read_timeline(path)
    ((start, length),) = timeline.holes
    assert start == pytest.approx(HOLE[0], abs=0.05)
    assert length == pytest.approx(HOLE[1] - HOLE[0], abs=0.05)
    counted = mt.load_audio(path, decoder="ffmpeg")
    assert delay_s(counted, 1.8) - delay_s(counted, 0.3) == pytest.approx(-length, abs=0.001)
    silent = waveform[round((start + 0.06) * 16_000) : round((start + length - 0.06) * 16_000)]
    assert np.abs(silent).max() < 0.01
    (hole,) = [f for f in mt.audit_clip(path).findings if f.what == "hole"]
    assert (hole.level, hole.mended) == ("error", True)
    assert hole.number == pytest.approx(1000 * length, abs=0.1)
    (hole,) = [f for f in mt.audit_clip(path, "musetalk-v1.5-infer").findings if f.what == "hole"]
    assert f"musetalk-v1.5-infer plays it {1000 * timeline.worst.early_s:.0f} ms early" in hole.sentence


def test_packets_show_the_hole_too(tmp_path):
    path = with_sound(tmp_path / "a.mp4", drop=HOLE)
    quick, whole = mt.audit_clip(path, quick=True), mt.audit_clip(path)
    np.testing.assert_allclose(quick.timeline.holes, whole.timeline.holes, atol=0.03)
    assert not quick.timeline.decoded
    assert whole.timeline.decoded


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "flac"), ("a.mkv", "pcm_s16le"), ("a.ts", "mp2")])
def test_packets_of_any_length_show_it(tmp_path, name, codec):
    path = with_sound(tmp_path / name, codec, drop=HOLE)
    quick, whole = mt.audit_clip(path, quick=True), mt.audit_clip(path)
    np.testing.assert_allclose(quick.timeline.holes, whole.timeline.holes, atol=0.03)
    assert quick.timeline.holes[0][1] == pytest.approx(HOLE[1] - HOLE[0], abs=0.1)


@pytest.mark.parametrize("name", ["a.mov", "a.avi"])
def test_where_pcm_starts_is_read_off_its_index(tmp_path, name):
    video = "libx264" if name == "a.mov" else "mpeg4"
    path = with_sound(tmp_path / name, "pcm_s16le", video, late_s=LATE_S)
    quick, whole = mt.audit_clip(path, quick=True), mt.audit_clip(path)
    assert quick.timeline.start_offset_s == pytest.approx(whole.timeline.start_offset_s, abs=0.03)
    assert quick.level == whole.level


def test_where_packets_do_not_say_it_that_is_said(tmp_path):
    """A decoder of WMA gives sound a packet later than its time stamps."""
    path = with_sound(tmp_path / "a.wmv", "wmav2", "mpeg4")
    assert "nor is where sound lies" in repr(mt.audit_clip(path, quick=True))
    assert "nor is where sound lies" in repr(audit_folder([path], quick=True))
    assert "nor is" not in repr(mt.audit_clip(with_sound(tmp_path / "a.mp4"), quick=True))


@pytest.mark.parametrize("start_s", [0.5, -0.01])
def test_what_ends_before_the_picture_is_beside_no_hole(start_s):
    pieces = Piece(-0.08, 0, 0.02), Piece(start_s, 0.02, 2), Piece(start_s + 2.012, 2.02, 1)
    timeline = Timeline((0.0, 0.04), pieces)
    assert timeline.start_offset_s == start_s
    assert [length for _, length in timeline.holes] == pytest.approx([0.012])
    assert not timeline.overlaps
    found = {f.what: f for f in of_timeline(timeline, RECIPES["musetools"])}
    assert found["hole"].level == "note"  # 12 ms of it, whatever was cut off
    if start_s > 0:
        assert "plays it 480 ms early" in found["start offset"].sentence


def test_an_overlap_is_cut_and_listed(tmp_path):
    """Segments of a live stream that share their ends: the later one loses what both claim, and is in place."""
    one, two = with_sound(tmp_path / "1.ts", seconds=1.5), tmp_path / "2.ts"
    with_sound(two, seconds=1.5, late_s=1.3, picture_starts_s=1.3)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    first, second = (first_frames_s(path) for path in (one, two))
    ((start, length),) = read_timeline(both).overlaps
    assert start == pytest.approx(1.5, abs=0.05)
    assert start - length == pytest.approx(second["audio"] - first["video"], abs=0.001)
    waveform = mt.load_audio(both)
    assert len(waveform) / 16_000 == pytest.approx(start - length + 1.5, abs=0.06)
    placed, priming = second["audio"] - first["video"], FRAME / RATE
    assert delay_s(waveform[round((placed + priming) * 16_000) :], 0.5) == pytest.approx(0, abs=0.001)


def test_a_recorder_that_starts_again_after_a_short_piece(tmp_path):
    """It goes back by more than that piece, and by little of all the sound before."""
    parts = [(4, 0), (0.4, 4.6), (2, 4.2)]  # length and start, in seconds
    both = tmp_path / "both.ts"
    both.write_bytes(
        b"".join(
            with_sound(tmp_path / "1.ts", seconds=seconds, late_s=start, picture_starts_s=start).read_bytes()
            for seconds, start in parts
        )
    )
    assert len(mt.load_audio(both, decoder="ffmpeg")) / 16_000 == pytest.approx(6.4, abs=0.1)
    assert len(mt.load_audio(both)) / 16_000 == pytest.approx(6.2, abs=0.1)
    assert {"hole", "overlap"} <= {f.what for f in mt.audit_clip(both).findings}


@pytest.mark.parametrize("step_s", [0.2, 100], ids=["bursts", "all at 0"])
def test_packets_that_are_stamped_in_bursts_are_no_holes(tmp_path, step_s):
    """As they arrive over a network: to lay them there would lose most of the sound."""
    path = tmp_path / "a.flv"
    with av.open(str(path), "w") as container:
        packets = [*picture(container, 3, b_frames=0), *sound(container, "aac", 3)]
        for packet in (one for one in packets if one.stream.type == "audio"):
            packet.pts = packet.dts = round(packet.pts * packet.time_base // step_s * step_s / packet.time_base)
        mux(container, packets)
    with pytest.raises(mt.AudioError, match="in bursts"):
        mt.load_audio(path)
    assert mt.audit_clip(path).level == mt.audit_clip(path, quick=True).level == "error"
    for decoder in ("ffmpeg", "librosa"):
        assert len(mt.load_audio(path, decoder=decoder)) / 16_000 == pytest.approx(3, abs=0.06)


def test_a_single_odd_stamp_is_no_break(tmp_path):
    path = tmp_path / "a.flv"
    with av.open(str(path), "w") as container:
        packets = [*picture(container, 3, b_frames=0), *sound(container, "aac", 3)]
        for number, packet in enumerate(one for one in packets if one.stream.type == "audio"):
            late = round(0.02 / packet.time_base) * (number % 10 == 5)
            packet.pts, packet.dts = packet.pts + late, packet.dts + late
        mux(container, packets)
    for quick in (False, True):
        assert not {"hole", "overlap"} & {f.what for f in mt.audit_clip(path, quick=quick).findings}


def test_a_caf_has_no_time_stamps(tmp_path):
    """FFmpeg makes some, of a length of packets that its header has wrong."""
    path = write(tmp_path / "a.caf", lambda c: sound(c, "flac", 3, rate=48_000))
    assert len(mt.load_audio(path)) == len(mt.load_audio(path, decoder="ffmpeg")) == 48_000


def first_frames_s(path) -> dict[str, float]:
    """Return when the first frame of each kind comes, on the container's clock."""
    found = {}
    for kind in ("audio", "video"):
        with av.open(str(path)) as container:
            found[kind] = next(container.decode(**{kind: 0})).time
    return found


@pytest.mark.parametrize("seconds", [2, 12])
@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_time_stamps_that_start_anew_are_refused(tmp_path, suffix, seconds):
    """Joined streams: to lay the second half on top of the first would lose it."""
    codecs = {".ts": ("aac", "libx264"), ".mpg": ("mp2", "mpeg2video")}[suffix]
    one = with_sound(tmp_path / f"one{suffix}", *codecs, seconds=seconds)
    two = tmp_path / f"two{suffix}"
    two.write_bytes(one.read_bytes() * 2)
    for decoder in DECODERS:
        with pytest.raises(mt.AudioError, match=r"time stamps jump from .* joined"):
            mt.load_audio(two, decoder=decoder)


# --- frames that are shown


def test_frames_that_an_edit_list_hides(tmp_path):
    path = copied(write_clip(tmp_path / "whole.mp4", seconds=6), tmp_path / "a.mp4", 1.3)
    with av.open(str(path)) as container:
        shown = sum(1 for _ in container.decode(video=0))
    audit = mt.audit_clip(path)
    assert shown < 150
    assert audit.n_frames == shown == len(read_timeline(path).frames_s)
    assert audit.level == "ok", audit
    assert mt.audit_clip(path, quick=True).n_frames == shown


def test_an_undecodable_start(tmp_path):
    """A stream that was cut in mid-shot: what comes before the next key frame is never shown."""
    whole = with_sound(tmp_path / "whole.mkv", "pcm_s16le", "mpeg4", seconds=4)
    path = copied(whole, tmp_path / "cut.mkv", keep=lambda packet: packet.stream.type == "audio" or packet.pts > 0)
    with av.open(str(path)) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    timeline = read_timeline(path)
    assert len(timeline.frames_s) == len(shown)
    assert timeline.start_offset_s == pytest.approx(-shown[0], abs=0.002)
    assert delay_s(mt.load_audio(path), 2.0) == pytest.approx(-shown[0], abs=0.002)


def test_a_stream_cut_between_key_frames_has_one_start(tmp_path):
    """A decoder may give the first frames after the cut out of order; whoever asks gets the earliest."""
    path = with_sound(tmp_path / "a.mpg", "mp2", "mpeg2video")
    content = path.read_bytes()
    for keep in (0.3, 0.5, 0.7):
        path.write_bytes(content[content.index(b"\0\0\1\xba", int(keep * len(content))) :])
        assert len(mt.load_audio(path)) == mt.audit_clip(path).n_samples


def test_a_format_that_changes_between_two_pieces_is_named(tmp_path):
    one, two = tmp_path / "1.ts", tmp_path / "2.ts"
    write(one, lambda c: sound(c, "ac3", 2, layout="stereo", rate=48_000))
    write(two, lambda c: sound(c, "ac3", 2, layout="5.1", rate=48_000, late_s=2))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    for decoder in DECODERS:
        with pytest.raises(mt.AudioError, match=r"changes from stereo .* to 5\.1.* after [12]\.\d+ s"):
            mt.load_audio(one, decoder=decoder)


def test_the_ticks_of_raw_dv_are_no_frame_rate(tmp_path):
    path = write(
        tmp_path / "a.dv",
        lambda c: film_packets(c, np.arange(50) / 25, Fraction(25), codec="dvvideo", size=(720, 576)),
        lambda c: sound(c, "pcm_s16le", 2, layout="stereo"),
    )
    audit = mt.audit_clip(path)
    assert (audit.level, audit.fps, audit.n_frames) == ("ok", 25, 50)


def test_the_codecs_clock_is_no_frame_rate(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 30, coded_fps=Fraction(90_000))
    audit = mt.audit_clip(path)
    assert (audit.fps, audit.info.video.coded_rate) == (30, None)
    assert all(finding.number < 1000 for finding in audit.findings), audit


# --- tracks


def test_the_default_track_is_decoded_and_judged(tmp_path):
    path = write(
        tmp_path / "a.mp4",
        lambda container: picture(container, 3),
        lambda container: sound(container, "aac", 3, default=False, level=0.3),
        lambda container: sound(container, "aac", 3, late_s=0.278),
    )
    with av.open(str(path)) as container:
        defaults = [bool(s.disposition & s.disposition.default) for s in container.streams.audio]
    used = defaults.index(True) + 1
    assert read_timeline(path).start_offset_s == read_timeline(path, audio_track=used).start_offset_s
    late = [read_timeline(path, audio_track=n).start_offset_s for n in (1, 2)]
    assert late == [0, pytest.approx(0.278, abs=0.03)]
    for n in (1, 2):
        np.testing.assert_array_equal(
            mt.load_audio(path, audio_track=n), np.concatenate(list(audio_blocks(path, audio_track=n)))
        )
    assert np.abs(mt.load_audio(path, audio_track=1)).max() < 0.5 * np.abs(mt.load_audio(path, audio_track=2)).max()
    assert [f.what for f in mt.audit_clip(path, audio_track=1).findings if "tracks" in f.what] == ["audio tracks"]
    with pytest.raises(mt.ParameterError, match=r"audio_track must be 1 … 2"):
        mt.load_audio(path, audio_track=3)


def test_a_track_that_a_clip_lacks_or_that_no_codec_reads(tmp_path):
    """Asked for one clip it is an error; among others it is a finding of the clip's own."""
    two = write(tmp_path / "b.mkv", *[lambda container: sound(container, "aac", 3)] * 2)
    write(tmp_path / "a.mkv", lambda container: sound(container, "aac", 3))
    content = bytearray(two.read_bytes())
    assert content.count(b"A_AAC") == 2
    at = content.rindex(b"A_AAC")
    content[at : at + 5] = b"A_XYZ"
    (tmp_path / "c.mkv").write_bytes(content.replace(b"\xbf\x84", b"\xec\x84"))  # checksums become empty elements
    for call in (mt.load_audio, mt.audit_clip):
        with pytest.raises(mt.ParameterError, match="no codec is known for audio track 2"):
            call(tmp_path / "c.mkv", audio_track=2)
    for quick in (False, True):
        audits = audit_folder(tmp_path, audio_track=2, quick=quick).audits
        assert [(Path(one.name).name, one.level) for one in audits] == [
            ("a.mkv", "error"),
            ("c.mkv", "error"),
            ("b.mkv", "ok"),
        ]


def test_without_a_default_the_track_of_most_channels_counts(tmp_path):
    """So the ffmpeg program chooses."""
    path = tmp_path / "a.ts"
    write(
        path,
        lambda c: sound(c, "ac3", 2, rate=48_000, level=0.1),
        lambda c: sound(c, "ac3", 2, layout="5.1", rate=48_000),
        lambda c: picture(c, 2),
    )
    assert mt.probe_media(path).audio_stream == 1
    np.testing.assert_array_equal(mt.load_audio(path), mt.load_audio(path, audio_track=2))


def test_a_still_before_the_moving_picture(tmp_path):
    path = write(
        tmp_path / "a.mp4",
        lambda container: picture(container, 0.04, "mjpeg"),
        lambda container: picture(container, 3),
        lambda container: sound(container, "aac", 3),
    )
    audit = mt.audit_clip(path)
    assert (audit.n_frames, audit.fps, audit.level) == (75, 25, "ok"), audit


def test_a_silent_track_beside_one_with_speech(tmp_path):
    path = write(
        tmp_path / "a.mkv",
        lambda container: picture(container, 2),
        lambda container: sound(container, "pcm_s16le", 2, level=0),
        lambda container: sound(container, "pcm_s16le", 2),
    )
    (finding,) = [f for f in mt.audit_clip(path, audio_track=1).findings if f.what == "silent track"]
    assert finding.number == 2


# --- what is whole, and what is not


CODECS = {"webm": ("libopus", "libvpx"), "avi": ("libmp3lame", "mpeg4")}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
NO_INDEX = {"movflags": "frag_keyframe+empty_moov+skip_trailer+default_base_moof"}


def write_named(path: Path) -> Path:
    """Write three seconds as a file's name asks for."""
    if path.suffix in (".ogg", ".caf", ".aiff", ".flac"):
        soundfile.write(path, pcm(3, 16_000), 16_000)
        return path
    if path.suffix == ".opus":
        return write(path, lambda c: sound(c, "libopus", 3))
    if path.suffix == ".wma":
        return write(path, lambda c: sound(c, "wmav2", 3, layout="stereo", rate=44_100))
    if path.suffix == ".mp3":
        return write(path, lambda c: sound(c, "libmp3lame", 3, rate=44_100), write_xing="0")
    if path.stem in ("fragments", "no_index"):
        options = FRAGMENTS if path.stem == "fragments" else NO_INDEX
        return write(path, lambda c: picture(c, 3), lambda c: sound(c, "aac", 3), **options)
    codecs = CODECS.get(path.suffix[1:], ("aac", "libx264"))
    return with_sound(path, *codecs, late_s=LATE_S if path.stem == "late" else 0, live=path.stem == "live")


WHOLE = {  # whether the format carries no evidence of its length
    **dict.fromkeys(["late.mkv", "fragments.mp4", "a.wma", "a.avi"], False),
    **dict.fromkeys(["piped.flac", "a.ts", "live.webm", "no_xing.mp3", "no_index.mp4", "a.flv"], True),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_taken(tmp_path, name):
    path = write_named(tmp_path / name)
    if name == "piped.flac":
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # the number of samples: not known, as an encoder writes it to a pipe
        content[22:26] = bytes(4)
        path.write_bytes(content)
    for decoder in DECODERS:
        expected = 3 + (LATE_S if name == "late.mkv" and decoder == "timeline" else 0)
        assert len(mt.load_audio(path, decoder=decoder)) / 16_000 == pytest.approx(expected, abs=0.07)
    audit = mt.audit_clip(path)
    found = {f.what: f.level for f in audit.findings}
    assert "truncated" not in found
    if WHOLE[name]:
        assert found["unverified length"] == "note"
        assert audit.level in ("ok", "warning"), audit


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("declared", [0, 0x7FFFF000, 0x7FFFEFFC, 0x7FFFFF00, 0xFFFFFFFF, 0xFFFFFFFF - 44])
def test_a_length_that_was_not_known(tmp_path, declared, decoder):
    path = wav_with_size(tmp_path / "a.wav", declared)
    assert len(mt.load_audio(path, decoder=decoder)) == 32_000


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_wav_in_the_other_byte_order(tmp_path, decoder):
    expected = pcm(2, 16_000)[:, 0] / 32768
    np.testing.assert_allclose(mt.load_audio(rifx(tmp_path / "a.wav"), decoder=decoder), expected, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["a.ogg", "a.opus", "a.avi", "a.caf", "a.aiff", "a.wma", "live.webm", "a.mkv", "no_xing.mp3", "a.mov"]
)
def test_half_a_file_is_truncated(tmp_path, name):
    path = write_named(tmp_path / name)
    content = path.read_bytes()
    for keep in (0.5, 0.83):
        path.write_bytes(content[: int(keep * len(content)) | 1])
        for decoder in DECODERS:
            with pytest.raises(mt.AudioError, match=r"truncated|damaged"):
                mt.load_audio(path, decoder=decoder)
        audit = mt.audit_clip(path)
        assert audit.level == "error"
        assert "lacks 1 bytes" not in repr(audit)  # how many is not known


def test_one_bad_packet(tmp_path):
    path = with_bad_packet(tmp_path / "a.mp4")
    for decoder in ("ffmpeg", "librosa"):
        with pytest.raises(mt.AudioError, match=r"one packet at 1\.\d+ s cannot be decoded"):
            mt.load_audio(path, decoder=decoder)
    waveform = mt.load_audio(path)
    assert delay_s(waveform, 2.2) == pytest.approx(delay_s(waveform, 0.5), abs=0.001)
    (at,) = read_timeline(path).bad_s
    assert at == pytest.approx(1.5, abs=0.05)
    (finding,) = [f for f in mt.audit_clip(path).findings if f.what == "bad packet"]
    assert (finding.level, finding.number) == ("warning", 1)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ext", ["ogg", "flac"])
def test_a_flipped_bit(tmp_path, ext, decoder):
    """Pages and frames hold checksums: what does not match is refused, or silence in its place and a finding."""
    path = tmp_path / f"a.{ext}"
    soundfile.write(path, pcm(4, 44_100), 44_100)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if ext == "ogg" and decoder == "timeline":
        waveform = mt.load_audio(path)
        assert delay_s(waveform, 3.2) == pytest.approx(0, abs=0.001)
        assert mt.audit_clip(path).level == "error"
    else:
        with pytest.raises(mt.AudioError, match=r"checksum|damaged|corrupt|cannot be decoded"):
            mt.load_audio(path, decoder=decoder)


# --- what would end the process, or fill the memory


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mov", "pcm_s16le"), ("a.mkv", "flac")])
@pytest.mark.parametrize("layout", ["5.1", "7.1"])
def test_many_channels(tmp_path, name, codec, layout):
    path = write(tmp_path / name, lambda container: sound(container, codec, 1, layout=layout))
    for decoder in DECODERS:
        waveform = mt.load_audio(path, decoder=decoder)
        assert len(waveform) == pytest.approx(16_000, abs=800)
        assert 0.05 < np.abs(waveform).max() <= 1.0
        assert delay_s(waveform, 0.3) == pytest.approx(0, abs=0.03)


def test_channels_that_have_no_downmix(tmp_path):
    soundfile.write(tmp_path / "a.wav", pcm(1, channels=9), RATE)
    with pytest.raises(mt.AudioError, match="no downmix is known for its 9 channels"):
        mt.load_audio(tmp_path / "a.wav")
    assert len(mt.load_audio(tmp_path / "a.wav", decoder="librosa")) == 16_000


def test_a_custom_order_of_channels(shared, tmp_path, small):
    """QuickTime's own layouts: PyAV frees their memory twice, which ends the process."""
    source = shared / "broken" / "crash_pcm_71.mov"
    for decoder in DECODERS:
        waveform = mt.load_audio(source, decoder=decoder)
        assert len(waveform) == 4800
    assert np.abs(mt.load_audio(source)).max() == pytest.approx(0.046, abs=0.002)
    store = mt.FeatureStore.create(tmp_path / "store", "musetools", small)
    assert mt.extract([source], store, small, progress=False).ok


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("rate", [1, 100])
def test_a_rate_that_is_none(tmp_path, rate, decoder):
    path = wav_with_size(tmp_path / "a.wav", 64_000)
    riff = bytearray(path.read_bytes())
    riff[24:28], riff[28:32] = rate.to_bytes(4, "little"), (2 * rate).to_bytes(4, "little")
    path.write_bytes(riff)
    with pytest.raises(mt.AudioError, match=f"declares {rate} samples a second"):
        mt.load_audio(path, decoder=decoder)
    with pytest.raises(mt.ParameterError, match="sample rate"):
        mt.load_audio((np.zeros(1000, np.float32), rate), decoder=decoder)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("factor", [32768, 100, 2e38])
def test_floats_beyond_full_scale(tmp_path, factor, decoder):
    samples = (pcm(1, 16_000)[:, 0] / 32768 * factor).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    for source in (tmp_path / "a.wav", (samples, 16_000)):
        with pytest.raises(mt.AudioError, match="full scale is 1"):
            mt.load_audio(source, decoder=decoder)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_that_were_never_scaled(dtype, decoder):
    samples = pcm(1, 16_000)[:, 0].astype(dtype)
    with pytest.raises(mt.AudioError, match="almost none of their range"):
        mt.load_audio((samples, 16_000), decoder=decoder)
    quiet = samples // 4096 << (8 * samples.itemsize - 24)  # 24 bits, left-justified, near silence
    assert len(mt.load_audio((quiet, 16_000), decoder=decoder)) == 16_000


def test_tensors_are_arrays():
    import torch

    samples = torch.from_numpy(pcm(1, 16_000)[:, 0] / 32768).float()
    expected = mt.load_audio((samples.numpy(), 16_000))
    np.testing.assert_array_equal(mt.load_audio((samples.clone().requires_grad_(), 16_000)), expected)
    np.testing.assert_allclose(mt.load_audio((samples.bfloat16(), 16_000)), expected, atol=4e-3)


def test_playlists_under_a_media_name(tmp_path):
    path = tmp_path / "list.mp4"
    write_clip(tmp_path / "secret.mp4", seconds=1)
    for text in ("ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:2,\nsecret.mp4\n"):
        path.write_text(text)
        for decoder in DECODERS:
            with pytest.raises(mt.AudioError, match="playlist"):
                mt.load_audio(path, decoder=decoder)
        assert mt.audit_clip(path).level == "error"


# --- the given files


RIGHT = {  # seconds of sound by decoder "timeline", None: an error; and the level of an audit where it is known
    "crash_aac_71.m4a": (16_043 / 16_000, None),
    "crash_pcm_71.mov": (0.3, None),
    "gap300_unseen.webm": (6.30, "error"),
    "gap300_called_truncated.mp4": (6.016, None),
    "late500_called_truncated.mkv": (6.037 + 0.479, None),
    "whole_called_longer.ts": (6.016, None),
    "frag_called_truncated.mp4": (6.016, "ok"),
    "preskip_called_truncated.opus": (6.0, None),
    "edit_list_hidden_frames.mp4": (4.716, "ok"),
    "default_track_late.mp4": (6.037 + 0.278, "error"),
    "undecodable_first_track.mp4": (6.016, None),
    "still_picture_first.mp4": (6.016, "ok"),
    "piped.flac": (6.0, None),
    "one_bad_packet.mp4": (6.016, None),
    "vui_clock_90000.mp4": (5.995, "ok"),
    "variable_pause.mp4": (6.016, "error"),
    "late500.mp4": (6.037 + 0.478, "error"),
    **{f"{name}.wav": (6.0, None) for name in ("size_7ffff000_sox", "size_0", "rifx")},
    **{f"{name}.wav": (None, "error") for name in ("two_wavs_joined", "float_times_32768", "nearly_antiphase")},
    **dict.fromkeys(("joined.opus", "joined.flac", "ambisonic.opus"), (None, "error")),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_given_files(shared, name):
    path, (seconds, level) = shared / "broken" / name, RIGHT[name]
    if seconds is None:
        with pytest.raises(mt.AudioError, match=name):
            mt.load_audio(path)
    else:
        assert len(mt.load_audio(path)) / 16_000 == pytest.approx(seconds, abs=0.012)
    audit = mt.audit_clip(path)
    assert audit.level == (level or audit.level), audit


def test_a_folder_of_all_suffixes(shared, tmp_path, small):
    folder = shutil.copytree(shared / "broken" / "folder", tmp_path / "folder")
    assert os.path.exists(folder / "._e.m4v")
    store = mt.FeatureStore.create(tmp_path / "store", "musetools", small)
    report = mt.extract([folder], store, small, progress=False)
    assert (len(report.added), report.ok, report.passed_over) == (5, True, "1 file passed over: 1 hidden")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_of_an_avi_that_are_decoded_before_they_are_shown(tmp_path, codec):
    """FFmpeg guesses when H.264 in AVI is shown, by the order of decoding, and shows MPEG-4 a frame late."""
    n_between = {"libx264": 3, "mpeg4": 2}[codec]
    path = write(
        tmp_path / "a.avi",
        lambda c: picture(c, 2, codec, b_frames=n_between),
        lambda c: sound(c, "pcm_s16le", 2),
    )
    assert read_timeline(path).frames_s == pytest.approx(np.arange(50) / 25)
    with opened(path, "a.avi") as container:
        frames = [
            (frame.time, frame.to_ndarray(format="gray")) for frame in shown_frames(container, container.streams[0])
        ]
    with av.open(str(write(tmp_path / "a.mp4", lambda c: picture(c, 2, codec, b_frames=n_between)))) as container:
        expected = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    for (at, image), as_encoded, place in zip(frames, expected, range(50), strict=True):
        assert at == pytest.approx(place / 25)
        np.testing.assert_array_equal(image, as_encoded)
    assert not {"variable rate", "start offset"} & {f.what for f in mt.audit_clip(path).findings}


def test_an_ogg_that_starts_at_another_time_declares_no_other_length(tmp_path):
    path = write(tmp_path / "a.opus", lambda c: sound(c, "libopus", 3, late_s=3))
    assert "declared length" not in {f.what for f in mt.audit_clip(path).findings}


def test_an_avi_that_was_piped_declares_no_length(tmp_path):
    content = bytearray(with_sound(tmp_path / "a.avi", "libmp3lame", "mpeg4").read_bytes())
    content[4:8] = bytes(4)
    for at in (content.index(b"vids"), content.index(b"auds")):
        content[at + 32 : at + 36] = (0x40000000).to_bytes(4, "little")
    (tmp_path / "a.avi").write_bytes(content[: content.index(b"idx1")])
    audit = mt.audit_clip(tmp_path / "a.avi")
    assert not {"declared length", "frame count"} & {f.what for f in audit.findings}
    assert "unverified length" in {f.what for f in audit.findings}


def test_a_fragmented_file_without_its_first_pieces_declares_no_length(tmp_path):
    options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "500000"}
    content = write(tmp_path / "a.mp4", lambda c: sound(c, "aac", 4), **options).read_bytes()
    moofs = [at.start() - 4 for at in re.finditer(b"moof", content)]
    assert len(moofs) > 3
    (tmp_path / "a.mp4").write_bytes(content[: moofs[0]] + content[moofs[2] :])
    assert "declared length" not in {f.what for f in mt.audit_clip(tmp_path / "a.mp4").findings}


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_blocks_of_vorbis_are_no_holes(tmp_path, rate):
    """FFmpeg does not know how long a block between two sizes is."""
    clicks = np.zeros((6 * rate, 1), np.int16)
    clicks[:: rate // 3] = 20_000
    path = write_media(tmp_path / "a.ogg", clicks, rate)
    for quick in (True, False):
        assert not {"hole", "overlap"} & {f.what for f in mt.audit_clip(path, quick=quick).findings}


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_flac_that_was_cut_without_its_header_is_refused(tmp_path, decoder):
    """As FFmpeg cuts by copying: libsndfile makes up what is missing."""
    path, cut = write(tmp_path / "a.flac", lambda c: sound(c, "flac", 6)), tmp_path / "b.flac"
    with av.open(str(path)) as source, av.open(str(cut), "w") as target:
        copy = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size and packet.pts * packet.time_base >= 2:
                packet.stream = copy
                target.mux(packet)
    content = bytearray(cut.read_bytes())
    content[18:26] = path.read_bytes()[18:26]  # of the whole
    cut.write_bytes(content)
    with pytest.raises(mt.AudioError, match=r"was cut|declared"):
        mt.load_audio(cut, decoder=decoder)
    assert len(mt.load_audio(path, decoder=decoder)) == 96_000


@pytest.mark.parametrize("first", [30, 60, 90])
def test_packets_know_where_a_stream_begins_that_was_cut_between_two_key_frames(tmp_path, first):
    path = write(
        tmp_path / "a.ts",
        lambda c: film_packets(c, np.arange(100) / 25, Fraction(25), b_frames=3, between_keys=25),
        lambda c: sound(c, "aac", 4),
    )
    path.write_bytes(path.read_bytes()[188 * first :])
    quick, whole = (mt.audit_clip(path, quick=quick).timeline for quick in (True, False))
    assert whole.start_offset_s < -0.1
    assert quick.start_offset_s == pytest.approx(whole.start_offset_s, abs=0.001)
