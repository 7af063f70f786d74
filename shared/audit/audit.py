"""The audit of one collection, a bounded step at a time: first along the store's listing, then along the catalog.

Neither side's order is relied on. S3 lists keys in the order of their bytes, stores on a file system list folder by
folder, pgSTAC sorts by the collation of its database. What holds everywhere is that all objects of an item stand
together in the listing, since they have one folder. So the store's walk takes the folders of a page and asks the
catalog for their items by id: this finds all but the items that have no object at all. These the catalog's walk finds:
it takes the items of a page and looks whether each has a folder.

Memory does not grow with the collection: a step holds one page, or all objects of one item. Work goes on meanwhile, so
a difference is a finding only if no worker, open run or job has the item in hand, and if a second look shows it too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Self

from pydantic import JsonValue

from shared.audit.compare import Comparison, orphans
from shared.audit.findings import Counts, Finding, Kind, Mend, Position
from shared.audit.pace import Pace
from shared.audit.sources import Sources
from shared.context import Context
from shared.errors import ItemFailed
from shared.json_types import Json
from shared.models import work_key
from shared.stac.item import Asset, Item
from shared.stac.search import Cql2
from shared.steps.standing import original_name, same_content
from shared.storage.location import Listed, Location

_STATION_IDS_AT_ONCE: Final = 50
_OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Scope:
    """What is audited.

    Attributes:
        owner: whose objects and items; None means everybody's.
        collection: of the catalog.
        checksum: read every object and compare its checksum.
        station: compare the checksums of this station; empty is the default one, None asks no station.
        requests_per_second: that the store and the catalog are sent at most; None means no limit.
    """

    owner: str | None
    collection: str
    checksum: bool = False
    station: str | None = None
    requests_per_second: float | None = None


class Audit:
    """One audit. Used as a context manager."""

    def __init__(self, context: Context, scope: Scope, counts: Counts) -> None:
        """Prepare an audit; nothing is asked yet.

        Args:
            context: of the process.
            scope: what is audited.
            counts: where it is counted.
        """
        self.counts = counts
        self._context = context
        self._scope = scope
        self._catalog = context.catalog_of(scope.owner or context.settings.default_owner)
        self._sources = Sources(context.store, self._catalog, scope.collection, Pace(scope.requests_per_second))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sources.close()

    def begin(self) -> Position:
        """Return the position of the beginning.

        Raises:
            Rejected: `unknown-collection`, `unknown-station`.
        """
        self._catalog.require_collection(self._scope.collection)
        if self._scope.station is not None:
            self._context.station(self._scope.station)
        owners = self._owners() if self._scope.owner is None else [self._scope.owner]
        return Position(owners=owners) if owners else Position(walk="catalog")

    def step(self, position: Position) -> tuple[Position, list[Finding]]:
        """Audit what follows a position: a page of the store's listing, or of the catalog.

        Returns:
            Where to go on, and what was found.

        Raises:
            Rejected: the store, the catalog or the station refuses.
            Retryable: one of them could not answer.
        """
        following, found = self._store_step(position) if position.walk == "store" else self._catalog_step(position)
        findings = list(found)
        for finding in findings:
            self.counts.add(finding)
        return following, findings

    def _owners(self) -> list[str]:
        """Return the owners who have a folder where data go; which of them have the collection, the listing tells."""
        found = []
        for place in self._context.owners.places:
            names = self._sources.folder_names(Location(place.bucket, place.prefix))
            found += [name for name in names if _OWNER.fullmatch(name) and self._context.owners[name].place == place]
        return sorted(found)

    def _store_step(self, position: Position) -> tuple[Position, Iterator[Finding]]:
        owner, *others = position.owners
        root = self._root(owner)
        objects, more = self._whole_folders(root, position.after)
        self.counts.objects += len(objects)
        if more:
            following = Position(owners=position.owners, after=objects[-1].key)
        else:
            following = Position(owners=others) if others else Position(walk="catalog")
        return following, self._audit_folders(owner, _grouped(root, objects))

    def _whole_folders(self, root: Location, after: str) -> tuple[list[Listed], bool]:
        """Return a page of the listing without its last folder, whose objects may go on; at least one folder, whole."""
        objects, more = self._sources.listing(root, after)
        while more and _name(root, objects[0]) == _name(root, objects[-1]):
            page, more = self._sources.listing(root, objects[-1].key)
            objects += page
        last = _name(root, objects[-1]) if more else None
        while more and _name(root, objects[-1]) == last:
            objects.pop()
        return objects, more

    def _audit_folders(self, owner: str, folders: dict[str, dict[str, Listed]]) -> Iterator[Finding]:
        yield from orphans(
            owner, self._root(owner), "", folders.pop("", {})
        )  # nobody of us writes there: one look is enough
        items = self._sources.items(list(folders))
        self.counts.items += len(items)
        suspects = [
            name
            for name, objects in folders.items()
            if any(self._compare(owner, name, objects, items.get(name), self.counts))
        ]
        yield from self._confirmed(owner, suspects)
        if self._scope.station is not None:
            yield from self._outdated(owner, self._scope.station, items)

    def _catalog_step(self, position: Position) -> tuple[Position, Iterator[Finding]]:
        page, link = self._sources.catalog_page(position.page)
        found: list[Iterator[Finding]] = []
        for owner, items in self._by_owner(page).items():
            there = self._sources.folders(self._root(owner), list(items))
            alone = {name: item for name, item in items.items() if name not in there}
            self.counts.items += len(alone)
            suspects = [name for name, item in alone.items() if any(self._compare(owner, name, {}, item, self.counts))]
            found.append(self._confirmed(owner, suspects))
        following = Position(walk="done") if link is None else Position(walk="catalog", page=link)
        return following, chain.from_iterable(found)

    def _by_owner(self, page: Iterable[Item]) -> dict[str, dict[str, Item]]:
        """Return those items of a page that are audited, by the owner that the catalog states, and by id."""
        default = self._scope.owner or self._context.settings.default_owner
        found: dict[str, dict[str, Item]] = {}
        for item in page:
            owner = str(item.properties.get("owner") or default)
            if self._scope.owner in (None, owner):
                found.setdefault(owner, {})[item.id] = item
            else:
                self.counts.others += 1
        return found

    def _confirmed(self, owner: str, names: Sequence[str]) -> Iterator[Finding]:
        """Yield what a second look shows as well."""
        for name in self._idle(owner, names):
            found = self.look(owner, name)
            if self._idle(owner, [name]):
                yield from found

    def look(self, owner: str, name: str) -> list[Finding]:
        """Return how one item differs now, whoever works on it: the catalog is asked first, then the store.

        Args:
            owner: whose the item is.
            name: its id.
        """
        item = self._sources.item(name)
        return list(self._compare(owner, name, self._sources.all_below(self._folder(owner, name)), item, Counts()))

    def _idle(self, owner: str, names: Sequence[str]) -> list[str]:
        """Return those items that nobody has in work; the others are counted."""
        keys = {name: work_key(owner, self._scope.collection, name) for name in names}
        busy = self._context.audits.in_work(list(keys.values()))
        self.counts.in_work += len(busy)
        return [name for name, key in keys.items() if key not in busy]

    def _compare(
        self, owner: str, name: str, objects: dict[str, Listed], item: Item | None, counts: Counts
    ) -> Iterator[Finding]:
        folder = self._folder(owner, name)
        if item is None:
            return orphans(owner, folder, name, objects)
        return Comparison(self._sources, owner, folder, objects, item, self._scope.checksum, counts).findings()

    def _outdated(self, owner: str, station: str, items: dict[str, Item]) -> Iterator[Finding]:
        """Yield the assets whose station states another checksum or size by now; what it has no more is no finding."""
        ids = list(items)
        for start in range(0, len(ids), _STATION_IDS_AT_ONCE):
            wanted = of_ids(ids[start : start + _STATION_IDS_AT_ONCE])
            search = Cql2.model_construct(filter=wanted, limit=None, sortby=())
            for found in self._context.station(station).search(search, tries=self._context.settings.attempts):
                differences = list(outdated(owner, items[found.item_id], found.item)) if found.item is not None else []
                if differences and self._idle(owner, [found.item_id]):
                    yield from differences

    def _root(self, owner: str) -> Location:
        place = self._context.owners[owner].place
        return Location(place.bucket, f"{place.prefix}{owner}/{self._scope.collection}/")

    def _folder(self, owner: str, name: str) -> Location:
        root = self._root(owner)
        return Location(root.bucket, f"{root.key}{name}/")


def of_ids(ids: Sequence[str]) -> Json:
    """Return a CQL2 filter for items of these ids; without `in`, which not every station knows."""
    equals: list[JsonValue] = [{"op": "=", "args": [{"property": "id"}, item_id]} for item_id in ids]
    return equals[0] if len(equals) == 1 and isinstance(equals[0], dict) else {"op": "or", "args": equals}


def outdated(owner: str, shown: Item, offered: Item) -> Iterator[Finding]:
    """Yield the assets of the catalog's item that are not what the station offers by now, by size and checksum."""
    for name, asset in shown.assets.items():
        station = offered.assets.get(original_name(name, asset))
        if station is None:
            continue
        source = asset if asset.source is None else asset.source
        was = Asset.model_validate({"href": asset.href, "file:size": source.size, "file:checksum": source.checksum})
        if not _same(was, station):
            yield Finding(
                kind=Kind.MISMATCH,
                owner=owner,
                item=shown.id,
                asset=name,
                key=asset.href,
                expected=f"at the station: {station.size} bytes, {station.checksum}",
                found=f"in the catalog: {source.size} bytes, {source.checksum}",
                mends=Mend.STAGE,
            )


def _same(known: Asset, offered: Asset) -> bool:
    try:
        return same_content(known, offered)
    except ItemFailed:
        return True  # the station states no checksum that can be compared


def _grouped(root: Location, objects: Iterable[Listed]) -> dict[str, dict[str, Listed]]:
    """Return objects by the folder below the collection; `""` has those that are in none."""
    folders: dict[str, dict[str, Listed]] = {}
    for listed in objects:
        folders.setdefault(_name(root, listed), {})[listed.key] = listed
    return folders


def _name(root: Location, listed: Listed) -> str:
    name, slash, _ = listed.key.removeprefix(root.key).partition("/")
    return name if slash else ""
