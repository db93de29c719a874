"""The comparison: runs both sides of a scenario and says whether they agree, and where they first part.

>>> import compare
>>> [record] = compare.run(["chain_rule"], dtypes=["float64"])
>>> record.verdict.agrees
True
"""

from compare.judge import Verdict, judge
from compare.record import Record, Run, UnreadableRunError, UnwritableRunError, read
from compare.runner import run

__all__ = ["Record", "Run", "UnreadableRunError", "UnwritableRunError", "Verdict", "judge", "read", "run"]
