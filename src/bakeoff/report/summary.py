"""The one JSON object of `--json`: a contract for programs, so keys are added and never renamed."""

from __future__ import annotations

from dataclasses import asdict

from bakeoff.record.base import JsonDict
from bakeoff.report.data import CandidateReport, CauseReport, ReportData
from bakeoff.report.sweep import Sweep
from bakeoff.stats import ScoreSet


def summary(data: ReportData) -> JsonDict:
    """The run in one object. Rates and scores are shares in [0, 1]; what is not known is null.

    Keys: `run_id`, `run_dir`, `report`, `html_report` (paths), `state` (running, finished, interrupted), `exit_code`,
    `decision` (one sentence), `winner` (a candidate's name; null if none can be distinguished, or
    inconclusive), `inconclusive`, `doubts` (why), `simulated`, `trials`, `trials_planned`, `infra_errors`,
    `infra_error_rate`, `max_error_rate`, `fingerprint`, `warnings`, `candidates`, `causes`.

    A candidate: `name`, `model`, `simulated`, `n`, `passed`, `failed`, `infra_error`, `infra_error_rate`;
    `score` and `interval` ([low, high], 95 %); `scores`, the four scores, each `{value, interval}`:
    `score`, `as_deployed`, `worst_case`, `best_case`; `died_inside` (trials that died inside their container),
    `deaths_are_failures` (null, or the test by which these are failures in `score` too: `candidate`, `count`, `trials`,
    `other`, `other_count`, `other_trials`, `p`); `evaluators` (mean of each), `cost_usd` (total); `mean_input_tokens`,
    `mean_output_tokens`, `mean_model_calls`, `seconds_p50`, `seconds_p95` (working time) over trials with a verdict on
    the model, all attempts of a trial; `memory_peak_bytes` (largest), `oom_kills`, `reattempts`.

    A sweep has `sweep` too: `margin`, `max_infra`, `recommended` (a profile's name, or null), `profiles`,
    `candidates` (`levels`, `deployed`, `clean`, `equivalences`, `trend`, `decomposition`, `recommendation` of each) and
    `rankings`.

    A cause: `candidate`, `verdict`, `cause`, `count`, `example_trial`.
    """
    manifest = data.manifest
    return {
        "run_id": manifest.run_id,
        "run_dir": data.run_dir,
        "report": data.report_path,
        "html_report": data.html_report_path,
        "state": manifest.state,
        "exit_code": data.exit_code,
        "decision": data.sentence,
        "winner": None if data.inconclusive else data.decision.winner,
        "inconclusive": data.inconclusive,
        "doubts": list(data.doubts),
        "simulated": data.simulated,
        "trials": data.n,
        "trials_planned": manifest.trials_planned,
        "infra_errors": data.infra_errors,
        "infra_error_rate": data.infra_error_rate,
        "max_error_rate": data.max_error_rate,
        "fingerprint": manifest.fingerprint,
        "warnings": list(data.warnings),
        "candidates": [_candidate(candidate) for candidate in data.candidates],
        "causes": [_cause(cause) for cause in data.causes],
        **({"sweep": _sweep(data.sweep)} if data.sweep else {}),
    }


def _sweep(sweep: Sweep) -> JsonDict:
    """The sweep's own part, for each candidate as `stats.SweepStudy` has it."""
    chosen = sweep.recommended
    return {
        "margin": sweep.margin,
        "max_infra": sweep.max_infra,
        "recommended": chosen and chosen.name,
        "profiles": [profile.model_dump(mode="json") for profile in sweep.profiles],
        "candidates": {name: asdict(study) for name, study in sweep.studies.items()},
        "rankings": [asdict(each) for each in sweep.rankings],
    }


def _candidate(row: CandidateReport) -> JsonDict:
    four = scores(row.scores)
    return {
        "name": row.name,
        "model": row.model,
        "simulated": row.simulated,
        "n": row.n,
        "passed": row.counts["passed"],
        "failed": row.counts["failed"],
        "infra_error": row.counts["infra_error"],
        "infra_error_rate": row.infra_error_rate,
        "score": four["score"]["value"],
        "interval": four["score"]["interval"],
        "scores": four,
        "died_inside": row.scores.died_inside,
        "deaths_are_failures": deaths(row.scores),
        "evaluators": dict(row.evaluators),
        "cost_usd": row.total_cost_usd,
        "mean_input_tokens": row.input_tokens.mean if row.input_tokens else None,
        "mean_output_tokens": row.output_tokens.mean if row.output_tokens else None,
        "mean_model_calls": row.model_calls.mean if row.model_calls else None,
        "seconds_p50": row.working_seconds.p50 if row.working_seconds else None,
        "seconds_p95": row.working_seconds.p95 if row.working_seconds else None,
        "memory_peak_bytes": int(row.memory_peak_bytes.max) if row.memory_peak_bytes else None,
        "oom_kills": row.oom_kills,
        "reattempts": row.reattempts,
    }


def scores(of: ScoreSet) -> JsonDict:
    """The four scores: `{score: {value, interval}, ...}`."""
    return {
        counting: {
            "value": estimate and estimate.mean,
            "interval": estimate and [estimate.low, estimate.high],
        }
        for counting, estimate in of.by.items()
    }


def deaths(of: ScoreSet) -> JsonDict | None:
    """The test by which trials that died inside count as failures in `score`; None: they do not."""
    return asdict(of.deaths) if of.deaths else None


def _cause(row: CauseReport) -> JsonDict:
    return {
        "candidate": row.candidate,
        "verdict": row.verdict,
        "cause": row.cause,
        "count": row.count,
        "example_trial": row.trial_id,
    }
