"""Any media file or array in, a 16 kHz mono float32 waveform out: decoded in process, block by block.

``"timeline"`` puts sound where time stamps say. The published pipelines count samples, in two ways: ``"ffmpeg"`` mixes
and resamples in 16 bits with swresample, as the ffmpeg program does for MuseTalk v1; ``"librosa"`` mixes in float and
resamples with soxr, as ``librosa.load`` does for MuseTalk v1.5. All stream: an hour of mp4 is never whole in memory
unless the caller asks for it.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from musetools.audio import DECODERS
from musetools.audio.buffer import joined
from musetools.audio.decode import Source, blocks_of_array, blocks_of_file
from musetools.audio.timeline import SoundTimes
from musetools.errors import ParameterError, one_of

__all__ = ["audio_blocks", "load_audio"]

HELD = 64  # blocks that are joined at once: to free each would take the system 10 % of the time


def load_audio(
    source: Source, *, decoder: str = "timeline", audio_track: int | None = None, video_track: int | None = None
) -> np.ndarray:
    """Decode a media file, or convert an array, to the waveform that Whisper's encoder expects.

    Parameters
    ----------
    source : path, binary file, or (array, sample_rate)
        A media file that PyAV or libsndfile can read; of a video, the audio track. An array is ``(n_samples,)`` or
        ``(n_channels, n_samples)``: floats with full scale at 1, or signed integers, which are scaled by their range.
        One channel at 16 kHz is converted to float32 and otherwise left as it is; anything else is treated as a file of
        those samples would be.
    decoder : {"timeline", "ffmpeg", "librosa"}
        "timeline" puts sound where its time stamps say: sample 0 at the first shown video frame (without video, at the
        first sample), holes and packets that cannot be decoded filled with silence, overlaps cut. Where there are none
        it equals "ffmpeg", which mixes and resamples in 16 bits and counts samples (MuseTalk v1). "librosa" mixes in
        float, resamples with soxr and counts samples (MuseTalk v1.5).
    audio_track, video_track : int, optional
        Tracks of the file, counted from 1 among those of their kind. By default the first that can be decoded and is
        marked as default; of videos the first that moves.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.

    Raises
    ------
    AudioError
        If the file is missing, empty, no media, a playlist, truncated or without an audio stream; if a sample is not
        finite or beyond eight times full scale; if the channels cancel each other in the downmix.
    ParameterError
        If the decoder is unknown or the array is not audio.

    Notes
    -----
    Sources: ``musetalk/whisper/whisper/audio.py`` and ``musetalk/utils/audio_processor.py`` (TMElyralab/MuseTalk).
    """
    blocks = audio_blocks(source, decoder=decoder, audio_track=audio_track, video_track=video_track)
    return joined(map(np.concatenate, iter(lambda: list(islice(blocks, HELD)), [])))


def audio_blocks(
    source: Source,
    *,
    decoder: str = "timeline",
    audio_track: int | None = None,
    video_track: int | None = None,
    times: SoundTimes | None = None,
) -> Iterator[np.ndarray]:
    """Decode like `load_audio`, but hand out the waveform in blocks of a few seconds as they are decoded.

    Parameters
    ----------
    source : path, binary file, or (array, sample_rate)
        As in `load_audio`.
    decoder, audio_track, video_track
        As in `load_audio`.
    times : SoundTimes, optional
        Notes where the sound lies; complete when the last block is taken.

    Returns
    -------
    iterator of ndarray of float32, shape (n,)
        Mono, 16 kHz; put together, exactly what `load_audio` returns.

    Raises
    ------
    AudioError, ParameterError
        As `load_audio`; what only the end can show (truncation, cancelled channels) is raised after the last block.
    """
    one_of("decoder", decoder, DECODERS)
    if not isinstance(source, tuple):
        return blocks_of_file(source, decoder, audio_track=audio_track, video_track=video_track, times=times)
    if len(source) != 2:
        raise ParameterError(f"audio as a tuple must be (array, sample_rate); got {len(source)} items")
    return blocks_of_array(*source, decoder)
