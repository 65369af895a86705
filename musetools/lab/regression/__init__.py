"""Notebook 03's room: whether every notebook still records what it recorded.

`run_suite` gives the notebook's answer, `run_notebook` runs one notebook, `write_reports` and `compare_reports` show
what a suite run found, `answer_box` in short.
"""

from musetools.lab.regression.figures import answer_box, share_figure
from musetools.lab.regression.outcome import CaseReport, SuiteReport, compare_reports
from musetools.lab.regression.report import write_reports
from musetools.lab.regression.runner import NotebookRun, run_notebook
from musetools.lab.regression.suite import run_suite

__all__ = ["CaseReport", "NotebookRun", "SuiteReport", "answer_box", "compare_reports", "run_notebook", "run_suite"]
__all__ += ["share_figure", "write_reports"]
