"""Makes `tests/` importable, so that tests of every kind share `synthetic`."""
