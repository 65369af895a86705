"""Clicks at known times through containers and codecs: sound lies where the file's own time stamps say, to 1 ms."""

import os

import numpy as np
import pytest
from flashes import FPS, PAIRS, SECONDS, Pair, click_times, stamps_of, write_flashes

from musetools import AudioError, load_audio, probe_media
from musetools.audio import DECODERS
from musetools.audio.reading import read_media, read_timeline
from musetools.timing import SAMPLE_RATE

NEAR_MS = 1.0
# What the stamps of these files say, in ms: avi and swf count packets and have no place for a start.
OFF_MS = {
    "avi-libmp3lame-mpeg4": -14.9,
    "avi-mp2-mpeg4": 10.9,
    "avi-ac3-mpeg4": 5.8,
    "avi-aac-mpeg4": -16.8,
    "avi-wmav2-mpeg4": -33.6,
    "avi-libmp3lame-mpeg4-b2": 25.1,
    "avi-libmp3lame-libx264": -14.9,
    "rm-ac3-rv20": 5.8,
    "swf-libmp3lame-flv": 25.1,
    # sound alone, where nothing in the file says how much its encoder puts in front
    "mp2-mp2": 10.9,
    "aac-aac": 23.2,
    "ac3-ac3": 5.8,
    "wma-wmav2": -46.4,
    "amr-libopencore_amrnb": 6.2,
}

PRIMED = [
    pair
    for pair in PAIRS
    if pair.suffix in ("mp4", "mov", "mkv")
    and pair.sound in ("aac", "libmp3lame", "mp2")
    and pair.picture in ("libx264", "mpeg4")
]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_clicks_lie_where_stamps_say(tmp_path, pair):
    path = write_flashes(tmp_path / f"clip.{pair.suffix}", pair)
    stamps, timeline = stamps_of(path, pair), load_audio(path)
    late_ms = 1000 * (click_times(timeline, SAMPLE_RATE) - (stamps.flashes_s - stamps.zero_s))
    np.testing.assert_allclose(late_ms, stamps.offset_ms, rtol=0, atol=NEAR_MS)
    np.testing.assert_allclose(late_ms, OFF_MS.get(str(pair), 0), rtol=0, atol=NEAR_MS)

    counted = {decoder: load_audio(path, decoder=decoder) for decoder in ("ffmpeg", "librosa")}
    for samples in counted.values():
        clicks = click_times(samples, SAMPLE_RATE)
        np.testing.assert_allclose(clicks, stamps.counted_s, rtol=0, atol=NEAR_MS / 1000)
    if stamps.whole:
        np.testing.assert_array_equal(timeline, counted["ffmpeg"])

    if pair in PRIMED:  # packets alone know what the encoder puts in front
        quick, decoded = probe_media(path).timeline, read_timeline(path)
        assert quick.start_offset_s == pytest.approx(decoded.start_offset_s, abs=0.001)
        assert quick.holes == quick.overlaps == ()
    if "movflags" in dict(pair.options):
        check_readers_of_fragments(path, stamps)


def check_readers_of_fragments(path, stamps) -> None:
    """Every reader has one zero."""
    for decode_video in (True, False):
        *_, timeline = read_media(path, decode_video=decode_video)
        assert timeline.pieces[0].start_s == pytest.approx(stamps.starts_s - stamps.zero_s, abs=0.001)
        assert len(timeline.frames_s) == round(SECONDS * FPS)
    quick = probe_media(path).timeline
    assert quick.pieces[-1].start_s == pytest.approx(timeline.pieces[-1].start_s, abs=0.001)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), load_audio(path))


def test_enough_pairs_have_picture_and_sound():
    assert len(set(map(str, PAIRS))) == len(PAIRS)
    assert len([pair for pair in PAIRS if pair.picture]) >= 60


@pytest.mark.parametrize("decoder", DECODERS)
def test_half_a_frame_of_mp2_is_truncated(tmp_path, decoder):
    path = write_flashes(tmp_path / "clip.mp2", Pair("mp2", "mp2"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match="truncated"):
        load_audio(path, decoder=decoder)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no scheduling policies on this system")
def test_an_encoder_leaves_the_scheduling_as_it_was(tmp_path):
    before = os.sched_getscheduler(0)
    write_flashes(tmp_path / "a.webm", Pair("webm", "libopus", "libsvtav1"))
    assert os.sched_getscheduler(0) == before
