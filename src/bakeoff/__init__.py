"""bakeoff: one agent harness, many candidate models, real containers with pinned limits."""

__version__ = "0.1.0"
