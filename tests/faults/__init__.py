"""Real processes, a seeded schedule of faults, and an oracle: nothing is lost, nothing wrong, nothing hangs."""
