"""What operators see of the workers while they work."""
