"""Any media file or array in, a 16 kHz mono float32 waveform out: decoded in process, block by block."""

from musetools.audio.load import audio_blocks, load_audio
from musetools.audio.loudness import loudness
from musetools.audio.probe import MediaInfo, probe_media

__all__ = ["MediaInfo", "audio_blocks", "load_audio", "loudness", "probe_media"]
