"""A table as HTML, for a notebook to show."""

from collections.abc import Iterable, Sequence
from html import escape


def grid(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose rows are named by their first cell; whatever the texts hold, they are shown as text.

    Args:
        caption: of the table.
        header: what stands above the columns; if all of it is empty, nothing does.
        rows: of cells.
    """
    above = "".join(
        f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in header
    )  # an empty heading heads nothing
    head = f"<thead><tr>{above}</tr></thead>" if any(header) else ""
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{escape(first)}</th>' for first in row[:1])
        + "".join(f"<td>{escape(text)}</td>" for text in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><caption>{escape(caption)}</caption>{head}<tbody>{body}</tbody></table>"
