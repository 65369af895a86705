"""Notebook 02's room: whether a clip's picture and sound, and the chunks made of them, are aligned.

`evaluate` gives the notebook's answer. Its parts: `audit_folder` and `check_store` for clips, `measure_lags` with
clicks, `estimate_offset` from a mouth, `audit_sampler` for the v1.5 loader, `audit_converter` for the ffmpeg program.
"""

from musetools.check.folder import audit_folder
from musetools.lab.alignment.conversions import ConverterAudit
from musetools.lab.alignment.converter import audit_converter
from musetools.lab.alignment.figures import click_figure, mouth_figure, sampler_figure
from musetools.lab.alignment.lag import MeasuredLag, measure_lag, measure_lags
from musetools.lab.alignment.measure import Alignment, check_store, conclusions, evaluate
from musetools.lab.alignment.offset import OffsetEstimate, estimate_offset
from musetools.recipes.sampler import audit_sampler

__all__ = ["Alignment", "ConverterAudit", "MeasuredLag", "OffsetEstimate", "audit_converter", "audit_folder"]
__all__ += ["audit_sampler", "check_store", "click_figure", "conclusions", "estimate_offset", "evaluate"]
__all__ += ["measure_lag", "measure_lags", "mouth_figure", "sampler_figure"]
