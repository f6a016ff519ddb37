"""One attempt at a trial."""
