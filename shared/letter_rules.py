"""Rules for items that failed for good: by the code of the failure one is parked, dropped, or tried again later.

They are written as a JSON object (`AUXIP_DEAD_LETTER_RULES`); the first one whose pattern fits decides, and what none
fits is parked:

    {"station-not-found": "drop", "station-*": "retry after 1h at most 3", "*": "park"}
"""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode

from shared.times import parse_duration

_EXAMPLE = '{"station-*": "retry after 1h at most 3", "bad-item": "drop"}'
_PATTERN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*|[a-z0-9-]*\*")
_RETRY = re.compile(r"retry after (\S+) at most ([1-9][0-9]{0,2})")
_MOST = 100
_LONGEST = 64


class LetterRule(BaseModel):
    """What becomes of an item that failed with a code.

    Attributes:
        pattern: a code, or the beginning of codes and `*`.
        then: what is done; an item that was tried again `at_most` times is parked.
        after: how long after the failure it is tried again.
        at_most: how often.
    """

    model_config = ConfigDict(frozen=True)

    pattern: str
    then: Literal["park", "drop", "retry"]
    after: timedelta = timedelta(0)
    at_most: int = 0

    def fits(self, code: str) -> bool:
        """Whether the rule is about this code."""
        return code.startswith(self.pattern[:-1]) if self.pattern.endswith("*") else code == self.pattern


_PARK = LetterRule(pattern="*", then="park")


def rule_for(rules: Sequence[LetterRule], code: str) -> LetterRule:
    """Return the first rule that is about a code; where none is, the one that parks."""
    return next((rule for rule in rules if rule.fits(code)), _PARK)


def read_rules(text: str) -> list[LetterRule]:
    """Read the rules as they are written in the environment.

    Raises:
        ValueError: what is wrong, and in which rule. No error of ours, so that pydantic tells it with the setting.
    """
    rules: list[LetterRule] = []
    for pattern, outcome in _pairs(text):
        before = next((each.pattern for each in rules if each.fits(pattern)), None)
        if before is not None:
            raise ValueError(f"never comes to {pattern!r}: {before!r} stands before it")
        rules.append(_rule(pattern, outcome))
    return rules


def _read(value: object) -> object:
    return read_rules(value) if isinstance(value, str) else value


LetterRules = Annotated[list[LetterRule], NoDecode, BeforeValidator(_read)]


def _pairs(text: str) -> list[tuple[str, object]]:
    try:
        # As pairs: a pattern that is given twice must not silently take the place of the first.
        match json.loads(text, object_pairs_hook=tuple):
            case tuple(pairs) if len(pairs) <= _MOST:
                return [*pairs]
            case tuple():
                problem = f"has more than {_MOST} rules"
            case _:
                problem = f"is no JSON object such as {_EXAMPLE}"
    except (ValueError, RecursionError):
        problem = f"is no JSON object such as {_EXAMPLE}"
    raise ValueError(problem)


def _rule(pattern: str, outcome: object) -> LetterRule:
    if len(pattern) > _LONGEST or not _PATTERN.fullmatch(pattern):
        raise ValueError(f"has {pattern[:_LONGEST]!r}, which is no code and no beginning of codes such as 'archive-*'")
    match outcome:
        case "park":
            return LetterRule(pattern=pattern, then="park")
        case "drop":
            return LetterRule(pattern=pattern, then="drop")
        case str() if found := _RETRY.fullmatch(outcome):
            return LetterRule(pattern=pattern, then="retry", after=_after(pattern, found[1]), at_most=int(found[2]))
        case _:
            raise ValueError(f"says for {pattern!r} neither 'park' nor 'drop' nor such as 'retry after 1h at most 3'")


def _after(pattern: str, text: str) -> timedelta:
    try:
        after = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"has for {pattern!r} {text[:_LONGEST]!r}, which {error}") from None
    if after <= timedelta(0):
        raise ValueError(f"has for {pattern!r} {text!r}, which is no time to wait")
    return after
