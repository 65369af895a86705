"""Whether sound is where the mouth is: mouth measures of a video, the mouth expected from sound, their offset."""

from musetools.lips.estimate import LipSync, lip_sync
from musetools.lips.expected import MouthModel, expected_mouth
from musetools.lips.mouth import mouth_images, mouth_measures
from musetools.lips.series import MouthSeries, read_mouth

__all__ = ["LipSync", "MouthModel", "MouthSeries", "expected_mouth", "lip_sync"]
__all__ += ["mouth_images", "mouth_measures", "read_mouth"]
