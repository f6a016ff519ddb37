"""Publishing: a finished run goes to where teams look. All is read from the run directory, so it can be done again.

    run directory ─ source ─▶ Source ─┬─ langsmith   dataset, experiments, runs, feedback
                       │              ├─ otlp        one trace a trial
                    timeline          └─ mlflow      one run a candidate, with artifacts

Every id is derived from the run's, so that what is sent twice is the same thing. A new target is one entry in
`targets.TARGETS`, one section in `config.Publish` and one module.
"""
