"""A suite's report for people and for CI, from templates: one page, JUnit XML, the executed notebooks as pages."""

import os
import re
from collections.abc import Iterator
from math import inf
from pathlib import Path
from urllib.parse import quote

import nbformat

from musetools.files import write_whole
from musetools.lab.regression.outcome import CaseReport, SuiteReport

__all__ = ["export_notebook", "write_reports"]

MARKS = {"passed": "✓", "failed": "✗", "could not run": "–"}
SHOWN = 400  # quantities of a case that are listed
NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # the colours of a traceback, say


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
    from jinja2 import Environment, PackageLoader

    from musetools.lab.look import INFER, TRAIN  # matplotlib, which the process that runs a notebook need not load

    folder = Path(folder)
    pages = {_page_name(case.output): export_notebook(case.output) for case in report.cases if case.output}
    values = {"report": report, "marks": MARKS, "shown": SHOWN, "good": TRAIN, "bad": INFER, "inf": inf}
    values |= {"figures": _figures, "link": lambda path: quote(_page_name(path))}
    loader = PackageLoader(__package__, "")
    templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    for name in ("junit.xml", "report.html"):
        pages[name] = NOT_XML.sub("", templates.get_template(f"{name}.j2").render(values))
    pages["report.json"] = report.to_json()
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


def _page_name(notebook: Path) -> str:
    return f"{notebook.name.removesuffix('.ipynb')}.html"


def _figures(case: CaseReport) -> Iterator[str]:
    """Yield the figures of an executed notebook, as base64."""
    cells = nbformat.read(case.output, as_version=4).cells if case.output else ()
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            yield str(output.data["image/png"]).strip()
