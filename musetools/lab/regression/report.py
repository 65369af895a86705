"""A suite's report as one page: verdict on top, a line a case, error against tolerance as a bar, figures inside."""

import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

import nbformat

from musetools.lab.look import INFER, TRAIN
from musetools.lab.regression.quantities import Deviation
from musetools.lab.regression.verdicts import CaseReport, SuiteReport

__all__ = ["export_notebook", "report_page", "write_reports"]

MARKS = {"passed": "✓", "failed": "✗", "could not run": "–"}
SHOWN = 400  # quantities of a case that are listed
STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1080px; padding: 0 1rem; color: #222; }}
h1 {{ margin: 0; padding: .6rem 1rem; color: white; background: {TRAIN}; border-radius: 6px; }}
h1.bad {{ background: {INFER}; }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }}
td.verdict, td.number {{ white-space: nowrap; }}
td.number {{ text-align: right; }}
.bad {{ color: {INFER}; font-weight: bold; }}
h1.bad {{ color: white; }}
.bar {{ position: relative; width: 9rem; height: .8rem; background: #e8e8e8; margin-top: .3rem; }}
.bar i {{ position: absolute; left: 0; top: 0; bottom: 0; background: {TRAIN}; }}
.bar i.over {{ background: repeating-linear-gradient(45deg, {INFER} 0 5px, white 5px 7px); }}
img {{ max-width: 100%; display: block; margin: .5rem 0 1.5rem; }}
summary {{ cursor: pointer; font-weight: 600; padding: .3rem 0; }}
.why, footer {{ color: #666; }}
"""


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
    for case in report.cases:
        if case.output:
            report.save(_page_of(case, folder), export_notebook(case.output))
    page = folder / "report.html"
    report.save(folder / "report.json", report.to_json())
    report.save(folder / "junit.xml", report.junit())
    report.save(page, report_page(report))
    return page


def export_notebook(path: Path) -> str:
    """Return an executed notebook as a page that loads nothing from a network."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter()
    for trait in exporter.trait_names():
        if trait.endswith(("_js_url", "mathjax_url", "_base_url", "elk_js_url")):
            setattr(exporter, trait, "")
    return exporter.from_filename(str(path))[0]


def report_page(report: SuiteReport) -> str:
    """Return the page."""
    bad = "" if report.ok else ' class="bad"'
    lines = "".join(map(_line, report.cases))
    sections = "".join(_section(case) for case in report.cases)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>musetools regression report</title>'
        f"<style>{STYLE}</style></head><body>"
        f"<h1{bad}>{MARKS[report.verdict]} Regression suite {escape(report.verdict)}</h1>"
        f"<p>{escape(report.sentence)}. {escape(report.when)}</p>"
        "<p>Each case runs a notebook with its parameters and compares every number that it records with a baseline. "
        "The bar shows the number that comes nearest to its tolerance: a full bar is as much as is allowed.</p>"
        "<table><thead><tr><th>case</th><th>verdict</th><th>time</th><th>nearest to its tolerance</th>"
        "<th>error / allowed</th><th>of what is allowed</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>{sections}"
        "<footer>Tolerances are set from the noise between runs; see data/baselines.</footer></body></html>"
    )


def _line(case: CaseReport) -> str:
    worst, mark = case.worst, "verdict" if case.ok else "verdict bad"
    told = "" if case.ok else f'<br><span class="bad">{escape(case.sentence)}</span>'
    cells = [f"<td>{_linked(case)}<br><span class=why>{escape(case.why)}</span>{told}</td>"]
    cells.append(f'<td class="{mark}">{MARKS[case.verdict]} {escape(case.verdict)}</td>')
    cells.append(f"<td class=number>{case.seconds:.0f} s</td>")
    if worst:
        cells.append(f"<td>{'all are equal' if worst.equal else escape(worst.quantity)}</td>{_measure(worst)}")
    else:
        cells.append("<td></td><td></td><td></td>")
    return f"<tr>{''.join(cells)}</tr>"


def _linked(case: CaseReport) -> str:
    name = escape(case.name)
    return f'<a href="{quote(_page_name(case))}">{name}</a>' if case.output else name


def _page_name(case: CaseReport) -> str:
    return f"{case.output.name.removesuffix('.ipynb')}.html"


def _page_of(case: CaseReport, folder: Path) -> Path:
    return folder / _page_name(case)


def _measure(deviation: Deviation) -> str:
    """Return two cells: error against tolerance in numbers, and as a bar."""
    share = min(1.0, deviation.share)
    over = "" if deviation.ok else ' class="over"'
    width = 100 if not deviation.ok else max(100 * share, 1 if deviation.error else 0)
    numbers = f"{deviation.error:.2g} / {deviation.tolerance:.2g}" if deviation.error else "0"
    numbers = "no number" if deviation.error == float("inf") else numbers
    told = "more than allowed" if not deviation.ok else f"{100 * share:.2g} %"
    return (
        f"<td class=number>{numbers}</td>"
        f'<td><div class="bar" title="{told}"><i{over} style="width:{width:.1f}%"></i></div>{told}</td>'
    )


def _section(case: CaseReport) -> str:
    """Return a case's figures and quantities, folded away unless it went wrong."""
    opened = "" if case.ok else " open"
    figures = "".join(f'<img loading="lazy" alt="{escape(case.name)}" src="{image}">' for image in _figures(case))
    rows = "".join(
        f"<tr><td>{escape(d.quantity)}</td>{_measure(d)}<td>{escape(d.fault)}</td></tr>"
        for d in sorted(case.deviations, key=lambda d: (d.ok, -d.share))[:SHOWN]
    )
    head = "<tr><th>quantity</th><th>error / allowed</th><th>of what is allowed</th><th></th></tr>"
    table = f"<details><summary>{len(case.deviations)} quantities</summary><table>{head}{rows}</table></details>"
    return (
        f"<details{opened}><summary>{MARKS[case.verdict]} {escape(case.name)}: {escape(case.sentence)}</summary>"
        f"{table}{figures}</details>"
    )


def _figures(case: CaseReport) -> Iterator[str]:
    """Yield the figures of an executed notebook as data URLs."""
    if not case.output:
        return
    for cell in nbformat.read(case.output, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield f"data:image/png;base64,{output.data['image/png'].strip()}"
