"""The tasks, one module per queue: each decodes its message, makes one call, and records what comes of it."""
