"""`musetools fix`: sound where it is meant to be, video's packets as they were, nothing overwritten or half done."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from broken import sound, with_bad_packet, with_sound, write
from click.testing import CliRunner
from clips import write_clip, write_late, write_uneven
from media import mux, picture

from musetools import AudioError, OutputError, ParameterError, audit_clip, load_audio
from musetools.check import mend
from musetools.check.mend import fix
from musetools.cli import main


def packets(path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def images(path) -> list[tuple[int, float]]:
    """Return when each frame is shown, in the order in which a decoder gives them, and how bright it is."""
    with av.open(str(path)) as container:
        return [(frame.pts, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]


def lag_ms(before: np.ndarray, after: np.ndarray) -> float:
    n = 1 << 18
    match = np.fft.irfft(np.fft.rfft(after, n) * np.fft.rfft(before, n).conj())
    at = int(match.argmax())
    return min(at, at - n, key=abs) / 16


@pytest.mark.parametrize("ms", [-200, -37.5, 0, 120])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_sound_is_moved_and_video_copied(tmp_path, ms, b_frames):
    source = write_clip(tmp_path / "a.mp4", b_frames=b_frames)
    audit = fix(source, tmp_path / "b.mp4", sound_ms=ms)
    assert audit.level == "ok"
    assert packets(tmp_path / "b.mp4") == packets(source)
    assert lag_ms(load_audio(source), load_audio(tmp_path / "b.mp4")) == pytest.approx(ms, abs=1)
    assert audit.n_samples / 16_000 == pytest.approx(2, abs=0.03)


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (write_late, {}),
        (lambda path: write_clip(path, sound_s=1.88), {}),
        (lambda path: write_clip(path, sound_s=2.5), {}),
        (write_uneven, {"fps25": True}),
        (lambda path: write_clip(path, 30), {"fps25": True}),
    ],
    ids=["late", "short", "long", "uneven", "30"],
)
def test_what_is_found_is_mended(tmp_path, write, options):
    source = write(tmp_path / "a b.mp4")
    before = audit_clip(source)
    audit = fix(source, tmp_path / "c.mp4", **options)
    assert audit.level == "ok", audit
    assert not audit.mend
    if before.level != "ok":
        assert before.mend.startswith("musetools fix '")
        assert ("--fps25" in before.mend) == bool(options)
    if options:
        assert audit.fps == 25
        assert lag_ms(load_audio(source), load_audio(tmp_path / "c.mp4")) == pytest.approx(0, abs=1)


def test_nothing_is_overwritten(tmp_path):
    source = write_clip(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="nothing is overwritten"):
        fix(source, source)
    with pytest.raises(ParameterError, match=r"\.mp4, \.mov, \.mkv"):
        fix(source, tmp_path / "b.avi")
    result = CliRunner().invoke(main, ["fix", str(source), str(source)])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1


def test_a_result_that_is_not_in_place_is_not_kept(tmp_path, monkeypatch):
    source, right = write_clip(tmp_path / "a.mp4"), mend._sound

    def wrong(info, track, zero, shift_s, end_s):
        return right(info, track, zero, shift_s + 0.1, end_s)

    monkeypatch.setattr(mend, "_sound", wrong)
    with pytest.raises(OutputError, match="100 ms from its place"):
        fix(source, tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("name", "codec", "video"), [("a.wmv", "wmav2", "wmv2"), ("a.flv", "aac", "flv")])
def test_video_that_the_new_format_does_not_hold_is_encoded_anew(tmp_path, name, codec, video):
    source = with_sound(tmp_path / name, codec, video)
    audit = fix(source, tmp_path / "b.mp4")
    assert (audit.level, audit.fps, audit.info.video.codec) == ("ok", 25, "h264")
    assert lag_ms(load_audio(source), load_audio(tmp_path / "b.mp4")) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".flv"])
def test_frames_that_are_decoded_before_they_are_shown_are_copied(tmp_path, suffix):
    """Matroska has no time stamps of decoding."""
    source = with_sound(tmp_path / f"a{suffix}", late_s=0.2)
    assert fix(source, tmp_path / "b.mp4").level == "ok"
    assert len(packets(tmp_path / "b.mp4")) == len(packets(source))
    assert lag_ms(load_audio(source), load_audio(tmp_path / "b.mp4")) == pytest.approx(0, abs=1)


ROTATED = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def write_rotated(path, degrees: int):
    """Write a clip as a phone that lies on its side does; one corner is white."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(4, 3)
        image = np.zeros((64, 96, 3), np.uint8)
        image[:32, :48] = 255
        packets = [packet for _ in range(30) for packet in video.encode(av.VideoFrame.from_ndarray(image, "rgb24"))]
        mux(container, [*packets, *video.encode(), *sound(container, "aac", 1)])
    content = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in ROTATED[degrees])
    place = content.index(b"tkhd") + 44
    content[place : place + 20] = struct.pack(">iiiii", a, b, 0, c, d)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("degrees", ROTATED)
