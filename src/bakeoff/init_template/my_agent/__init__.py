"""The harness that bakeoff holds constant while the models change."""
