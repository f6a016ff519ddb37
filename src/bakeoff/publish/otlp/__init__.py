"""Runs to an OpenTelemetry collector."""
