"""What a room shows: sentences that are computed from numbers, and a table of the numbers."""

from html import escape

from musetools.table import Table

__all__ = ["Answer"]


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
        return (f"<ul>{items}</ul>" if items else "") + (table._repr_html_() if table else "")
