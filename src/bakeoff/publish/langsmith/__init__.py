"""Publishing to LangSmith."""
