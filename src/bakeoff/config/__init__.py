"""harness.yaml and the command line's options, as typed values."""
