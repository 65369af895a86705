"""Any media file or array in, a 16 kHz mono float32 waveform out."""
