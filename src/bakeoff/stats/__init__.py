"""How sure the numbers are: scores with intervals, paired differences, and the decision in words.

Examples are a sample, and repetitions of one example are not independent, so standard errors are clustered.
`Outcome.cluster` identifies the cluster. No value is ever NaN: what cannot be known is None, and where the spread
cannot be estimated (one cluster, all passes) the result is a bound that needs no spread.
"""

from bakeoff.stats.decision import Decision, deaths_are_failures, decide, depends_on_counting
from bakeoff.stats.detectable import ALPHA, Spread, minimum_detectable_effect, power_of
from bakeoff.stats.excess import Excess, excesses
from bakeoff.stats.intervals import (
    Estimate,
    clustered_se,
    equivalent_clusters,
    estimate,
    estimate_errors,
    t_quantile,
    t_two_sided,
    wilson,
)
from bakeoff.stats.paired import (
    Comparison,
    Sensitivity,
    compare,
    compare_all,
    compare_measures,
    compare_pairs,
    holm,
    sensitivities,
    sign_flip_p,
    spread_of,
)
from bakeoff.stats.power import Power, plan
from bakeoff.stats.scores import (
    Counting,
    Outcome,
    ScoreSet,
    count_deaths,
    counted_in_score,
    pass_at_k,
    pass_hat_k,
    score_set,
)
from bakeoff.stats.sequential import LookResult, Looks, look

__all__ = [
    "ALPHA",
    "Comparison",
    "Counting",
    "Decision",
    "Estimate",
    "Excess",
    "LookResult",
    "Looks",
    "Outcome",
    "Power",
    "ScoreSet",
    "Sensitivity",
    "Spread",
    "clustered_se",
    "compare",
    "compare_all",
    "compare_measures",
    "compare_pairs",
    "count_deaths",
    "counted_in_score",
    "deaths_are_failures",
    "decide",
    "depends_on_counting",
    "equivalent_clusters",
    "estimate",
    "estimate_errors",
    "excesses",
    "holm",
    "look",
    "minimum_detectable_effect",
    "pass_at_k",
    "pass_hat_k",
    "plan",
    "power_of",
    "score_set",
    "sensitivities",
    "sign_flip_p",
    "spread_of",
    "t_quantile",
    "t_two_sided",
    "wilson",
]