def test_converted_video_is_upright_and_keeps_its_shape(tmp_path, degrees):
    source = write_rotated(tmp_path / "a.mp4", degrees)
    fix(source, tmp_path / "b.mp4", fps25=True)
    with av.open(str(source)) as before, av.open(str(tmp_path / "b.mp4")) as after:
        old, new = next(before.decode(video=0)), next(after.decode(video=0))
        aspect = after.streams.video[0].sample_aspect_ratio
    assert round(old.rotation / 90) % 4 != 0
    assert new.rotation == 0
    assert aspect == (Fraction(4, 3) if degrees == 180 else Fraction(3, 4))
    expected = np.rot90(old.to_ndarray(format="rgb24"), round(old.rotation / 90))
    assert np.abs(new.to_ndarray(format="rgb24").astype(float) - expected).mean() < 3


def test_one_bad_packet_becomes_silence(tmp_path):
    source = with_bad_packet(tmp_path / "a.mp4")
    assert "musetools fix" in audit_clip(source).mend
    assert fix(source, tmp_path / "b.mp4").level == "ok"


def test_many_channels_are_mixed(tmp_path):
    source = with_sound(tmp_path / "a.mov", "pcm_s16le", layout="7.1")
    assert fix(source, tmp_path / "b.mp4").level == "ok"
    assert lag_ms(load_audio(source), load_audio(tmp_path / "b.mp4")) == pytest.approx(0, abs=1)


def test_a_name_that_looks_like_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_late(Path("-x.mp4"))
    assert audit_clip("-x.mp4").mend == "musetools fix ./-x.mp4 ./-x_fixed.mp4"


def test_the_track_that_was_judged_is_the_one_that_is_kept(tmp_path):
    source = tmp_path / "a.mkv"
    write(
        source,
        lambda c: picture(c, 3),
        lambda c: sound(c, "aac", 3, level=0),
        lambda c: sound(c, "aac", 3, default=False, late_s=0.2),
    )
    audit = audit_clip(source, audio_track=2)
    assert audit.mend.endswith("--audio-track 2")
    assert fix(source, tmp_path / "b.mp4", audio_track=2).level == "ok"
    expected = load_audio(source, audio_track=2)
    assert lag_ms(expected, load_audio(tmp_path / "b.mp4")) == pytest.approx(0, abs=1)


