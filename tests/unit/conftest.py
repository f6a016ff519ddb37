"""Property tests have no deadline: on a busy machine any example may take longer than Hypothesis' 0.2 s."""

from hypothesis import settings

# on top of what Hypothesis has chosen by itself, as it does in CI
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
