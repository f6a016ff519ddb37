"""Publishing to MLflow."""
