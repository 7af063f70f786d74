"""The embedded stack of `./demo`, `auxip up` and the tests: for trying out and testing, never for operation."""
