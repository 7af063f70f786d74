"""Compares what the catalog says of a collection with what the store holds, and mends what can be mended."""
