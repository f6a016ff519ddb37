"""The harness's image."""
