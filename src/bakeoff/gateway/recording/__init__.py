"""Model calls on disk: cassettes and records."""
