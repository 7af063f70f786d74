"""One JSON object on a line: apart, since it needs nothing of what tables need."""

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from shared.json_types import Json


def print_json(value: "Json") -> None:
    """Print one JSON object on a line of its own."""
    click.echo(json.dumps(value))


def print_error(code: str, reason: str, as_json: bool) -> None:
    """Print why a command could not be done: a line on standard error and, for a program, an object on standard output.

    Args:
        code: one of the table in `shared/codes.py`.
        reason: what happened, and what to do now.
        as_json: whether a program reads the standard output.
    """
    if as_json:
        print_json(error_json(code, reason))
    click.echo(f"auxip: {code}: {reason}", err=True)


def error_json(code: str, reason: str) -> "Json":
    """Return an error as answers to other systems have it."""
    return {"status": "failed", "error": {"code": code, "reason": reason}}
