"""What a room's one call returns: numbers, and the sentences that are computed from them."""

from html import escape

__all__ = ["Answer"]


class Answer:
    """Shows a result by its sentences: a line each in a terminal, a list in a notebook."""

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return "\n".join(self.sentences())

    def _repr_html_(self) -> str:
        return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in self.sentences())}</ul>"
