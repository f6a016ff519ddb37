"""The version of bakeoff, which the record of a run names."""

__version__ = "0.1.0"
