"""Notebook 02's room: whether a clip's video and audio, and the chunks made of them, are aligned.

`evaluate` gives the notebook's answer. Its measures are `measure_lags` with clicks, `look_at_mouth` with a mouth,
`audit_converter` for the ffmpeg program, and those of `musetools.check` and `musetools.recipes`; `check_store` audits a
training set. The ``…_figure`` functions draw.
"""

from musetools.lab.alignment.converter import Conversion, ConverterAudit, audit_converter
from musetools.lab.alignment.figures import answer_box, click_figure, mouth_figure, plosive_figure, sampler_figure
from musetools.lab.alignment.lag import MeasuredLag, measure_lags
from musetools.lab.alignment.measure import Alignment, Mouth, check_store, evaluate, look_at_mouth

__all__ = ["Alignment", "Conversion", "ConverterAudit", "MeasuredLag", "Mouth", "answer_box", "audit_converter"]
__all__ += ["check_store", "click_figure", "evaluate", "look_at_mouth", "measure_lags", "mouth_figure"]
__all__ += ["plosive_figure", "sampler_figure"]
