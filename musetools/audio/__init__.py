"""Any media file or array in, a 16 kHz mono float32 waveform out: decoded in process, block by block.

Names are imported on first use: a spec names decoders and needs none.
"""

import lazy_loader

DECODERS = ("timeline", "ffmpeg", "librosa")
HOMES = {
    "load": ["audio_blocks", "load_audio"],
    "loudness": ["loudness"],
    "probe": ["MediaInfo", "probe_media"],
    "reading": ["read_timeline"],
    "timeline": ["Timeline"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=HOMES)
__all__ += ["DECODERS"]
