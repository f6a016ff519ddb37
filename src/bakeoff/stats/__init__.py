"""How sure the numbers are: scores with intervals, paired differences, and the decision in words.

Examples are a sample, and repetitions of one example are not independent, so standard errors are clustered.
`Outcome.cluster` is the one source of cluster identity. Nothing here is ever NaN: what cannot be known is
None, and where the spread cannot be estimated (one cluster, all passes) a bound that needs none stands in.
"""

from bakeoff.stats.decision import Decision, decide
from bakeoff.stats.intervals import Estimate, clustered_se, estimate, t_quantile, t_two_sided, wilson
from bakeoff.stats.paired import (
    Comparison,
    compare,
    compare_all,
    holm,
    minimum_detectable_effect,
    sign_flip_p,
)
from bakeoff.stats.scores import Outcome, ScoreSet, pass_at_k, pass_hat_k, score_set

__all__ = [
    "Comparison",
    "Decision",
    "Estimate",
    "Outcome",
    "ScoreSet",
    "clustered_se",
    "compare",
    "compare_all",
    "decide",
    "estimate",
    "holm",
    "minimum_detectable_effect",
    "pass_at_k",
    "pass_hat_k",
    "score_set",
    "sign_flip_p",
    "t_quantile",
    "t_two_sided",
    "wilson",
]
