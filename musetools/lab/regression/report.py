"""A suite's report for people and for CI, from templates: one page, JUnit XML, the executed notebooks as pages."""

import os
from collections.abc import Iterator
from importlib.resources import files
from math import inf
from pathlib import Path
from urllib.parse import quote

import nbformat

from musetools.files import write_whole
from musetools.lab.regression.outcome import CaseReport, SuiteReport

__all__ = ["export_notebook", "report_junit", "report_page", "write_reports"]

MARKS = {"passed": "✓", "failed": "✗", "could not run": "–"}
SHOWN = 400  # quantities of a case that are listed


def write_reports(report: SuiteReport, folder: str | os.PathLike) -> Path:
    """Write ``report.html``, ``report.json`` and ``junit.xml``, and each executed notebook as HTML.

    Parameters
    ----------
    report : SuiteReport
        What a suite run found.
    folder : path
        Where to.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    pages = {_page_name(case.output): export_notebook(case.output) for case in report.cases if case.output}
    pages |= {"report.json": report.to_json(), "junit.xml": report_junit(report), "report.html": report_page(report)}
    for name, text in pages.items():
        write_whole(folder / name, text.encode(errors="backslashreplace"))
    return folder / "report.html"


def export_notebook(path: Path) -> str:
    """Return an executed notebook as a page that loads nothing from a network."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter()
    for trait in exporter.trait_names():
        if trait.endswith(("_js_url", "mathjax_url", "_base_url", "elk_js_url")):
            setattr(exporter, trait, "")
    return exporter.from_filename(str(path))[0]


def report_page(report: SuiteReport) -> str:
    """Return the page: status on top, a table row a case, error against tolerance as a bar, figures inside."""
    from musetools.lab.look import INFER, TRAIN  # matplotlib, which the process that runs a notebook need not load

    return _rendered("report.html.j2", report=report, marks=MARKS, shown=SHOWN, good=TRAIN, bad=INFER)


def report_junit(report: SuiteReport) -> str:
    """Return JUnit XML: a test case for each case, with a failure or an error."""
    text = _rendered("junit.xml.j2", report=report)
    # what XML cannot hold is left out: the colours of a traceback, say
    return "".join(c for c in text if c in "\n\t" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff")


def _rendered(name: str, **values: object) -> str:
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        files(__package__).joinpath(name).read_text(encoding="utf-8")
    )
    return template.render(inf=inf, figures=_figures, link=lambda path: quote(_page_name(path)), **values)


def _page_name(notebook: Path) -> str:
    return f"{notebook.name.removesuffix('.ipynb')}.html"


def _figures(case: CaseReport) -> Iterator[str]:
    """Yield the figures of an executed notebook, as base64."""
    cells = nbformat.read(case.output, as_version=4).cells if case.output else ()
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            yield str(output.data["image/png"]).strip()
