"""What a room shows: sentences that are computed from numbers, and a table of the numbers."""

from html import escape

from musetools.table import Table

__all__ = ["Answer"]

BOX = "border-left:6px solid #0072B2;background:#eef4f9;color:black;padding:8px 4px;margin:4px 0"


class Answer:
    """Base of what shows itself by its sentences and its table, as text and as HTML."""

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return []

    def table(self) -> Table | None:
        """Return the numbers as a table, if that is shown."""
        return None

    def __repr__(self) -> str:
        table = self.table()
        return "\n".join([*self.sentences(), *([repr(table)] if table else [])])

    def _repr_html_(self) -> str:
        items, table = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.sentences()), self.table()
        box = f'<div style="{BOX}"><ul style="margin:0">{items}</ul></div>' if items else ""
        return box + (table._repr_html_() if table else "")
