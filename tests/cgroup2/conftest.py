"""The projects of the Docker tests run here too, on the guest's engine."""
