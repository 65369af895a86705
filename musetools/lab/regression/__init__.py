"""Notebook 03's room: whether every notebook still records what it recorded.

`run_suite` gives the notebook's answer, `run_notebook` runs one notebook, `write_reports` and `compare_reports` show
what a suite run found, `answer_box` in short. Names are imported on first use: the process of a run needs none.
"""

import lazy_loader

HOMES = {
    "figures": ["answer_box", "share_figure"],
    "outcome": ["CaseReport", "SuiteReport", "compare_reports"],
    "report": ["write_reports"],
    "runner": ["NotebookRun", "run_notebook"],
    "suite": ["run_suite"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=HOMES)
