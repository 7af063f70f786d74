"""One JSON object on a line: apart, since it needs nothing of what tables need."""

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from shared.json_types import Json


def print_json(value: "Json") -> None:
    """Print one JSON object on a line of its own."""
    click.echo(json.dumps(value))
