"""What the page costs: seconds to build it from a saved run, bytes, and seconds until a browser has read it.

Makes a saved run with the kill table and the timings of benchmarks/results, builds its page in a process
of its own and opens it in Chromium. Writes benchmarks/results/page.md.
"""

import gzip
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

from playwright.sync_api import sync_playwright

RESULTS = Path(__file__).parent / "results"
ROUNDS = 7


def built(directory: Path) -> Iterator[float]:
    """Seconds of ``gradtwin report``, as a whole process."""
    for _ in range(ROUNDS):
        started = perf_counter()
        subprocess.run([sys.executable, "-m", "compare", "report", str(directory)], check=True)
        yield perf_counter() - started


def started() -> Iterator[float]:
    """Seconds of a process that only imports what the page is built with."""
    for _ in range(ROUNDS):
        begun = perf_counter()
        subprocess.run([sys.executable, "-c", "import matplotlib.figure, compare.report"], check=True)
        yield perf_counter() - begun


def read(page: Path) -> Iterator[float]:
    """Seconds from the start of the navigation to DOMContentLoaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(ROUNDS):
            shown = browser.new_page()
            shown.goto(page.as_uri())
            done = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
            yield shown.evaluate(done) / 1000
            shown.close()
        browser.close()


def main() -> None:
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "run"
        subprocess.run([sys.executable, "-m", "compare", "run", "-o", str(directory)], check=True)
        for name in ("bench.json", "mutants.json"):
            shutil.copy(RESULTS / name, directory)
        seconds, imports = sorted(built(directory)), median(started())
        page = directory / "report.html"
        loaded = sorted(read(page))
        content = page.read_bytes()
    lines = [
        "# The page: nine scenarios in both dtypes, the kill table and four benches",
        "",
        f"Medians of {ROUNDS} (smallest to largest); written by `benchmarks/page.py`.",
        "",
        "| what | measured | at most |",
        "|---|---|---|",
        f"| built from a saved run, as a whole process | {_told(seconds)} s | 3 s |",
        f"| of it, importing what it is built with | {imports:.2f} s | |",
        f"| DOMContentLoaded in Chromium, from a file | {_told(loaded)} s | 0.5 s |",
        f"| bytes | {len(content):,} | 1,000,000 |",
        f"| bytes, compressed by gzip | {len(gzip.compress(content)):,} | 200,000 |",
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "page.md").write_text(text, "utf-8")
    print(text)


def _told(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})"


if __name__ == "__main__":
    main()
