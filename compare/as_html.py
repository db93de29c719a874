"""Puts what a comparison hands back into HTML, which a notebook shows: sentences and tables."""

from collections.abc import Iterable
from html import escape

from compare import describe, words
from compare.describe import Table
from compare.judge import Verdict
from compare.record import Record, Run
from scenarios.markup import grid


def table(shown: Table) -> str:
    """A table, with its caption and the headings of its columns and rows."""
    return grid(shown.caption, shown.header, shown.rows)


def record(shown: Record) -> str:
    """The verdict in a sentence, then everything that the record knows."""
    failure = "" if shown.failure is None else f"<pre>{escape(shown.failure.traceback)}</pre>"
    return _page(words.sentence(shown), describe.tables(shown)) + failure


def run(shown: Run) -> str:
    """A row per record, after what an interrupted run still owes."""
    return _page(describe.missing(shown), [describe.overview(shown.records)])


def verdict(shown: Verdict) -> str:
    """The verdict in a word and what it means, what is wrong, then the findings."""
    wrong = "; ".join(words.complaints(shown))
    sentence = f"{shown.word}: {words.MEANING[shown.word]}" + (f" ({wrong})." if wrong else ".")
    return _page(sentence, describe.findings(shown))


def _page(sentence: str, tables: Iterable[Table]) -> str:
    paragraph = f"<p>{escape(sentence)}</p>" if sentence else ""
    return paragraph + "".join(table(one) for one in tables)
