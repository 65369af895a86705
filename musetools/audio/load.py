"""Any media file or array in, a 16 kHz mono float32 waveform out: decoded in process, block by block.

Two decoders, because the published pipelines use two. ``"ffmpeg"`` mixes and resamples in 16 bits with swresample, as
the ffmpeg program does for MuseTalk v1; ``"librosa"`` mixes in float and resamples with soxr, as ``librosa.load`` does
for MuseTalk v1.5. Both stream: an hour of mp4 is never whole in memory unless the caller asks for it.
"""

from collections.abc import Iterator

import numpy as np

from musetools.audio.decode import Source, blocks_of_array, blocks_of_file
from musetools.errors import ParameterError, one_of

__all__ = ["DECODERS", "audio_blocks", "load_audio"]

DECODERS = ("ffmpeg", "librosa")
SILENCE_DBFS = -120.0


def load_audio(source: Source, *, decoder: str = "ffmpeg") -> np.ndarray:
    """Decode a media file, or convert an array, to the waveform that Whisper's encoder expects.

    Parameters
    ----------
    source : path, binary file, or (array, sample_rate)
        A media file that PyAV or libsndfile can read; of a video, the audio track. An array is ``(n_samples,)`` or
        ``(n_channels, n_samples)``: floats with full scale at 1, or signed integers, which are scaled by their range.
        One channel at 16 kHz is converted to float32 and otherwise left as it is; anything else is treated as a file of
        those samples would be.
    decoder : {"ffmpeg", "librosa"}
        "ffmpeg" mixes and resamples in 16 bits (MuseTalk v1), "librosa" in float with soxr (MuseTalk v1.5).

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.

    Raises
    ------
    AudioError
        If the file is missing, empty, no media, truncated or without an audio stream; if a sample is not finite; if
        the channels cancel each other in the downmix.
    ParameterError
        If the decoder is unknown or the array is not audio.

    Notes
    -----
    Sources: ``musetalk/whisper/whisper/audio.py`` and ``musetalk/utils/audio_processor.py`` (TMElyralab/MuseTalk).
    """
    nothing = np.empty(0, np.float32)  # swresample makes no block of a handful of samples
    return np.concatenate([nothing, *audio_blocks(source, decoder=decoder)])


def audio_blocks(source: Source, *, decoder: str = "ffmpeg") -> Iterator[np.ndarray]:
    """Decode like `load_audio`, but hand out the waveform in blocks of a few seconds as they are decoded.

    Parameters
    ----------
    source : path, binary file, or (array, sample_rate)
        As in `load_audio`.
    decoder : {"ffmpeg", "librosa"}
        As in `load_audio`.

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
        return blocks_of_file(source, decoder)
    if len(source) != 2:
        raise ParameterError(f"audio as a tuple must be (array, sample_rate); got {len(source)} items")
    return blocks_of_array(*source, decoder)
