"""Whether infrastructure errors become rarer from level to level.

References:
    Cochran 1954, *Some Methods for Strengthening the Common χ² Tests*, Biometrics 10.
    Armitage 1955, *Tests for Linear Trends in Proportions and Frequencies*, Biometrics 11.
    Page 1963, *Ordered Hypotheses for Multiple Treatments*, JASA 58.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bakeoff.stats.detectable import ALPHA
from bakeoff.stats.sweep.blocks import Blocks
from bakeoff.stats.sweep.strata import Inference, weighted


@dataclass(frozen=True, slots=True)
class Trend:
    """The linear trend of the share of infrastructure errors over the levels, which count as equally far apart."""

    slope: float  # change of the share from one level to the next
    p_value: float  # two-sided

    @property
    def falls(self) -> bool:
        """Whether it falls by more than noise."""
        return self.slope < 0 and self.p_value < ALPHA


def trend(blocks: Blocks, inference: Inference) -> Trend | None:
    """The trend, stratified by task as in a Cochran-Armitage test; None with one level or without a block.

    Every infrastructure error counts. Those from outside the sandbox hit the profiles of a block alike, since its
    trials run next to each other.
    """
    levels = len(blocks.experiments)
    if levels < 2:
        return None
    centred = [level - (levels - 1) / 2 for level in range(levels)]
    squares = math.fsum(c * c for c in centred)
    errors = blocks.valued(lambda o: float(not o.completed))
    found = weighted(errors, [c / squares for c in centred], blocks.cluster_of, inference)
    return None if found is None else Trend(found.mean, found.p_value)
