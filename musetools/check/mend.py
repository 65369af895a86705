"""A clip mended into a new file: sound laid by its time stamps, moved, padded, cut; video copied, or made 25 fps.

Coded video packets are copied unless the rate is to be changed. That is done by FFmpeg's filter ``fps=25``: its output
option ``-r 25`` delays video by up to 67 ms.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import chain, count, groupby, pairwise
from operator import itemgetter, sub
from pathlib import Path
from typing import Any

import numpy as np

from musetools.audio.container import chosen_video, opened, shown_late_s
from musetools.audio.decode import sound_frames
from musetools.audio.load import load_audio
from musetools.audio.probe import MediaInfo
from musetools.audio.shown import first_shown_s, is_untimed, packets_of, shown_frames
from musetools.audio.timeline import SoundTimes
from musetools.check.clip import MENDED, RATES_MENDED, ClipAudit, audit_clip
from musetools.check.findings import timed_rate
from musetools.errors import AudioError, OutputError, ParameterError
from musetools.files import replacing
from musetools.timing import SAMPLE_RATE

__all__ = ["fix"]

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
FARTHEST_MS = 10_000
FILTERED, COUNTED, KEPT = "filtered", "counted", "kept"  # when frames are shown that are encoded anew
STEP = 1024  # samples of a frame of AAC
AAC_RATES = (22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)  # below, its frames are too long
USUAL_RATE = 48_000  # for others
VERIFIED_S = 60  # at either end
INAUDIBLE = 1e-8  # energy of a sample
OFF_MS, LIKE = 5.0, 0.7  # how far the sound may lie from its place in the result, and how alike it must be
UPRIGHT = (), (("transpose", "cclock"),), (("hflip",), ("vflip",)), (("transpose", "clock"),)  # by quarters of a turn
EVEN = "trunc(iw/2)*2:trunc(ih/2)*2:0:0"  # pixels, as H.264 has them
FORMAT = "yuv420p|yuvj420p"
QUALITY = {"crf": "15"}  # as MuseTalk's scripts/preprocess.py


def fix(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    sound_ms: float = 0.0,
    fps25: bool = False,
    audio_track: int | None = None,
    video_track: int | None = None,
) -> ClipAudit:
    """Mend a clip into a new file, and check that; its sound becomes AAC, of two channels where it has more than one.

    Parameters
    ----------
    source, target : path
        The clip, and the new file: .mp4, .mov or .mkv.
    sound_ms : float, default 0
        By how much sound is moved later, in ms; negative: earlier. Silence is put where none is left, and what comes
        before the first shown frame or after the last one is cut off.
    fps25 : bool, default False
        Whether video is converted to 25 frames a second; else its coded packets are copied, or encoded anew at its own
        rate where the new file's format does not hold its codec.
    audio_track, video_track : int, optional
        Tracks, counted from 1; see `load_audio`. The new file holds these alone.

    Returns
    -------
    ClipAudit
        Of the new file.

    Raises
    ------
    OutputError
        If there is a file of that name, or what was written is not in place; then nothing is left.
    ParameterError
        If the clip has no video, or another format or a farther shift is asked for.
    AudioError
        If the clip cannot be read.
    """
    source, target = Path(source), Path(target)
    if os.path.lexists(target):
        raise OutputError(f"{target} is there already, and nothing is overwritten. Name a new file")
    if target.suffix.lower() not in FORMATS or not abs(sound_ms) <= FARTHEST_MS:
        got = f"got {target.name} and {sound_ms:g} ms"
        raise ParameterError(f"a new file is {', '.join(FORMATS)}, its sound moved by {FARTHEST_MS} ms at most; {got}")
    tracks = {"audio_track": audio_track, "video_track": video_track}
    before = audit_clip(source, **tracks)
    if before.info and before.info.video is None:
        raise ParameterError(f"{source} has no video that its sound could be late against. Name a clip")
    _check_mendable(before)
    with replacing(target) as file:
        _write(before, file, FORMATS[target.suffix.lower()], sound_ms / 1000, fps25, (audio_track, video_track))
        file.flush()
        audit = audit_clip(file.name)
        _verify(audit, load_audio(source, **tracks), source, sound_ms, fps25)
    return replace(audit, name=str(target), info=replace(audit.info, path=str(target)))


def _check_mendable(audit: ClipAudit) -> None:
    """Raise AudioError if something is wrong with a clip that a new file of it would hide."""
    errors = (f for f in audit.findings if f.level == "error" and not f.mended)
    if bad := next((f for f in errors if f.what not in (MENDED | RATES_MENDED) - {"bad packet"}), None):
        raise AudioError(f"{audit.name} cannot be mended: {bad.sentence}")


def _write(
    before: ClipAudit, file: Any, kind: str, shift_s: float, fps25: bool, tracks: tuple[int | None, int | None]
) -> None:
    info, (of_sound, of_video) = before.info, tracks
    source, copy = info.path, not (fps25 or before.timeline.disordered)
    if (zero := first_shown_s(source, source, info.structure, of_video)) is None:
        raise AudioError(f"{source}: none of its {info.video.codec} frames can be decoded. Copy or export it again")
    with _writing(file, kind, source) as out:
        rate = Fraction(25) if fps25 else timed_rate(info.video)
        times = FILTERED if fps25 else KEPT if info.video.variable else COUNTED
        video = list(_video(source, out, zero, of_video, rate, times, copy=copy))
        if not video:
            raise ParameterError(f"{source}: none of its frames can be used. Export it again")
        # an encoder's packets do not say how long they last
        end = max(float(p.pts * p.time_base + ((p.duration or 0) * p.time_base or 1 / rate)) for p in video)
        pcm, rate, layout = _sound(info, of_sound, zero, shift_s, end)
        sound = list(_encoded(out, pcm, rate, layout))
        for packet in sorted(chain(video, sound), key=lambda p: p.dts * p.time_base):
            out.mux(packet)


@contextmanager
def _writing(file: Any, kind: str, source: str) -> Iterator[Any]:
    """Open a new file; OutputError for what FFmpeg cannot write."""
    import av

    try:
        with av.open(file, "w", format=kind) as out:
            yield out
    except av.FFmpegError as error:
        what = f"video or sound of {source} cannot be written to {kind} ({error.strerror})"
        raise OutputError(f"{what}. Pass --fps25, or name another format") from None


def _video(
    source: str, out: Any, zero: float, number: int | None, fps: Fraction, times: str, *, copy: bool
) -> Iterator[Any]:
    """Yield packets of video, the first shown one at 0: copied where that is asked for and can be, else encoded."""
    with opened(source, source) as container:
        stream = chosen_video(container, number)
        zero += shown_late_s(source, stream.id, stream.time_base)
        untimed = is_untimed(stream) and stream.codec_context.has_b_frames
        if copy and not untimed and stream.codec_context.codec.canonical_name in out.supported_codecs:
            yield from _copied(container, stream, out, zero)
        else:
            yield from _converted(container, stream, out, zero, fps, times)


def _copied(container: Any, stream: Any, out: Any, zero: float) -> Iterator[Any]:
    copy, ticks = out.add_stream_from_template(stream, opaque=True), round(zero / stream.time_base)
    packets = [packet for packet in packets_of(container, stream) if packet.size]
    if None in (shown := [packet.pts for packet in packets]):
        raise ParameterError(f"{container.name}: video packets without time stamps cannot be copied. Pass --fps25")
    decoded = [packet.dts for packet in packets]
    if None in decoded:  # Matroska has none, and FFmpeg does not guess the first ones
        delay = max(map(sub, sorted(shown), shown))  # of a frame that is decoded before it is shown
        decoded = [at - delay for at in sorted(shown)]
    if any(after <= before for before, after in pairwise(decoded)):
        raise ParameterError(f"{container.name}: edits out of order cannot be copied. Pass --fps25")
    for packet, at in zip(packets, decoded, strict=True):
        packet.pts, packet.dts, packet.stream = packet.pts - ticks, at - ticks, copy
        yield packet


def _converted(container: Any, stream: Any, out: Any, zero: float, fps: Fraction, times: str) -> Iterator[Any]:
    """Yield packets of the video, upright, at times by FFmpeg's filter for a rate, by counting, or as they are."""
    import av

    stream.thread_type, coder = "AUTO", None
    frames = shown_frames(container, stream)
    if (first := next(frames, None)) is None:
        return
    turns, graph = round(first.rotation / 90) % 4, av.filter.Graph()
    steps = [("fps", f"{fps}:start_time=0")] if times == FILTERED else []
    steps += [*UPRIGHT[turns], ("crop", EVEN), ("format", FORMAT), ("buffersink",)]
    graph.link_nodes(_buffer(graph, first), *(graph.add(*step) for step in steps)).configure()
    aspect = stream.codec_context.sample_aspect_ratio
    number = count()
    for frame in chain([first], frames, [None]):
        if frame is not None:
            frame.pts -= round(zero / frame.time_base)
        graph.push(frame)
        for each in _pulled(graph):
            if times == COUNTED:
                each.pts, each.time_base = next(number), 1 / fps
            if coder is None:
                coder = _coder(out, fps, each, 1 / aspect if aspect and turns % 2 else aspect)
                coder.codec_context.time_base = each.time_base
            each.pict_type = av.video.frame.PictureType.NONE
            yield from coder.encode(each)
    if coder:
        yield from coder.encode()


