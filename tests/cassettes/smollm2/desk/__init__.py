"""The harness that was recorded. A change of prompt or tools here means to record again."""
