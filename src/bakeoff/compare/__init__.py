"""Two runs side by side: refused when their harness differs, else what changed, how sure that is, and the gates."""

from bakeoff.compare.changes import Change, ExampleChange, Measure
from bakeoff.compare.comparison import RunComparison, compare_runs, parse_pairs
from bakeoff.compare.drift import drift
from bakeoff.compare.side import Side, Trial, read

__all__ = [
    "Change",
    "ExampleChange",
    "Measure",
    "RunComparison",
    "Side",
    "Trial",
    "compare_runs",
    "drift",
    "parse_pairs",
    "read",
]