def _buffer(graph: Any, frame: Any) -> Any:
    """Add a source of frames that look like this one; PyAV's own names no colours, which would then be converted."""
    looks = {"video_size": f"{frame.width}x{frame.height}", "pix_fmt": frame.format.name, "pixel_aspect": "1/1"}
    looks |= {"colorspace": str(int(frame.colorspace)), "range": str(int(frame.color_range))}
    return graph.add("buffer", time_base=str(frame.time_base), **looks)


def _coder(out: Any, fps: Fraction, frame: Any, aspect: Fraction | None) -> Any:
    """Add a stream of H.264 for frames that look like this one."""
    coder = out.add_stream("libx264", rate=fps, options=QUALITY)
    coder.width, coder.height, coder.pix_fmt = frame.width, frame.height, frame.format.name
    coder.codec_context.colorspace, coder.codec_context.color_range = frame.colorspace, frame.color_range
    coder.codec_context.color_primaries, coder.codec_context.color_trc = frame.color_primaries, frame.color_trc
    if aspect:
        coder.codec_context.sample_aspect_ratio = aspect
    return coder


def _pulled(graph: Any) -> Iterator[Any]:
    import av

    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _sound(
    info: MediaInfo, track: int | None, zero: float, shift_s: float, end_s: float
) -> tuple[np.ndarray, int, str]:
    """Return 16-bit samples, (n_samples, n_channels), as long as the video; their rate and layout."""
    times = SoundTimes(info.path, zero_s=zero)
    with sound_frames(info.path, info.path, track, info.structure, times) as (mapped, frames):
        rate = mapped.rate if mapped.rate in AAC_RATES else USUAL_RATE
        layout, n_channels = ("mono", 1) if mapped.n_channels == 1 else ("stereo", 2)
        pcm, written = np.zeros((round(end_s * rate), n_channels), np.int16), 0
        for number, piece in groupby(times.numbered(frames), itemgetter(1)):
            place = round((times.starts_s[number] - zero + shift_s) * rate)
            for block in _resampled((frame for frame, _ in piece), layout, rate):
                samples = block.reshape(-1, n_channels)
                cut = max(0, written - place)  # of an overlap the later piece loses
                kept = samples[cut : max(0, len(pcm) - place)]
                pcm[place + cut : place + cut + len(kept)] = kept
                written, place = max(written, place + cut + len(kept)), place + len(samples)
    return pcm, rate, layout


