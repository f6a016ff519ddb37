"""How sure the numbers are: scores with intervals, paired differences, and the decision in words.

Examples are a sample, and repetitions of one example are not independent, so standard errors are clustered.
`Outcome.cluster` identifies the cluster. No value is ever NaN: what cannot be known is None, and where the spread
cannot be estimated (one cluster, all passes) the result is a bound that needs no spread.
"""

from bakeoff.stats.answerable import (
    Sample,
    noise_of,
    repetitions_for,
    round_up,
    smallest_margin,
    unanswerable,
)
from bakeoff.stats.conditional import Rise, Share, rise_of_mean, rise_of_share, share_against
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

__all__ = [
    "ALPHA",
    "Comparison",
    "Counting",
    "Decision",
    "Estimate",
    "Excess",
    "Outcome",
    "Power",
    "Rise",
    "Sample",
    "ScoreSet",
    "Sensitivity",
    "Share",
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
    "minimum_detectable_effect",
    "noise_of",
    "pass_at_k",
    "pass_hat_k",
    "plan",
    "power_of",
    "repetitions_for",
    "rise_of_mean",
    "rise_of_share",
    "round_up",
    "score_set",
    "sensitivities",
    "share_against",
    "sign_flip_p",
    "smallest_margin",
    "spread_of",
    "t_quantile",
    "t_two_sided",
    "unanswerable",
    "wilson",
]
