"""Counts of the fuzz tests, at the end of a run."""

from fuzz import COUNTS


def pytest_terminal_summary(terminalreporter) -> None:
    for name, (tried, refused) in sorted(COUNTS.items()):
        terminalreporter.write_line(f"fuzz {name}: {tried} cases, {refused} refused")
