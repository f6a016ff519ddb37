"""Publishing: a finished run goes to where teams look. All of it is read from the run directory, so it can be repeated.

    run directory ─ source ─▶ Source ─┬─ langsmith   dataset, experiments, runs, feedback
                       │              ├─ otlp        one trace per trial
                record.timeline       └─ mlflow      one run per candidate, with artifacts

Every id is derived from the run's, so that what is sent twice is the same thing. `table.TARGETS` names the targets.
"""
