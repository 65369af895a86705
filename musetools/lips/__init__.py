"""Whether sound is where the mouth is: mouth measures of a video, the mouth expected from sound, their offset."""

from musetools.lips.mouth import MouthSeries, mouth_measures, read_mouth

__all__ = ["MouthSeries", "mouth_measures", "read_mouth"]
