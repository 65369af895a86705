"""Notebook 07's room: what the work costs on this machine, beside the least that it could cost.

`evaluate` gives the notebook's answer by a plan, `QUICK` or `FULL`; the measures are functions of their own, timed by
`race`; the ``…_figure`` functions draw them. `hugging_face` and `v1_style` are the published ways to compare with.
"""

from musetools.lab.performance.answer import FULL, QUICK, Performance, Plan, evaluate
from musetools.lab.performance.baselines import HUGGING_FACE, V1, hugging_face, v1_style
from musetools.lab.performance.figures import (
    error_figure,
    length_figure,
    memory_figure,
    share_figure,
    start_figure,
    whole_figure,
)
from musetools.lab.performance.measure import Bound, Fit, encoder_flops, fit_of, operation_table, type_errors
from musetools.lab.performance.timing import Race, peak_mib, race, start_times

__all__ = ["FULL", "HUGGING_FACE", "QUICK", "V1", "Bound", "Fit", "Performance", "Plan", "Race"]
__all__ += ["encoder_flops", "error_figure", "evaluate", "fit_of", "hugging_face", "length_figure"]
__all__ += ["memory_figure", "operation_table", "peak_mib", "race", "share_figure", "start_figure", "start_times"]
__all__ += ["type_errors", "v1_style", "whole_figure"]
