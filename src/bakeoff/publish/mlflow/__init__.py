"""Runs to MLflow."""
