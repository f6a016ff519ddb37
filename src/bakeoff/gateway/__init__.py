"""The gateway: the host-side only road to a model."""
