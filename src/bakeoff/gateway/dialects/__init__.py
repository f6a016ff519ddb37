"""The HTTP dialects in which programs speak to their providers, for harnesses that are a command."""
