"""What is written down: evidence, trials, the manifest, the run directory."""
