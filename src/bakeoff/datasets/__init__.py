"""Where examples come from. `load(config)` reads the dataset of harness.yaml, `select` keeps some of its rows."""

from bakeoff.datasets.base import Dataset, select
from bakeoff.datasets.table import load, local_file

__all__ = ["Dataset", "load", "local_file", "select"]
