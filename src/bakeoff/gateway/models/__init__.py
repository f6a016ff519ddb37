"""The models that a candidate may name."""
