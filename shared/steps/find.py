"""Find the items of a run: drain the station's pages into the ledger before any work on them begins."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

import httpx

from shared.answer import Selected
from shared.context import Context
from shared.errors import Busy, NothingFound, Refused, Rejected, Retryable
from shared.http.curl import curl_line
from shared.ledger import lease
from shared.models import Notice, Run, RunState
from shared.selection import Given, NamesSelection, Note, OrbitSelection, PolicySelection, Published, Search, choose
from shared.stac.item import Found, Item
from shared.stac.search import Cql2, values_of
from shared.stations.station import Station
from shared.steps.standing import require_owner

_log = logging.getLogger(__name__)

_BATCH = 200
_MOST_TYPES = 100
_MOST_SEARCHES = 20
_LONGEST_LINE = 8000
_Answer = TypeVar("_Answer", int, list[Item], list[Found])


def search_run(context: Context, run_id: str) -> None:
    """Search for the items of a run, once; where that is done already, do nothing.

    Raises:
        Busy: `claimed-elsewhere`.
        ItemFailed: `worker-killed`.
        Rejected, Retryable: as `find_items`.
    """
    with lease(context.ledger.redis, find_work(run_id), context.settings.lease):
        run = context.ledger.run(run_id)
        if run.state is RunState.ACCEPTED:
            if run.cancelled is None:
                find_items(context, run)
            context.ledger.begin_work(run_id)


def find_work(run_id: str) -> str:
    """Return the work that the search of a run is claimed as."""
    return f"find:{run_id}"


def find_items(context: Context, run: Run) -> int:
    """Put the items that a run selects into the ledger; returns how many items the run has.

    Running it again adds only what is new, so a search that was cut off by a crash is simply begun anew; what the
    search may take in all (`timeout_seconds`) counts from its first beginning.

    Raises:
        Rejected: `unknown-collection`, `unknown-station`, `search-timeout`, `too-many-items`, `nothing-found` where a
            replay finds nothing, and what the station's answers mean.
        Retryable: the station or the catalog could not answer.
    """
    context.catalog_of(run.request.owner).require_collection(run.request.collection)
    selection = run.request.selection
    if isinstance(selection, Given):
        context.ledger.add_items(run.id, [_given(context, run, selection)])
    else:
        deadline, record = _deadline(context, run), partial(context.ledger.record_notice, run.id)
        searches: list[str] = []
        try:
            first_that_finds(
                context,
                run.request.stations,
                lambda station, tries: _drain(
                    context, run, _Asking(station, deadline, tries, record, searches), selection
                ),
            )
        finally:
            context.ledger.record_searches(run.id, searches)
    count = context.ledger.run(run.id).counts.items
    if run.request.replays and not count:
        raise Rejected("nothing-found", "no station offers any more what is to be tried again")
    return count


def search_items(context: Context, search: Cql2, error_if_empty: bool, stations: Sequence[str] = ()) -> list[Item]:
    """Return the items that a plain search finds, for a caller that wants them at once.

    Raises:
        NothingFound: there is none, and the caller takes that for an error.
        Rejected: `unknown-station`, `bad-item` for an item that is malformed, or `too-many-items` where they have more
            bytes than `AUXIP_MAX_RESULT_BYTES`: what a run finds is in the ledger, these are in the result alone.
    """
    notices: list[Notice] = []
    items = (
        first_that_finds(
            context,
            stations,
            lambda station, tries: _items(context, _Asking(station, None, tries, notices.append)(search)),
        )
        or []
    )
    if not items and error_if_empty:
        raise NothingFound("; ".join([str(search.filter)[:500], *(notice.reason for notice in notices)]))
    for notice in notices:
        _log_notice(notice)
    return items


def select_at_station(context: Context, selection: Search, stations: Sequence[str] = ()) -> list[Found]:
    """Return what a selection comes to at a station, for a person who wants to see it before anything is staged.

    What is offered and cannot be used is in the list, too. Nobody begins this search again later, so each page is asked
    for as often as a step is tried. What it may raise is that of `first_that_finds`.
    """
    tries = context.settings.attempts
    found = first_that_finds(
        context, stations, lambda station, _: [*_select(_Asking(station, None, tries, _log_notice), selection)]
    )
    return found or []


def first_that_finds(context: Context, names: Sequence[str], ask: Callable[[Station, int], _Answer]) -> _Answer | None:
    """Ask the stations in their order until one finds something, and return what it found; None if none does.

    A station that cannot answer, be it down or be it that it refuses us, gives way to the next one, after as many tries
    as a step has where there is a next one. That nothing is found is believed only if each of them has said so; else
    the first error is raised, one that may pass before one that will not.

    Args:
        context: of the process.
        names: of the stations; none means the default one.
        ask: takes a station and how often its first page is asked for.
    """
    stations = [context.station(name) for name in names] or [context.station()]
    tries = context.settings.attempts if len(stations) > 1 else 1
    failures: list[Retryable | Rejected] = []
    for station in stations:
        try:
            found = ask(station, tries)
        except Busy:
            raise
        except (Retryable, Rejected) as error:
            if not error.code.startswith(f"{station.api.name}-"):
                raise
            failures.append(error)
        else:
            if found:
                return found
    if failures:
        raise min(failures, key=_finality)
    return None


def _finality(error: Retryable | Rejected) -> int:
    """How little it helps to try again."""
    return 2 * isinstance(error, Rejected) + isinstance(error, Refused)


def _drain(context: Context, run: Run, search: "_Asking", selection: Search) -> int:
    """Put what a station finds into the ledger, batch by batch; returns how many items it offered."""
    limit, offered = context.settings.max_items, 0
    chosen: list[Selected] = []
    types: Counter[str] = Counter(dict.fromkeys(_named_types(selection), 0))
    found = _select(search, selection, chosen.append)
    for batch in _batches(_with_assets(run, found), _BATCH):
        context.ledger.add_items(run.id, batch)
        types.update(_types_of(batch))
        offered += len(batch)
        if context.ledger.is_cancelled(run.id):
            break
        if offered > limit and context.ledger.run(run.id).counts.items > limit:
            raise _too_many(f"{limit} items (AUXIP_MAX_ITEMS); narrow it")
    context.ledger.record_selected(run.id, chosen or _by_type(types))
    return offered


def _named_types(selection: Search) -> list[str]:
    """Return the product types that a filter asks for by name: one of which nothing is found shall be reported."""
    return values_of("product:type", selection.filter) if isinstance(selection, Cql2) else []


def _types_of(batch: Sequence[Found]) -> Iterator[str]:
    return (str(one.item.properties.get("product:type", "")) for one in batch if one.item is not None)


def _by_type(types: Counter[str]) -> list[Selected]:
    """What a search without a policy has selected: all that the station offers. Types without any come first."""
    listed = sorted(types.items(), key=lambda each: (each[1] > 0, -each[1]))[:_MOST_TYPES]
    return [Selected(product_type=name, offered=count, selected=count) for name, count in listed if name]


def _items(context: Context, offered: Iterator[Found]) -> list[Item]:
    limit, size = context.settings.max_result_bytes, 0
    items: dict[tuple[str, ...], Item] = {}
    for found in offered:
        if found.item is None and found.code != "no-assets":
            raise Rejected(found.code, f"{found.item_id}: {found.reason}")
        if found.item is None:
            continue
        key = (found.item.id, *sorted(found.item.assets))
        if key not in items:
            items[key] = found.item
            size += len(json.dumps(found.item.to_json()))
        if size > limit:
            raise _too_many(f"{limit} bytes of items (AUXIP_MAX_RESULT_BYTES); narrow it, or stage them")
    return list(items.values())


def _too_many(limit: str) -> Rejected:
    return Rejected("too-many-items", f"the search finds more than {limit}")


def _deadline(context: Context, run: Run) -> float | None:
    """The instant of `time.monotonic()` at which the search must be over, tries before this one counted."""
    begun, timeout = context.ledger.begin_search(run.id), run.request.timeout_seconds
    return None if timeout < 0 else time.monotonic() + timeout - (time.time() - begun)


def require_time_left(context: Context, run: Run) -> None:
    """Make sure that the search of a run may go on waiting.

    Raises:
        Rejected: `search-timeout`, it has taken longer than its `timeout_seconds`.
    """
    deadline = _deadline(context, run)
    if deadline is not None and time.monotonic() >= deadline:
        raise Rejected("search-timeout", "what the search waits for was away for longer than its timeout_seconds")


@dataclass(frozen=True)
class _Asking:
    """Searches at a station, for one selection.

    Attributes:
        station: that is searched.
        deadline: as `Station.search` takes it.
        tries: as `Station.search` takes it.
        notice: takes what the caller should know of a search that finds nothing.
        requests: receives the first request of each search, as a line for a shell without secrets.
    """

    station: Station
    deadline: float | None
    tries: int
    notice: Callable[[Notice], None]
    requests: list[str] = field(default_factory=list)

    def __call__(self, search: Cql2) -> Iterator[Found]:
        """Yield what a search finds."""
        found_any = False
        with self.station.api.observed(self._first_noted()):
            for found in self.station.search(search, self.deadline, self.tries):
                found_any = True
                yield found
        if not found_any and (unknown := self.station.unknown_properties(search)):
            reason = f"the station {self.station.name} finds nothing, and its queryables do not name {unknown}"
            self.notice(Notice(code="unknown-property", reason=reason))

    def _first_noted(self) -> Callable[[httpx.Request], None]:
        """Return what notes the first request of a search; further pages say no more."""
        seen = 0

        def note(request: httpx.Request) -> None:
            nonlocal seen
            seen += 1
            line = curl_line(request, self.station.name) if seen == 1 and len(self.requests) < _MOST_SEARCHES else ""
            if 0 < len(line) <= _LONGEST_LINE:
                self.requests.append(line)

        return note


def _log_notice(notice: Notice) -> None:
    _log.warning("%s: %s", notice.code, notice.reason)


def _select(search: _Asking, selection: Search, note: Note = lambda _: None) -> Iterator[Found]:
    match selection:
        case PolicySelection():
            return choose(selection, search, note)
        case OrbitSelection() | NamesSelection() | Published():
            return selection.choose(search)
        case _:
            return search(selection)


def _given(context: Context, run: Run, given: Given) -> Found:
    item = context.catalog_of(run.request.owner).get(run.request.collection, given.item_id)
    if item is None:
        raise Rejected("unknown-item", f"the collection {run.request.collection!r} has no item {given.item_id!r}")
    require_owner(run, item)
    return Found(item_id=item.id, item=item)


def _with_assets(run: Run, found: Iterator[Found]) -> Iterator[Found]:
    names = run.request.asset_names
    return found if names is None else (one.with_assets(names) for one in found)


def _batches(found: Iterator[Found], size: int) -> Iterator[list[Found]]:
    while batch := list(islice(found, size)):
        yield batch
