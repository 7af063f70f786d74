"""The type of JSON that has been read."""

from pydantic import JsonValue

Json = dict[str, JsonValue]
"""A JSON object."""
