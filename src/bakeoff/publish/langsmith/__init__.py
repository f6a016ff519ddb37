"""Runs to LangSmith."""
