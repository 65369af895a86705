"""What became of every clip of an extraction: counts that add up, as text, HTML and JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from musetools.audio.timeline import Timeline
from musetools.check.clip import ClipAudit
from musetools.table import Table
from musetools.train.sources import ClipSource

__all__ = ["ExtractReport", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What became of a clip."""

    source: ClipSource
    error: Exception | None = None  # why there is no clip
    stops: bool = False  # whether that would meet every clip
    there: bool = False  # whether it was in the store already
    audit: ClipAudit | None = None
    moved: Timeline | None = None  # where its sound lies, if it was moved there
    seconds: float = 0.0  # of audio that was encoded


@dataclass(repr=False)
class ExtractReport:
    """What `extract` did."""

    added: list[str] = field(default_factory=list)  # clips that are new in the store
    remade: list[str] = field(default_factory=list)  # clips whose file, or rate in the table, has changed since
    skipped: list[str] = field(default_factory=list)  # clips that were there already, of the same file
    failed: dict[str, str] = field(default_factory=dict)  # files that gave no clip, with the reason
    left: list[str] = field(default_factory=list)  # clips that are still to do
    found: int = 0  # all of these together
    stopped: str = ""  # why clips are still to do
    audits: list[ClipAudit] = field(default_factory=list)  # what the check found in the clips that are new
    aligned: dict[str, Timeline] = field(default_factory=dict)  # new clips whose sound was moved to its time stamps
    passed_over: str = ""  # how many files of the folders are no media, by suffix, and folders that cannot be searched
    elsewhere: int = 0  # clips of other shards
    hours: float = 0.0  # of audio that was encoded
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether no file failed and no clip is still to do."""
        return not self.failed and not self.left

    @property
    def exit_code(self) -> int:
        """What a command ends with: 0 if `ok`, else 1."""
        return 0 if self.ok else 1

    @property
    def speed(self) -> float:
        """How many times faster than real time the audio was encoded."""
        return 3600 * self.hours / self.took_s if self.took_s else 0.0

    def take(self, outcome: Outcome) -> None:
        """Count a clip."""
        source, clip = outcome.source, outcome.source.clip
        self.hours += outcome.seconds / 3600
        if outcome.error:  # two clips of one file are two failures
            name = _printable(source.path)
            kept = "; the store keeps what was made of the former file" if source.again else ""
            name = f"{name} ({_printable(clip)})" if name in self.failed else name
            self.failed[name] = f"{_printable(outcome.error)}{kept}"
            return
        (self.skipped if outcome.there else self.remade if source.again else self.added).append(clip)
        self.audits += [outcome.audit] if outcome.audit else []
        if outcome.moved:
            self.aligned[clip] = outcome.moved

    def __repr__(self) -> str:
        failed = (f"  {path}: {reason}" for path, reason in self.failed.items())
        audits = (f"  {audit}" for audit in self.audits if audit.level != "ok")
        return "\n".join([self._counts(), *failed, *audits, *[self._pace()] * bool(self.hours)])

    def _counts(self) -> str:
        counts = f"{len(self.added)} added, {len(self.skipped)} there already, {len(self.failed)} failed"
        if self.remade:
            counts += f"; {len(self.remade)} made again, as their file or table has changed: {_listed(self.remade)}"
        if self.left:
            counts += f"; {len(self.left)} still to do, run again to go on: {self.stopped}"
        if self.elsewhere:
            counts += f"; {self.elsewhere} in other shards"
        if self.passed_over:
            counts += f"; {self.passed_over}"
        if self.aligned:
            counts += f"; sound of {len(self.aligned)} laid by its time stamps: {_listed(self.aligned)}"
        return counts

    def _pace(self) -> str:
        return f"{self.hours:.3g} h of audio in {self.took_s:.0f} s: {self.speed:.3g} times real time"

    def _repr_html_(self) -> str:
        failed = Table(["file", "why there is no clip of it"], list(self.failed.items()))
        worse = [audit.table_row() for audit in self.audits if audit.level != "ok"]
        checked = Table(["level", "clip", "sound", "frames", "found"], worse)
        tables = "".join(table._repr_html_() for table in (failed, checked) if table.lines)
        return f"<p>{escape(self._counts())}</p>{tables}<p>{self._pace()}</p>"

    def to_json(self) -> str:
        """Return all of it as JSON."""
        audits = [audit.to_json() for audit in self.audits if audit.level != "ok"]
        plain: dict[str, Any] = {name: value for name, value in vars(self).items() if name not in ("audits", "aligned")}
        plain |= {"aligned": list(self.aligned), "audits": audits, "ok": self.ok, "speed": self.speed}
        return json.dumps(plain, indent=1, ensure_ascii=False).encode(errors="backslashreplace").decode()


def _listed(clips: Iterable[str], most: int = 20) -> str:
    """List a few ids."""
    clips = list(clips)
    return ", ".join(clips[:most]) + (f" and {len(clips) - most} more" if len(clips) > most else "")


def _printable(what: object) -> str:
    """Return text that can be written anywhere: a path may hold bytes that are no UTF-8."""
    return str(what).encode(errors="backslashreplace").decode()
