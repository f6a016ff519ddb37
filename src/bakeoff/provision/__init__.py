"""What `bakeoff setup` installs and builds. Nothing else uses it."""
