"""The systems that steps and searches need, by name, and how each of them is probed.

A system is what answers one kind of request with one kind of credentials: `catalog`, `s3`, `staging`, `station NAME`;
where an owner has a catalog key or a place in S3 of its own, `catalog OWNER` or `s3 OWNER`. A host to which a station
leads, and which it trusts, is `host ORIGIN`.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from shared.context import Context
from shared.errors import AuxipError, Rejected, Retryable
from shared.http.probes import Fault, Finding
from shared.models import ItemRecord, Run, RunKind
from shared.runs.due import StepName
from shared.storage.location import Location

_PROBE: Final = ".auxip-probe"  # in place of an owner: no owner begins with a dot
_PROBED: Final = bytes(1024)
_HOST: Final = "host "
_FAULTS: Final = {
    "unavailable": Fault.UNAVAILABLE,
    "unauthorized": Fault.REFUSED,
    "denied": Fault.REFUSED,
    "refused": Fault.REFUSED,
    "refused-item": Fault.UNAVAILABLE,
    "bad-answer": Fault.BAD_ANSWER,
    "full": Fault.FULL,
}


@dataclass(frozen=True)
class Needs:
    """What a step or a search needs.

    Attributes:
        systems: without which it is not begun.
        others: that it can do without in part; one of several stations, for instance.
        collection: of the catalog that it reads or writes.
        stac: the item whose assets are fetched, as text.
        run_id: of the run that waits for them.
    """

    systems: tuple[str, ...]
    others: tuple[str, ...] = ()
    collection: str = ""
    stac: str = ""
    run_id: str = ""

    def missing(self, outages: Collection[str]) -> list[str]:
        """Return the systems among these that it cannot be begun without."""
        hosts = (system for system in outages if system.startswith(_HOST))
        return [
            *(system for system in self.systems if system in outages),
            *(host for host in hosts if f"{host.removeprefix(_HOST)}/" in self.stac),
        ]

    def concerned(self, context: Context, error: Retryable, fault: Fault) -> list[str]:
        """Return the systems that an error may come from.

        The credentials that a host refuses are those of its station, so that is asked. Of a host that no station
        trusts, the item is at fault: it might name any.
        """
        if error.host and fault is not Fault.REFUSED:
            is_down = fault is Fault.UNAVAILABLE and context.station_trusting(error.host) is not None
            return [f"{_HOST}{error.host}"] if is_down else []
        kind = error.code.partition("-")[0]
        return [system for system in (*self.systems, *self.others) if system.partition(" ")[0] == kind]


def suspected_fault(error: Retryable) -> Fault | None:
    """Return what is wrong with a system if the error is not the item's fault, or None if it cannot be the system's."""
    return _FAULTS.get(error.code.partition("-")[2])


def needs_of_step(context: Context, step: StepName, run: Run, record: ItemRecord) -> Needs:
    """Return what a step of an item needs."""
    needs = _needs_of_run(context, run)
    if step is not StepName.STAGE:
        return needs
    return replace(needs, systems=(*needs.systems, *_sources(context, run, record.station)), stac=record.stac)


def needs_of_items(context: Context, run: Run) -> Needs:
    """Return what every item of a run needs before it is done."""
    needs = _needs_of_run(context, run)
    if run.request.kind is RunKind.DECOMPRESS or len(run.request.stations) > 1:
        return needs
    return replace(needs, systems=(*needs.systems, *_sources(context, run)))


def needs_of_closing(context: Context, run: Run) -> Needs:
    """Return what the closing of a run may need: that of a run which has failed as a whole needs nothing."""
    needs = _needs_of_run(context, run)
    return replace(needs, systems=(), others=needs.systems)


def needs_of_run_search(context: Context, run: Run) -> Needs:
    """Return what the search of a run needs."""
    catalog, *_ = _catalog_and_store(context, run.request.owner)
    found = needs_of_search(context, run.request.stations)
    return Needs((catalog, *found.systems), found.others, run.request.collection, run_id=run.id)


def needs_of_search(context: Context, stations: Sequence[str]) -> Needs:
    """Return what a search of stations needs; of several of them one is enough."""
    names = _stations(context, stations)
    return Needs(names) if len(names) == 1 else Needs((), names)


def needs_of_asset(context: Context, owner: str) -> Needs:
    """Return what the expansion of an archive that a caller names needs."""
    return Needs(_catalog_and_store(context, owner))


def probe(context: Context, system: str, suspected: Fault, collection: str) -> Finding | None:
    """Return what is wrong with a system, or None.

    Args:
        context: of the process.
        system: which.
        suspected: what a request for an item ran into.
        collection: of the catalog, whose probe may be refused otherwise.
    """
    kind, _, name = system.partition(" ")
    match kind:
        case "station":
            return _probe_station(context, name, suspected)
        case "catalog":
            return context.catalog_of(name).probe(suspected, collection)
        case "staging":
            return context.staging_service.probe(suspected)
        case "host":
            return _probe_host(context, name)
        case _:
            return _probe_store(context, name, suspected)


def _needs_of_run(context: Context, run: Run) -> Needs:
    return Needs(_catalog_and_store(context, run.request.owner), collection=run.request.collection, run_id=run.id)


def _sources(context: Context, run: Run, station: str = "") -> tuple[str, ...]:
    """Return what gives the bytes."""
    if context.settings.staging_backend == "ogc":
        return ("staging",)
    return _stations(context, [station] if station else run.request.stations)


def _catalog_and_store(context: Context, owner: str) -> tuple[str, ...]:
    own, default = context.owners[owner], context.owners.default
    catalog = "catalog" if own.catalog_api_key == default.catalog_api_key else f"catalog {owner}"
    return catalog, "s3" if own.place == default.place else f"s3 {owner}"


def _stations(context: Context, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"station {context.station(name).name}" for name in names or [""])


def _probe_station(context: Context, name: str, suspected: Fault) -> Finding | None:
    try:
        station = context.station(name)
    except Rejected:
        return None  # it is not configured any more: nothing waits for it
    return station.probe(suspected)


def _probe_host(context: Context, url: str) -> Finding | None:
    station = context.station_trusting(url)
    return None if station is None else station.probe_host(url)


def _probe_store(context: Context, owner: str, suspected: Fault) -> Finding | None:
    """Read and write an object in an owner's place: a store that is full, or has lost a part, still answers reads."""
    place = context.owners[owner].place
    location = Location(place.bucket, f"{place.prefix}{_PROBE}")
    try:
        context.store.head(location)
        context.store.put(location, _PROBED)
    except Retryable as error:
        fault = suspected_fault(error)
        is_confirmed = fault in (Fault.UNAVAILABLE, Fault.FULL, suspected)
        return Finding(fault, error.reason) if fault is not None and is_confirmed else None
    except AuxipError:
        return None
    with suppress(AuxipError):  # some may write and not delete
        context.store.delete(location)
    return None
