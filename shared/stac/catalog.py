"""The STAC catalog that receives the items: read, written, read back."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue, SecretStr, ValidationError

from shared.errors import ItemFailed, Rejected, Retryable
from shared.retries import delay_before_retry
from shared.settings import Settings
from shared.stac.answers import limited
from shared.stac.api import StacApi, http_client
from shared.stac.auth import api_key_hook
from shared.stac.changes import changes
from shared.stac.item import Item, Json
from shared.stac.probes import Fault, Finding, Question, probe_api
from shared.validation import first_problem

_WORLD: Final[Json] = {
    "type": "Polygon",
    "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
}
"""Stands in for the geometry that an auxiliary item has not: pgSTAC refuses `null` with 400."""

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


class Catalog:
    """The catalog of the settings, a STAC API with the Transaction extension, as the bearer of one key sees it.

    Attributes:
        takes_many: whether items may be read by a search and written many at once; see `shared.stac.many`.
        has_bulk: whether it has the Bulk Transactions extension; None until that is known.
    """

    takes_many = True

    def __init__(self, settings: Settings, key: SecretStr | None) -> None:
        self._settings = settings
        self.has_bulk: bool | None = None
        self._has_patch = True
        client = http_client(settings.catalog_timeout, api_key_hook(key, settings.catalog_url))
        self.api = StacApi(
            "catalog",
            settings.catalog_url,
            client,
            settings.max_answer_bytes,
            "AUXIP_CATALOG_API_KEY",
            settings.backoff_base,
        )

    def probe(self, suspected: Fault, collection: str) -> Finding | None:
        """Return what is wrong with the catalog, or None.

        Whether it takes our key is asked with what the key is for: to write into the collection. The item that is sent
        has not even an id, so no catalog can take it.
        """
        path = f"/collections/{quote(collection, safe='')}"
        guarded: Question = ("POST", f"{path}/items", {}) if suspected is Fault.REFUSED else ("GET", path, None)
        needed: list[Question] = [("GET", path, None)] if suspected is Fault.UNAVAILABLE and collection else []
        return probe_api(self.api, suspected, guarded, needed=needed)

    def require_collection(self, collection: str) -> None:
        """Make sure that a collection exists, before any work is begun for it.

        Raises:
            Rejected: `unknown-collection`; and what `StacApi` raises.
        """
        answer = self.api.call("GET", f"/collections/{quote(collection, safe='')}", expected=(404,))
        if answer.status == 404:
            raise Rejected(
                "unknown-collection",
                f"the catalog {self.api.url} has no collection {collection!r}; "
                f"create it with `auxip collection create {collection}`, or correct the name",
            )

    def get(self, collection: str, item_id: str) -> Item | None:
        """Return an item of a collection, or None where it has none of this id."""
        answer = self.api.call("GET", _path(collection, item_id), expected=(404,))
        return None if answer.status == 404 else item_of(answer.body)

    def publish(self, item: Item, still_ours: Callable[[], None] = lambda: None) -> Item:
        """Write an item, new or changed, and read it back. Writing the same item twice is harmless.

        Args:
            item: with the `collection` it belongs to.
            still_ours: called right before each write, since a process may stand still at any moment; it raises where
                the item is another worker's by now.

        Raises:
            Retryable: `catalog-mismatch`, the catalog shows something else than was written; and what `StacApi` and
                `still_ours` raise.
        """
        collection = item.collection or ""
        body = with_geometry(item)
        still_ours()
        answer = self.api.call("POST", f"/collections/{quote(collection, safe='')}/items", body, expected=(409,))
        if answer.status == 409:
            still_ours()
            self.api.call("PUT", _path(collection, item.id), body)
        shown = self.get(collection, item.id)
        if shown is None or hrefs(shown) != hrefs(item):
            raise Retryable("catalog-mismatch", f"the catalog does not show item {item.id!r} as it was written")
        return shown

    def write(self, item: Item, shown: Item | None, still_ours: Callable[[], None] = lambda: None) -> Item:
        """Write an item where the catalog has shown none, or what it differs in from what was shown, and read it back.

        What others have written in the meantime stays: nothing that was not read is overwritten.

        Args:
            item: with the `collection` it belongs to.
            shown: as the catalog has shown it before, or None.
            still_ours: as `publish` takes it.

        Raises:
            Retryable: `catalog-mismatch`, by now the catalog has another item of this id, or shows something else than
                was written; `catalog-refused-item`, it answers 500; and what `StacApi` and `still_ours` raise.
        """
        if shown is None:
            self._create(item, still_ours)
        elif patch := changes(shown, item):
            self._amend(item, patch, still_ours)
        else:
            return shown
        now = self.get(item.collection or "", item.id)
        gone = () if shown is None else shown.assets.keys() - item.assets.keys()
        if now is None or any(key in now.assets for key in gone) or not hrefs(item).items() <= hrefs(now).items():
            raise Retryable("catalog-mismatch", f"the catalog does not show item {item.id!r} as it was written")
        return now

    def _create(self, item: Item, still_ours: Callable[[], None]) -> None:
        # 409: somebody else has written it, or our own request that was not answered. What is read back tells.
        still_ours()
        path = f"/collections/{quote(item.collection or '', safe='')}/items"
        self._send("POST", path, with_geometry(item), expected=(409,))

    def _amend(self, item: Item, patch: list[Json], still_ours: Callable[[], None]) -> None:
        path = _path(item.collection or "", item.id)
        if self._has_patch:
            still_ours()
            status = self._send("PATCH", path, patch, expected=_NO_PATCH, headers=_JSON_PATCH)
            if status not in _NO_PATCH:
                return
            self._has_patch = status not in _NO_SUCH_METHOD
        still_ours()
        self._send("PUT", path, with_geometry(item))

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
            body: Json = {"collections": [collection], "ids": [*batch], "limit": len(batch)}
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
    """Whether RS-Server's catalog says that the objects of an item have expired: it is to be staged and put again."""
    return item.properties.get("unpublished") is True