def test_video_that_cannot_be_decoded(tmp_path):
    source = with_sound(tmp_path / "a.ts", seconds=2)
    content = source.read_bytes()
    source.write_bytes(content[len(content) // 188 // 2 * 188 :])  # no key frame is left
    with pytest.raises(AudioError, match="none of its h264 frames can be decoded"):
        fix(source, tmp_path / "b.mp4")


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.mov", "pcm_s16le", 192_000), ("a.mkv", "flac", 37_800), ("a.mov", "pcm_s16le", 8000)],
)
def test_sound_of_any_rate(tmp_path, name, codec, rate):
    source = with_sound(tmp_path / name, codec, rate=rate)
    assert fix(source, tmp_path / "b.mp4").level == "ok"
    assert lag_ms(load_audio(source), load_audio(tmp_path / "b.mp4")) == pytest.approx(0, abs=1)


def test_a_clip_of_which_half_is_lost_is_not_made_to_look_whole(tmp_path):
    source = with_sound(tmp_path / "a.mp4")
    before = source.read_bytes()
    front = tmp_path / "front.mp4"
    with av.open(str(source)) as old, av.open(str(front), "w", options={"movflags": "faststart"}) as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    content = front.read_bytes()
    front.write_bytes(content[: len(before) // 2] + bytes(len(content) - len(before) // 2))
    for fps25 in (False, True):
        with pytest.raises(AudioError, match="cannot be mended"):
            fix(front, tmp_path / "b.mp4", fps25=fps25)
    assert not (tmp_path / "b.mp4").exists()


def test_images_of_odd_size_are_cut_by_a_line(tmp_path):
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("ffv1", rate=30)
        video.width, video.height, video.pix_fmt = 65, 63, "yuv444p"
        frames = [av.VideoFrame.from_ndarray(np.full((63, 65, 3), 8 * i, np.uint8), "rgb24") for i in range(30)]
        packets = [packet for frame in [*frames, None] for packet in video.encode(frame)]
        mux(container, [*packets, *sound(container, "aac", 1)])
    audit = fix(source, tmp_path / "b.mp4", fps25=True)
    assert (audit.level, audit.fps) == ("ok", 25)
    with av.open(str(tmp_path / "b.mp4")) as made:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (64, 62)


def test_colours_of_a_format_that_changes_are_as_they_were(tmp_path):
    """BT.2020, as of HDR: FFmpeg's filter converts to BT.601, without saying so, what is not named to it."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv444p"
        video.codec_context.colorspace, video.codec_context.color_range = 9, 1
        frame = av.VideoFrame.from_ndarray(np.stack([np.full((64, 64), i, np.uint8) for i in (90, 70, 200)]), "yuv444p")
        packets = [packet for one in [*[frame] * 30, None] for packet in video.encode(one)]
        mux(container, [*packets, *sound(container, "aac", 1)])
    fix(tmp_path / "a.mp4", tmp_path / "b.mp4", fps25=True)
    with av.open(str(tmp_path / "b.mp4")) as made:
        after = next(made.decode(video=0))
    assert int(after.colorspace) == 9
    assert after.to_ndarray()[[0, 64, -1], 0].tolist() == pytest.approx([90, 70, 200], abs=1)


def test_the_sound_of_the_last_frame_is_kept(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 30)
    fix(source, tmp_path / "b.mp4", fps25=True)
    before, after = load_audio(source), load_audio(tmp_path / "b.mp4")
    last = slice(round(1.965 * 16_000), round(1.995 * 16_000))
    assert np.square(after[last]).mean() > 0.5 * np.square(before[last]).mean() > 0


@pytest.mark.parametrize("options", [{}, {"fps25": True}], ids=["as it is", "25 fps"])
def test_frames_of_an_avi_are_written_in_the_order_in_which_they_are_shown(tmp_path, options):
    """AVI has no times at which frames are shown: FFmpeg counts them as they are decoded."""
    source = write_clip(tmp_path / "a.avi", b_frames=3)
    fix(source, tmp_path / "b.mp4", **options)
    before, after = images(source), images(tmp_path / "b.mp4")
    assert [at for at, _ in after] == sorted(at for at, _ in after)
    assert [gray for _, gray in after] == pytest.approx([gray for _, gray in before][: len(after)], abs=1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_that_are_timed_as_they_are_decoded_are_named_and_put_in_order(tmp_path, suffix):
    """As where B-frames are copied from AVI."""
    source = tmp_path / f"a{suffix}"
    with av.open(str(write_clip(tmp_path / "even.mp4", b_frames=3))) as even, av.open(str(source), "w") as target:
        copies = {stream: target.add_stream_from_template(stream) for stream in even.streams}
        packets = [packet for packet in even.demux() if packet.size]
        for packet in packets:
            if packet.stream.type == "video":
                packet.pts = packet.dts = packet.dts + 1024
            packet.stream = copies[packet.stream]
        mux(target, packets)
    audit = audit_clip(source)
    (found,) = (finding for finding in audit.findings if finding.what == "frame order")
    assert (found.level, audit.mend.startswith("musetools fix")) == ("warning", True)
    fix(source, tmp_path / "b.mp4")
    before, after = images(source), images(tmp_path / "b.mp4")
    assert [at for at, _ in before] != sorted(at for at, _ in before)
    assert [at for at, _ in after] == sorted(at for at, _ in after)
    assert [gray for _, gray in after] == pytest.approx([gray for _, gray in before], abs=1)


def test_video_that_is_encoded_anew_keeps_its_uneven_times(tmp_path):
    """A camera that dropped frames, into AVI."""
    times = np.delete(np.arange(50), [10, 11, 30]) / 25
    source = write_clip(tmp_path / "a.avi", times=times, b_frames=3)
    fix(source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        found = [frame.time for frame in container.decode(video=0)]
    assert found == pytest.approx(times, abs=1e-3)
    assert [gray for _, gray in images(tmp_path / "b.mp4")] == pytest.approx([g for _, g in images(source)], abs=1)
