"""When a model call may go out, how often, for how long and at what cost."""
