"""The audit of one collection: the catalog's pages and the store's listing are walked together, in the order of ids.

Each item is read once: a page of the catalog is compared with the folders that the listing has up to the page's last
id. That both have the same order saves requests, and nothing else depends on it. S3 lists keys in the order of their
bytes, stores on a file system list folder by folder, pgSTAC sorts by the collation of its database. So the items of
folders that are not on the page are read by their ids, and the store is asked for the folders of items that the listing
has not shown yet. In any order each folder of the listing is compared once, and of the catalog's items each that has no
folder at all. All objects of an item are together in the listing, since they have one folder.

Memory does not grow with the collection: a step holds a page of the catalog, the next one, which is read meanwhile, and
a page of the listing for each owner, or all objects of one item. Work goes on meanwhile, so a difference is a finding
only if no worker, open run or job has the item in hand, and if a second look shows it too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
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


@dataclass
class _Page:
    """A page of the catalog.

    Attributes:
        link: by which it was asked for; None for the first one.
        items: that are audited, by owner and id.
        others: how many items belong to another owner.
        last: its last id, up to which the listing is compared with it; None on the last page.
        following: the link to the next page; None on the last page.
        seen: owner and id of each item whose folder the listing has shown.
    """

    link: Json | None
    items: dict[str, dict[str, Item]]
    others: int
    last: str | None
    following: Json | None
    seen: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True)
class _Ahead:
    """What was listed and is behind the last id of a page: the objects after a key, and whether there are more."""

    after: str
    objects: list[Listed]
    more: bool


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
        self._page: _Page | None = None
        self._next: Future[tuple[list[Item], Json | None]] | None = None
        self._ahead: dict[str, _Ahead] = {}

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
        return Position(owners=owners, after=dict.fromkeys(owners, ""))

    def step(self, position: Position) -> tuple[Position, list[Finding]]:
        """Audit what follows a position: a page of an owner's listing, or what the listings lack of a catalog's page.

        Returns:
            Where to go on, and what was found.

        Raises:
            Rejected: the store, the catalog or the station refuses.
            Retryable: one of them could not answer.
        """
        page = self._page_of(position.page)
        if position.owners:
            following, found = self._listing_step(page, position)
        else:
            following, found = self._page_step(page, position)
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

    def _page_of(self, link: Json | None) -> _Page:
        """Return the page that a link leads to, and begin to read the one behind it."""
        if self._page is None or self._page.link != link:
            asked, self._next = self._next, None
            is_next = asked is not None and self._page is not None and self._page.following == link
            items, following = asked.result() if asked is not None and is_next else self._sources.catalog_page(link)
            last = None if following is None else items[-1].id
            audited = self._by_owner(items)
            others = len(items) - sum(map(len, audited.values()))
            self._page = _Page(link, audited, others, last, following)
            self._next = None if following is None else self._sources.begin_page(following)
        return self._page

    def _listing_step(self, page: _Page, position: Position) -> tuple[Position, Iterator[Finding]]:
        """Compare what follows in an owner's listing, up to the last id of a page of the catalog."""
        owner, *others = position.owners
        objects, after, is_over = self._listed(owner, position.after[owner], page.last)
        self.counts.objects += len(objects)
        following = Position(
            page=position.page, owners=others if is_over else position.owners, after={**position.after, owner: after}
        )
        return following, self._audit_folders(page, owner, _grouped(self._root(owner), objects))

    def _listed(self, owner: str, after: str, last: str | None) -> tuple[list[Listed], str, bool]:
        """Return what follows a key in an owner's listing: a page at most, and no folder behind the id `last`.

        Returns:
            The objects; the key of the last one; whether the listing has ended, or has come to a folder behind `last`.
        """
        root, known = self._root(owner), self._ahead.pop(owner, None)
        if known is not None and known.after == after:
            objects, more = known.objects, known.more
        else:
            objects, more = self._whole_folders(root, after)
        behind = (n for n, each in enumerate(objects) if last is not None and f"{_name(root, each)}/" > f"{last}/")
        here = objects[: next(behind, len(objects))]
        left = objects[len(here) :]
        end = here[-1].key if here else after
        if left or not more:
            self._ahead[owner] = _Ahead(end, left, more)
        return here, end, bool(left) or not more

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

    def _audit_folders(self, page: _Page, owner: str, folders: dict[str, dict[str, Listed]]) -> Iterator[Finding]:
        yield from orphans(
            owner, self._root(owner), "", folders.pop("", {})
        )  # nobody of us writes there: one look is enough
        shown = page.items.get(owner, {})
        items = {name: shown[name] for name in folders if name in shown}
        page.seen.update((owner, name) for name in items)
        items |= self._sources.items([name for name in folders if name not in items])
        yield from self._audit_items(owner, folders, items)

    def _page_step(self, page: _Page, position: Position) -> tuple[Position, Iterator[Finding]]:
        """Compare those items of a page that have no folder at all, and go on to the next page."""
        self.counts.others += page.others
        found: list[Iterator[Finding]] = []
        for owner, items in page.items.items():
            unseen = [name for name in items if (owner, name) not in page.seen]
            there = self._sources.folders(self._root(owner), unseen)
            alone = {name: items[name] for name in unseen if name not in there}
            found.append(self._audit_items(owner, {name: {} for name in alone}, alone))
        following = Position(page=page.following, owners=list(position.after), after=position.after)
        return Position(walk="done") if page.following is None else following, chain.from_iterable(found)

    def _audit_items(
        self, owner: str, folders: dict[str, dict[str, Listed]], items: dict[str, Item]
    ) -> Iterator[Finding]:
        """Yield what differs between folders and items of the same names, where one of the two may be missing."""
        self.counts.items += len(items)
        suspects = [
            name
            for name, objects in folders.items()
            if any(self._compare(owner, name, objects, items.get(name), self.counts))
        ]
        yield from self._confirmed(owner, suspects)
        if self._scope.station is not None:
            yield from self._outdated(owner, self._scope.station, items)

    def _by_owner(self, page: Iterable[Item]) -> dict[str, dict[str, Item]]:
        """Return those items of a page that are audited, by the owner that the catalog states, and by id."""
        default = self._scope.owner or self._context.settings.default_owner
        found: dict[str, dict[str, Item]] = {}
        for item in page:
            owner = str(item.properties.get("owner") or default)
            if self._scope.owner in (None, owner):
                found.setdefault(owner, {})[item.id] = item
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
