"""What the harness is made of, read without Docker and without running any of it."""
