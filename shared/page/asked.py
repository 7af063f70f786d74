"""What a run was asked for, as lines of a name and a value."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from shared.models import Lane, RunKind, RunRequest
from shared.page.units import duration
from shared.selection import Given, NamesSelection, OrbitSelection, PolicySelection, Published
from shared.stac.search import Cql2
from shared.times import OPEN_END, format_instant

_MOST_NAMES: Final = 30
_LONGEST_FILTER: Final = 20_000


class Line(NamedTuple):
    """One line: a name and its value. `is_code` is of a value that is shown as it is, with its line breaks."""

    name: str
    value: str
    is_code: bool = False


def asked_of(request: RunRequest) -> list[Line]:
    """Return what a run was asked for; what was left at its default is left out."""
    begun_by = "nobody waits for it (bulk)" if request.lane is Lane.BULK else "somebody waits for it (on demand)"
    lines = [
        Line("Task", "stage items" if request.kind is RunKind.STAGING else "expand the archives of an item"),
        Line("For", f"{request.owner}, into the collection {request.collection}"),
        Line("Begun by", f"{request.label or 'a request'}; {begun_by}"),
        Line("Station", ", else ".join(request.stations) or "the default one"),
        *_selection(request),
        *_options(request),
    ]
    return [line for line in lines if line.value]


def _selection(request: RunRequest) -> Iterator[Line]:
    match request.selection:
        case PolicySelection() as policy:
            yield Line("Policy", ", else ".join(policy.policies))
            yield Line("Product types", _listed(policy.product_types))
            yield Line("Platform", policy.platform or "all")
            yield Line("Window", _window(policy))
        case Published() as published:
            yield Line("Published", f"from {_instant(published.begin)} to {_instant(published.end)}")
            yield Line("Product types", _listed(published.product_types) or "all")
            yield Line("Platform", published.platform or "all")
            yield _filter(published.filter)
        case OrbitSelection() as orbit:
            yield Line("Orbit of", orbit.scene)
        case NamesSelection() as names:
            yield Line("Files", _listed(names.names))
        case Given() as given:
            yield Line("Item", given.item_id)
        case Cql2() as search:
            yield _filter(search.filter)
            yield Line("Order", ", ".join(f"{key.field} {key.direction}" for key in search.sortby))
            yield Line("At most", f"{search.limit:,} items" if search.limit else "")


def _options(request: RunRequest) -> Iterator[Line]:
    yield Line("Assets", _listed(request.asset_names or ()))
    if request.kind is RunKind.STAGING and not request.decompress:
        yield Line("Archives", "are not expanded")
    yield Line("Layout", request.layout or "")
    yield Line("Members", _listed(request.members or ()))
    yield Line("Search within", f"{request.timeout_seconds:g} s" if request.timeout_seconds >= 0 else "")
    yield Line("Replays", f"{request.replays} of dead letters have led to it" if request.replays else "")


def _window(policy: PolicySelection) -> str:
    begin, end = (_instant(each) if each else "open" for each in (policy.start, policy.end))
    margins = [
        f"{duration(margin.total_seconds())} {side}"
        for margin, side in ((policy.before, "before"), (policy.after, "after"))
        if margin
    ]
    return f"{begin} to {end}" + (f", and {' and '.join(margins)}" if margins else "")


def _filter(expression: object) -> Line:
    text = "" if expression is None else json.dumps(expression, indent=2)
    return Line("Filter", f"{text[:_LONGEST_FILTER]} .." if len(text) > _LONGEST_FILTER else text, is_code=True)


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _instant(instant: datetime) -> str:
    return "open" if instant >= OPEN_END else format_instant(instant)
