"""Evaluators: from an example and what the agent did, to scores in [0, 1] and whether the trial passed.

`check.check(config, dataset)` refuses what could not be scored. `build(evaluators, root=..., judge_factory=...)`
returns a `Scorer`, and `Scorer.score(example, outputs_of(result))` a `ScoreSheet`. `table.EVALUATORS` has the
built-ins.
"""

from bakeoff.scoring.scorer import Scorer, ScoreSheet, build, outputs_of
from bakeoff.scoring.types import Evaluate, JudgeFactory, Outputs, Score

__all__ = ["Evaluate", "JudgeFactory", "Outputs", "Score", "ScoreSheet", "Scorer", "build", "outputs_of"]
