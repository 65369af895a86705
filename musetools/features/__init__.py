"""Waveform in, feature rows out."""
