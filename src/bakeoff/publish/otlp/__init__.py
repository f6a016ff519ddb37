"""Publishing to an OpenTelemetry back end."""
