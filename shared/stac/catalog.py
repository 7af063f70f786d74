"""The STAC catalog that receives the items: read, written, read back."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue, SecretStr, ValidationError

from shared.errors import AuxipError, ItemFailed, Refused, Rejected, Retryable
from shared.http.answers import limited
from shared.http.api import JsonApi, http_client
from shared.http.auth import api_key_hook
from shared.http.probes import Fault, Finding, Question, probe_api
from shared.json_types import Json
from shared.retries import delay_before_retry
from shared.settings import Settings
from shared.stac.changes import changes
from shared.stac.flavours import Flavour, Holds, holds_nothing, hrefs, with_datetime, without_world
from shared.stac.item import Item
from shared.stac.publication import Public
from shared.stac.rs_server import RsServer
from shared.validation import first_problem

_log = logging.getLogger(__name__)

_FLAVOURS: Final = {flavour.name: flavour for flavour in (Flavour, RsServer)}
_UNLIKELY: Final = "no-such-collection"

_RESERVED = frozenset(":/?#[]@!$&'()*+,;=")
"""Characters that pgSTAC, and so RS-Server's catalog, refuses in an id: those that RFC 3986 (section 2.2) reserves."""

_INTERNAL_ERROR: Final = 500
_JSON_PATCH: Final = {"content-type": "application/json-patch+json"}
_NO_SUCH_METHOD: Final = (405, 501)
_NO_PATCH: Final = (400, 404, 415, 422, *_NO_SUCH_METHOD)
"""Answers of a catalog that takes no such patch; where the item is at fault, a PUT is answered likewise."""

_IDS_AT_ONCE = 100

_PATIENCE: Final = 10.0
"""Seconds to wait in place for a batch of items; a longer pause is spent without holding a worker."""


def catalog_api(settings: Settings, key: SecretStr | None) -> JsonApi:
    """Return the catalog of the settings, as the bearer of one key sees it."""
    client = http_client(settings.catalog_timeout, api_key_hook(key, settings.catalog_url))
    return JsonApi(
        "catalog",
        settings.catalog_url,
        client,
        settings.max_answer_bytes,
        "AUXIP_CATALOG_API_KEY",
        settings.backoff_base,
    )


