"""The statistics of a sweep: the same tasks under several resource profiles."""

from bakeoff.stats.sweep.contrasts import Contrast
from bakeoff.stats.sweep.decomposition import Decomposition, Part
from bakeoff.stats.sweep.equivalence import Equivalence, repetitions_for
from bakeoff.stats.sweep.levels import Level
from bakeoff.stats.sweep.ranking import Ranking, rankings
from bakeoff.stats.sweep.recommendation import Recommendation
from bakeoff.stats.sweep.study import SweepStudy, study
from bakeoff.stats.sweep.trend import Trend

__all__ = [
    "Contrast",
    "Decomposition",
    "Equivalence",
    "Level",
    "Part",
    "Ranking",
    "Recommendation",
    "SweepStudy",
    "Trend",
    "rankings",
    "repetitions_for",
    "study",
]
