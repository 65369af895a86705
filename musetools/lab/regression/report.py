"""A suite's report for people and for CI, from templates: one page, JUnit XML, the executed notebooks as pages."""

import ast
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import nbformat
from jinja2 import Environment, PackageLoader
from nbconvert import HTMLExporter

from musetools.errors import ParameterError
from musetools.files import write_whole
from musetools.lab.look import INFER, TRAIN
from musetools.lab.regression.baselines import unit_of
from musetools.lab.regression.outcome import SuiteReport, compare_reports
from musetools.table import Table

__all__ = ["names_recorded", "write_reports"]

MARKS = {"passed": "✓", "failed": "✗", "could not run": "–"}
SHOWN = 400  # quantities of a case that are listed
NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # the colours of a traceback, say


class Cell(NamedTuple):
    """A code cell of an executed notebook."""

    heading: str  # that it stands under
    source: str
    images: list[str]  # the figures that it shows, as base64


def write_reports(report: SuiteReport, folder: str | os.PathLike) -> Path:
    """Write ``report.html``, ``report.json`` and ``junit.xml``, and each executed notebook as HTML.

    The page compares with the run whose ``report.json`` lies in the folder, before that is replaced.

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
    pages = {_page_name(case.output): _exported(case.output) for case in report.cases if case.output}
    values = {"report": report, "marks": MARKS, "shown": SHOWN, "good": TRAIN, "bad": INFER, "inf": inf}
    values |= {"drawn_of": _drawn_of, "unit": unit_of, "link": lambda path: quote(_page_name(path))}
    values |= {"cells": {case.name: _code_cells(case.output) for case in report.cases}}
    values |= {"since": _since_last_run(report, folder / "report.json")}
    loader = PackageLoader(__package__, "")
    templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    for name in ("junit.xml", "report.html"):
        pages[name] = NOT_XML.sub("", templates.get_template(f"{name}.j2").render(values))
    pages["report.json"] = report.to_json()
    for name, text in pages.items():
        write_whole(folder / name, text.encode(errors="backslashreplace"))
    return folder / "report.html"


def _exported(path: Path) -> str:
    """Return an executed notebook as a page that loads nothing from a network."""
    exporter = HTMLExporter()
    for trait in exporter.trait_names():
        if trait.endswith(("_js_url", "mathjax_url", "_base_url", "elk_js_url")):
            setattr(exporter, trait, "")
    return exporter.from_filename(str(path))[0]


def _page_name(notebook: Path) -> str:
    return f"{notebook.name.removesuffix('.ipynb')}.html"


def _since_last_run(report: SuiteReport, path: Path) -> Table | None:
    """Return what changed since the run that left a report; None without one."""
    with suppress(ParameterError):
        return compare_reports(SuiteReport.load(path), report)
    return None


def _code_cells(notebook: Path | None) -> list[Cell]:
    """Return the code cells of an executed notebook; none without one."""
    found, heading = [], ""
    for cell in nbformat.read(notebook, as_version=4).cells if notebook else ():
        if cell.cell_type == "code":
            shown = [output.get("data", {}) for output in cell.get("outputs", [])]
            images = [str(data["image/png"]).strip() for data in shown if "image/png" in data]
            found.append(Cell(heading, cell.source, images))
        elif cell.source.startswith("#"):
            heading = cell.source.splitlines()[0].lstrip("# ")
    return found


def _drawn_of(cells: Sequence[Cell], quantity: str) -> tuple[str, str]:
    """Return heading and figure of the cell that draws what a quantity was recorded from; "" where there is none.

    The last cell says ``record(name=expression)``; of the cells with a figure, the one is taken that has the longest of
    the expression's names, and most of them, as ``answer.clicks`` in ``click_figure(answer.clicks)``.
    """
    names = names_recorded(cells[-1].source, quantity.split("/")[0]) if cells else ()

    def used(cell: Cell) -> tuple[int, int]:
        lengths = [len(name) for name in names if re.search(rf"\b{re.escape(name)}\b", cell.source)]
        return max(lengths, default=0), len(lengths)

    best = max((cell for cell in cells[:-1] if cell.images and any(used(cell))), key=used, default=None)
    return (best.heading, best.images[0]) if best else ("", "")


def names_recorded(source: str, quantity: str) -> set[str]:
    """Return the dotted names in the expression of a recorded quantity, what they are attributes of, and last names.

    The loop variables of a comprehension are no names of the notebook's.
    """
    with suppress(SyntaxError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.keyword) and node.arg == quantity:
                nodes = [n for n in ast.walk(node.value) if isinstance(n, (ast.Name, ast.Attribute))]
                loops = {n.id for n in nodes if isinstance(n.ctx, ast.Store)}
                dotted = {name for name in map(ast.unparse, nodes) if name.split(".")[0] not in loops}
                return dotted | {name.split(".")[-1] for name in dotted}
    return set()
