"""What one step does: find, stage, publish, expand; nothing of queues, and nothing of what comes next."""
