"""The mouth in a video: measures of the lips with time stamps, by MediaPipe or another tracker (extra ``face``)."""

from musetools.lips.mouth import mouth_measures
from musetools.lips.series import MouthSeries, read_mouth

__all__ = ["MouthSeries", "mouth_measures", "read_mouth"]
