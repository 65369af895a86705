"""Notebook 07's room: what the work costs on this machine, beside the least that it could cost.

`evaluate` gives the notebook's answer by a plan, `QUICK` or `FULL`; `race` times anything in turns, `operation_table`
and `type_errors` look into the encoder; the ``…_figure`` functions draw the answer. `hugging_face` and `v1_style` are
the published ways to compare with.
"""

from musetools.lab.performance.answer import FULL, QUICK, Performance, Plan, evaluate
from musetools.lab.performance.baselines import hugging_face, v1_style
from musetools.lab.performance.figures import (
    error_figure,
    length_figure,
    memory_figure,
    share_figure,
    start_figure,
    whole_figure,
)
from musetools.lab.performance.measure import operation_table, type_errors
from musetools.lab.performance.timing import race

__all__ = ["FULL", "QUICK", "Performance", "Plan", "error_figure", "evaluate", "hugging_face", "length_figure"]
__all__ += ["memory_figure", "operation_table", "race", "share_figure", "start_figure", "type_errors", "v1_style"]
__all__ += ["whole_figure"]
