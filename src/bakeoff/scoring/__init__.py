"""Evaluators: from an example and what the agent did, to scores in [0, 1] and whether the trial passed.

`build(evaluators, root=..., judge_factory=...)` gives a `Scorer`; `Scorer.score(example, outputs)` gives a
`ScoreSheet`. The built-ins stand in one table, `scorer.BUILT_INS`. `source.digests` gives the
fingerprint what a user's own are made of. Nothing heavy is imported before its use.
"""

from bakeoff.scoring.scorer import Scorer, ScoreSheet, build
from bakeoff.scoring.types import Evaluate, JudgeFactory, Mark, Outputs

__all__ = ["Evaluate", "JudgeFactory", "Mark", "Outputs", "ScoreSheet", "Scorer", "build"]
