"""Values on the command line that are more than a text or a number."""

import time

import click

from shared.errors import Rejected
from shared.times import parse_duration, parse_instant


class Seconds(click.ParamType[float]):
    """A duration, such as 90s, 15m, 6h or 1d, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            return parse_duration(value).total_seconds()
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


class Since(click.ParamType[float]):
    """An instant, or how long it is ago, in seconds since the epoch."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return time.time() - abs(parse_duration(value).total_seconds())
        except ValueError:
            pass
        try:
            return parse_instant(str(value)).timestamp()
        except Rejected:
            self.fail(f"{value!r} is no duration such as 2h or 3d, and no instant such as 2024-03-25", param, ctx)


class Parameter(click.ParamType[tuple[str, str]]):
    """A name and its value: key=value."""

    name = "key=value"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read it."""
        key, equals, text = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is no key=value", param, ctx)
        return key, text