def _path(collection: str, item_id: str) -> str:
    return f"/collections/{quote(collection, safe='')}/items/{quote(item_id, safe='')}"


def with_geometry(item: Item) -> Json:
    """Return an item as it is written, with a geometry where it has none."""
    body = item.to_json()
    if body.get("geometry") is None:
        body["geometry"] = _WORLD
        body["bbox"] = [-180, -90, 180, 90]
    return body


def item_of(body: Json) -> Item:
    """Return an item as the catalog shows it, without the geometry that we have put there.

    Raises:
        Retryable: `catalog-bad-answer`.
    """
    try:
        item = Item.model_validate(_with_datetime(body))
    except ValidationError as error:
        raise Retryable("catalog-bad-answer", f"the catalog's item is malformed: {first_problem(error)}") from None
    if item.geometry == _WORLD:
        item.geometry = None
        (item.model_extra or {}).pop("bbox", None)
    return item


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
    if feature.get("geometry") == _WORLD:
        feature["geometry"] = None
        feature.pop("bbox", None)
    return _with_datetime(feature)


def _with_datetime(feature: Json) -> Json:
    """Return an item with the null that STAC requires of one without a datetime: pgSTAC takes it and does not show it.

    What was read could not be written without it: 400, `properties.datetime: Field required`.
    """
    properties = feature.get("properties")
    if isinstance(properties, dict) and {"start_datetime", "end_datetime"} <= properties.keys():
        properties.setdefault("datetime", None)
    return feature


def _has_form(feature: Json) -> bool:
    assets = feature.get("assets")
    return (
        feature.get("type") == "Feature"
        and isinstance(feature.get("id"), str)
        and isinstance(feature.get("properties"), dict)
        and isinstance(assets, dict)
        and all(isinstance(asset, dict) and isinstance(asset.get("href"), str) for asset in assets.values())
    )


def hrefs(item: Item) -> dict[str, str]:
    """Return where the assets of an item are, by which we know whether the catalog shows what was written."""
    return {key: asset.href for key, asset in item.assets.items()}
