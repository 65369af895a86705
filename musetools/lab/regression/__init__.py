"""Whether every notebook still gives what it gave."""

from musetools.lab.regression.runner import run_notebook
from musetools.lab.regression.suite import SuiteReport, run_suite

__all__ = ["SuiteReport", "run_notebook", "run_suite"]
