"""Docker: the engine, the images, one container, one attempt."""
