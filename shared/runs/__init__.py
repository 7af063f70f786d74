"""What a run does: what is left of it, how it begins, goes on after a loss, and ends; above the steps of its items."""
