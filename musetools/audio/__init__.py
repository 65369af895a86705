"""Any media file or array in, a 16 kHz mono float32 waveform out: decoded in process, block by block."""

from musetools.audio.load import audio_blocks, load_audio
from musetools.audio.loudness import loudness
from musetools.audio.probe import MediaInfo, probe_media
from musetools.audio.reading import read_timeline
from musetools.audio.timeline import Timeline

__all__ = ["MediaInfo", "Timeline", "audio_blocks", "load_audio", "loudness", "probe_media", "read_timeline"]
