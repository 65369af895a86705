"""Notebook 03's room: whether every notebook still records what it recorded.

`run_suite` gives the notebook's answer, `run_notebook` runs one notebook, `write_reports` and `compare_reports` show
what a suite run found.
"""

from musetools.lab.regression.outcome import CaseReport, SuiteReport, compare_reports
from musetools.lab.regression.report import write_reports
from musetools.lab.regression.runner import NotebookRun, run_notebook
from musetools.lab.regression.suite import run_suite

__all__ = ["CaseReport", "NotebookRun", "SuiteReport", "compare_reports", "run_notebook", "run_suite", "write_reports"]