def _resampled(frames: Iterator[Any], layout: str, rate: int) -> Iterator[np.ndarray]:
    import av

    resampler = av.AudioResampler(format="s16", layout=layout, rate=rate)
    for frame in chain(frames, [None]):
        yield from (one.to_ndarray() for one in resampler.resample(frame))


def _encoded(out: Any, pcm: np.ndarray, rate: int, layout: str) -> Iterator[Any]:
    import av

    coder = out.add_stream("aac", rate=rate, layout=layout, options={"b": "192k"})
    for i in range(0, len(pcm), STEP):
        block = np.ascontiguousarray(pcm[i : i + STEP]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
        frame.rate, frame.pts = rate, i
        yield from coder.encode(frame)
    yield from coder.encode()


def _verify(audit: ClipAudit, before: np.ndarray, source: Path, sound_ms: float, fps25: bool) -> None:
    """Raise OutputError unless sound lies in the result where it is meant to, and nothing is left to mend."""
    left = {f.what for f in audit.findings if f.level == "error"} & (MENDED | (RATES_MENDED if fps25 else set()))
    if left:
        raise OutputError(f"{source} could not be mended: {', '.join(left)} is still there. Export it again")
    after, shift = load_audio(audit.name), round(sound_ms * SAMPLE_RATE / 1000)
    moved = np.concatenate([np.zeros(max(0, shift), np.float32), before[max(0, -shift) :]])[: len(after)]
    n = VERIFIED_S * SAMPLE_RATE
    parts = [slice(None)] if len(after) < 2 * n else [slice(n), slice(len(after) - n, None)]
    for part in parts:
        off_ms, alike = _offset(moved[part], after[part])
        if alike < LIKE or abs(off_ms) > OFF_MS:
            raise OutputError(
                f"{source} could not be mended: its sound lies {off_ms:.0f} ms from its place. Export it again"
            )


def _offset(expected: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    """Return how late a waveform is against another, in ms, and how alike they are then; silence is alike."""
    energy = float(np.sqrt(np.square(expected).sum() * np.square(got).sum()))
    if energy < INAUDIBLE * len(got):
        return 0.0, 1.0
    spectra = np.fft.rfft(expected, 2 * len(got)), np.fft.rfft(got, 2 * len(got))
    match = np.fft.irfft(spectra[1] * spectra[0].conj())
    lag = int(match.argmax())
    return 1000 * min(lag, lag - len(match), key=abs) / SAMPLE_RATE, float(match[lag]) / energy