class Catalog:
    """The collections of one owner in the catalog of the settings, a STAC API with the Transaction extension.

    Attributes:
        api: by which it is reached; owners with the same key share it.
        has_bulk: whether it has the Bulk Transactions extension; None until that is known.
    """

    def __init__(self, settings: Settings, key: SecretStr | None, owner: str = "", api: JsonApi | None = None) -> None:
        self._settings = settings
        self._owner = owner
        self.has_bulk: bool | None = None
        self._has_patch = True
        self.api = api or catalog_api(settings, key)

    @cached_property
    def flavour(self) -> Flavour:
        """What kind of catalog it is: as the settings say or, for `auto`, as its landing page looks.

        Raises:
            Retryable: the landing page cannot be read now.
        """
        name: str = self._settings.catalog_flavour
        if name == "auto":
            name = _guess(self.api, self._owner)
            _log.info("the catalog %s is taken for one of the flavour %s", self.api.url, name)
        return _FLAVOURS[name](self._owner, public_of(self._settings))

    @property
    def takes_many(self) -> bool:
        """Whether items may be read by a search and written many at once, see `many`; not while that is unknown."""
        try:
            return self.flavour.takes_many
        except AuxipError:
            return False

    def item_of(self, body: Json) -> Item:
        """Return an item that the catalog shows, without what it or we have made of it for the catalog's sake.

        Raises:
            Retryable: `catalog-bad-answer`.
        """
        try:
            return Item.model_validate(self.flavour.from_read(body))
        except ValidationError as error:
            raise Retryable("catalog-bad-answer", f"the catalog's item is malformed: {first_problem(error)}") from None

    def probe(self, suspected: Fault, collection: str) -> Finding | None:
        """Return what is wrong with the catalog, or None.

        Whether it takes our key is asked with what the key is for: to write into the collection. The item that is sent
        has not even an id, so no catalog can take it.
        """
        try:
            flavour = self.flavour
        except AuxipError:  # it is not known yet, since the landing page cannot be read: that is what is wrong
            return probe_api(self.api, suspected, ("GET", "/", None))
        path = flavour.path(collection)
        guarded: Question = (
            ("POST", f"{path}/items", flavour.no_item()) if suspected is Fault.REFUSED else ("GET", path, None)
        )
        needed: list[Question] = [("GET", path, None)] if suspected is Fault.UNAVAILABLE and collection else []
        return probe_api(self.api, suspected, guarded, needed=needed)

    def require_collection(self, collection: str) -> None:
        """Make sure that a collection exists, before any work is begun for it.

        Raises:
            Rejected: `unknown-collection`; and what `JsonApi` raises.
        """
        answer = self.api.call("GET", self.flavour.path(collection), expected=(404,))
        if answer.status == 404:
            raise Rejected(
                "unknown-collection",
                f"the catalog {self.api.url} has no collection {collection!r}; "
                f"create it with `auxip collection create {collection}`, or correct the name",
            )

    def get(self, collection: str, item_id: str) -> Item | None:
        """Return an item of a collection, or None where it has none of this id."""
        body = self._get(collection, item_id)
        return None if body is None else self.item_of(body)

    def publish(self, item: Item, still_ours: Callable[[], None] = lambda: None, holds: Holds = holds_nothing) -> Item:
        """Write an item, new or changed, and read it back. Writing the same item twice is harmless.

        Args:
            item: with the `collection` it belongs to.
            still_ours: called right before each write, since a process may stand still at any moment; it raises where
                the item is another worker's by now.
            holds: asks the store about an href that the catalog has rewritten.

        Raises:
            Retryable: `catalog-mismatch`, the catalog shows something else than was written; and what `JsonApi` and
                `still_ours` raise.
            ItemFailed: `catalog-refused-item`, `catalog-other-object`; see `rs_server`.
        """
        self._write(item, still_ours, holds)
        shown = self.get(item.collection or "", item.id)
        return self.flavour.require_shown(item, shown, holds)

    def _write(self, item: Item, still_ours: Callable[[], None], holds: Holds) -> None:
        collection = item.collection or ""
        path = self.flavour.path(collection)
        body = self.flavour.to_write(item)
        try:
            still_ours()
            answer = self.api.call("POST", f"{path}/items", body, expected=(409,))
            if answer.status == 409:
                before = self._get(collection, item.id) if self.flavour.moves_objects else None
                body = body if before is None else self.flavour.to_replace(item, before, holds)
                still_ours()
                self.api.call("PUT", self._path(collection, item.id), body)
        except Refused as refusal:
            raise self.flavour.explained(item, refusal) from refusal

    def _get(self, collection: str, item_id: str) -> Json | None:
        answer = self.api.call("GET", self._path(collection, item_id), expected=(404,))
        return None if answer.status == 404 else answer.body

    def collection_url(self, collection: str) -> str:
        """Return the URL of a collection.

        Raises:
            Retryable: what kind of catalog it is cannot be found out now.
        """
        return f"{self.api.url}{self.flavour.path(collection)}"

    def _path(self, collection: str, item_id: str) -> str:
        return f"{self.flavour.path(collection)}/items/{quote(item_id, safe='')}"

    def write(
        self,
        item: Item,
        shown: Item | None,
        still_ours: Callable[[], None] = lambda: None,
        holds: Holds = holds_nothing,
    ) -> Item:
        """Write an item where the catalog has shown none, or what it differs in from what was shown, and read it back.

        What others have written in the meantime stays: nothing that was not read is overwritten.

        Args:
            item: with the `collection` it belongs to.
            shown: as the catalog has shown it before, or None.
            still_ours: as `publish` takes it.
            holds: as `publish` takes it.

        Raises:
            Retryable: `catalog-mismatch`, by now the catalog has another item of this id, or shows something else than
                was written; `catalog-refused-item`, it answers 500; and what `JsonApi` and `still_ours` raise.
        """
        if self.flavour.moves_objects:
            return self.publish(item, still_ours, holds)
        if shown is None:
            self._create(item, still_ours)
        elif patch := changes(self._written(shown), self._written(item)):
            self._amend(item, patch, still_ours)
        else:
            return shown
        now = self.get(item.collection or "", item.id)
        gone = () if shown is None else shown.assets.keys() - item.assets.keys()
        if now is None or any(key in now.assets for key in gone) or not hrefs(item).items() <= hrefs(now).items():
            raise Retryable("catalog-mismatch", f"the catalog does not show item {item.id!r} as it was written")
        return now

    def _written(self, item: Item) -> Item:
        return Item.model_validate(self.flavour.to_write(item))

    def _create(self, item: Item, still_ours: Callable[[], None]) -> None:
        # 409: somebody else has written it, or our own request that was not answered. What is read back tells.
        still_ours()
        path = f"{self.flavour.path(item.collection or '')}/items"
        self._send("POST", path, self.flavour.to_write(item), expected=(409,))

    def _amend(self, item: Item, patch: list[Json], still_ours: Callable[[], None]) -> None:
        path = self._path(item.collection or "", item.id)
        if self._has_patch:
            still_ours()
            status = self._send("PATCH", path, patch, expected=_NO_PATCH, headers=_JSON_PATCH)
            if status not in _NO_PATCH:
                return
            self._has_patch = status not in _NO_SUCH_METHOD
        still_ours()
        self._send("PUT", path, self.flavour.to_write(item))

    def _send(
        self,
        method: str,
        path: str,
        body: Json | list[Json],
        expected: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> int:
        """Send a write; its answer is not looked at but for the status, since the item is read back.

        pgSTAC answers 500 to an item that its database does not take. Whether the catalog itself is at fault is for a
        probe to tell, see `shared.runs.outages`.
        """
        try:
            with self.api.open(method, path, body, expected=expected, headers=headers) as response:
                for _ in limited(response, self._settings.max_answer_bytes, self.api.name):
                    pass
                return response.status_code
        except Retryable as error:
            if error.status != _INTERNAL_ERROR:
                raise
            raise Retryable("catalog-refused-item", f"{error.reason}; its log says why") from error

    def items(self, collection: str, ids: Iterable[str]) -> Iterator[list[Json]]:
        """Yield the items of these ids as the catalog has them, in their order, a batch at a time.

        They are what we have published, so only their form is looked at. A batch that fails is asked for again here,
        unless it is the first one, up to `AUXIP_ATTEMPTS` times: those before it need not be read anew, and of the
        first one nothing is lost, so whoever called may wait elsewhere.

        Raises:
            Retryable: `catalog-mismatch`, the catalog shows fewer than were asked for.
        """
        waiting, tries = iter(ids), 1
        while batch := list(itertools.islice(waiting, _IDS_AT_ONCE)):
            searched = self.flavour.searched(collection)
            body: Json = {"collections": [searched], "ids": [*batch], "limit": len(batch)}
            shown = {str(feature["id"]): feature for feature in self._features(body, tries)}
            missing = [item_id for item_id in batch if item_id not in shown]
            if missing:
                raise Retryable("catalog-mismatch", f"the catalog does not show {missing[:5]!r} though it holds them")
            yield [shown[item_id] for item_id in batch]
            tries = self._settings.attempts

    def _features(self, body: Json, tries: int) -> list[Json]:
        for attempt in itertools.count(1):
            try:
                return _features(self.api.call("POST", "/search", body).body)
            except Retryable as error:
                delay = delay_before_retry(error, attempt, self._settings) if attempt < tries else None
                if delay is None or delay > _PATIENCE:
                    raise
                time.sleep(delay)
        raise AssertionError  # the loop ends by itself


def public_of(settings: Settings) -> Public | None:
    """Return where people read the objects, if that is configured."""
    return None if settings.s3_public_url is None else Public(settings.s3_bucket, settings.s3_public_url)


def require_id(item_id: str) -> None:
    """Make sure that catalogs take an item of this id, before any work is begun for it.

    Raises:
        ItemFailed: `reserved-item-id`.
    """
    found = sorted(_RESERVED.intersection(item_id))
    if found:
        raise ItemFailed(
            "reserved-item-id", f"the catalog takes no id with {' '.join(found)}, as {item_id[:200]!r} has"
        )


def is_unpublished(item: Item) -> bool:
    """Whether the catalog says that the objects of an item have expired: it is to be staged and put again.

    The timestamps extension (v1.1.0) and RS-Server have a date-time here; RS-Server once had a boolean.
    """
    return bool(item.properties.get("unpublished"))


def _guess(api: JsonApi, owner: str) -> str:
    """Say what a catalog is: by its landing page and, where that may be RS-Server's, by one question more.

    RS-Server serves all below `/catalog`, and knows `owner:collection` as `owner_collection`, also where it says that
    there is none. pgSTAC takes no colon in an id, and calls what it has not found as it was asked for.
    """
    landing = api.call("GET", "/", expected=(404,)).body
    links = landing.get("links")
    described = [link.get("href") for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    if not owner or not any(str(href).endswith("/catalog/api") for href in described):
        return Flavour.name
    answer = api.call("GET", f"/collections/{quote(owner, safe='')}:{_UNLIKELY}", expected=(404,))
    known = answer.status != 404 or f"{owner}_{_UNLIKELY}" in str(answer.body.get("description"))
    return RsServer.name if known else Flavour.name


def _features(body: Json) -> list[Json]:
    features = body.get("features")
    if not isinstance(features, list):
        raise Retryable(
            "catalog-bad-answer", "the catalog answered a search with something that is no FeatureCollection"
        )
    return [_feature(feature) for feature in features]


def _feature(feature: JsonValue) -> Json:
    """Return an item without the geometry that we have put there; of its form only what matters to us is looked at."""
    if not isinstance(feature, dict) or not _has_form(feature):
        raise Retryable("catalog-bad-answer", "the catalog's item is malformed: it has no id, properties or assets")
    return with_datetime(without_world(feature))


def _has_form(feature: Json) -> bool:
    assets = feature.get("assets")
    return (
        feature.get("type") == "Feature"
        and isinstance(feature.get("id"), str)
        and isinstance(feature.get("properties"), dict)
        and isinstance(assets, dict)
        and all(isinstance(asset, dict) and isinstance(asset.get("href"), str) for asset in assets.values())
    )
