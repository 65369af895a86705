"""Drop-in classes for existing code bases: ``compat.musetalk`` and ``compat.latentsync``; one import line changes.

``Audio2Feature`` and ``AudioProcessor`` are MuseTalk's; LatentSync's class of the first name is in its own module.
"""

from musetools.infer.compat.musetalk import Audio2Feature, AudioProcessor

__all__ = ["Audio2Feature", "AudioProcessor"]
