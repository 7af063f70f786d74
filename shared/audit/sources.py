"""What an audit reads: each method is one request or few, each request waits for its turn."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
from pydantic import JsonValue

from shared.archives import Manifest, load_manifest
from shared.audit.pace import Pace
from shared.errors import Refused, Rejected, Retryable
from shared.http.answers import shown as shown_url
from shared.http.auth import origin
from shared.json_types import Json
from shared.stac.catalog import Catalog
from shared.stac.item import Item
from shared.storage.location import Listed, Location, Stored
from shared.storage.objects import ObjectStore

_IDS_AT_ONCE = 250
_PAGE = 500
_SEARCHES_AT_ONCE = 2
_LOOKS_AT_ONCE = 16
_FOLDERS_PER_PAGE = 20
_BLOCK = 8 * 2**20
_BY_ID: list[JsonValue] = [{"field": "id", "direction": "asc"}]


class Sources:
    """The store and the catalog of one owner, read at a pace."""

    def __init__(self, store: ObjectStore, catalog: Catalog, collection: str, pace: Pace) -> None:
        self._store = store
        self._catalog = catalog
        self._collection = collection
        self._pace = pace
        self._searches = ThreadPoolExecutor(_SEARCHES_AT_ONCE, thread_name_prefix="audit-search")
        self._looks = ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="audit-look")

    def close(self) -> None:
        """End the threads."""
        self._searches.shutdown(cancel_futures=True)
        self._looks.shutdown(cancel_futures=True)

    def listing(self, prefix: Location, after: str = "") -> tuple[list[Listed], bool]:
        """Return up to a thousand objects below a prefix that follow a key, and whether there are more."""
        self._pace.wait()
        return self._store.control.list_page(prefix, after)

    def folder_names(self, parent: Location) -> list[str]:
        """Return the names of the folders in a folder."""
        return self._store.control.folder_names(parent)

    def all_below(self, prefix: Location) -> dict[str, Listed]:
        """Return all objects below a prefix by their keys; for one item's folder or one archive's content."""
        found: dict[str, Listed] = {}
        after, more = "", True
        while more:
            page, more = self.listing(prefix, after)
            found.update((each.key, each) for each in page)
            after = page[-1].key if page else after
        return found

    def head(self, location: Location) -> Stored | None:
        """Return what the store reports of an object, or None where there is none."""
        self._pace.wait()
        return self._store.head(location)

    def readable_head(self, location: Location) -> tuple[Stored | None, bool]:
        """Return what the store reports of an object, and whether the store lets us look."""
        try:
            return self.head(location), True
        except (Refused, Rejected):
            return None, False

    def manifest(self, prefix: Location) -> Manifest | None:
        """Return the manifest of a prefix, or None where there is none.

        Raises:
            ItemFailed: `prefix-taken`, there is something else in its place.
        """
        self._pace.wait()
        self._pace.wait()  # a HEAD and a GET
        return load_manifest(self._store, prefix)

    def digest(self, location: Location, stored: Stored, function: str) -> str:
        """Read an object and return its digest (hex)."""
        digest = hashlib.new(function, usedforsecurity=False)
        for start in range(0, stored.size, _BLOCK):
            self._pace.wait()
            digest.update(self._store.read(location, start, min(_BLOCK, stored.size - start), stored.etag))
        return digest.hexdigest()

    def item(self, item_id: str) -> Item | None:
        """Return an item of the collection, or None."""
        self._pace.wait()
        return self._catalog.get(self._collection, item_id)

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return those items of the collection that have these ids, by id."""
        found: dict[str, Item] = {}
        batches = [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
        for items in self._searches.map(self._with_ids, batches):
            found.update((item.id, item) for item in items)
        return found

    def catalog_page(self, link: Json | None) -> tuple[list[Item], Json | None]:
        """Return one page of the collection in the order of ids, and the link to the next one.

        Args:
            link: what an earlier page has returned; None for the first page.
        """
        self._pace.wait()
        searched = self._catalog.flavour.searched(self._collection)
        body: Json = {"collections": [searched], "limit": _PAGE, "sortby": _BY_ID}
        answer = self._catalog.api.call("POST", "/search", body).body if link is None else self._follow(link, body)
        items, following = self._items(answer), _next(answer)
        return items, following if items else None

    def begin_page(self, link: Json) -> Future[tuple[list[Item], Json | None]]:
        """Begin to read a page; what comes of it is as of `catalog_page`."""
        return self._searches.submit(self.catalog_page, link)

    def folders(self, parent: Location, names: Sequence[str]) -> set[str]:
        """Return those of these names that are folders below `parent`: that have an object below them.

        The catalog gives items in the order of its collation, the store keys in that of their bytes, or folder by
        folder. Where both agree well, a few pages of the listing show all folders; whatever these do not show is looked
        for by its own request, so no order is relied on.
        """
        wanted, seen = set(names), set[str]()
        after, last = f"{parent.key}{min(wanted, default='')}", f"{parent.key}{max(wanted, default='')}/"
        pages = 1 + len(wanted) // _FOLDERS_PER_PAGE
        for _ in range(pages if wanted else 0):
            page, more = self.listing(parent, after)
            seen |= wanted & {each.key.removeprefix(parent.key).partition("/")[0] for each in page}
            if not more or len(seen) == len(wanted) or page[-1].key > f"{last}\U0010ffff":
                break
            after = page[-1].key
        left = [name for name in names if name not in seen]
        there = self._looks.map(lambda name: self._is_folder(Location(parent.bucket, f"{parent.key}{name}/")), left)
        return seen | {name for name, found in zip(left, there, strict=True) if found}

    def _is_folder(self, folder: Location) -> bool:
        self._pace.wait()
        return bool(self._store.control.list_page(folder, "", most=1)[0])

    def _with_ids(self, ids: Sequence[str]) -> list[Item]:
        self._pace.wait()
        searched = self._catalog.flavour.searched(self._collection)
        body: Json = {"collections": [searched], "ids": [*ids], "limit": len(ids)}
        return self._items(self._catalog.api.call("POST", "/search", body).body)

    def _items(self, answer: Json) -> list[Item]:
        features = answer.get("features")
        if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
            raise Retryable("catalog-bad-answer", "the catalog answered a search with something that is no collection")
        return [self._catalog.item_of(feature) for feature in features if isinstance(feature, dict)]

    def _follow(self, link: Json, body: Json) -> Json:
        api = self._catalog.api
        target = str(httpx.URL(f"{api.url}/search").join(str(link.get("href", ""))))
        if origin(target) != origin(api.url):
            raise Retryable("catalog-bad-answer", f"the catalog's next page is on another host: {shown_url(target)}")
        method, given = str(link.get("method", "GET")).upper(), link.get("body")
        merged = {**body, **given} if isinstance(given, dict) else body
        return api.call(method, target, merged if method == "POST" else None).body


def _next(answer: Json) -> Json | None:
    links = answer.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next":
            return link
    return None
