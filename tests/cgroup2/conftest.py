"""The projects of the Docker tests run here too, on the guest's engine."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))
