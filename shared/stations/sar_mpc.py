"""The Sentinel-1 Mission Performance Cluster's auxiliary data: a REST service over a Muninn archive, without accounts.

https://sar-mpc.eu/doc/api; the parameters are those that its documentation and public clients use. What could not be
tried without the service is listed in docs/limits.md.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, cast

import httpx
from pydantic import JsonValue

from shared.errors import Rejected, Retryable
from shared.http.answers import shown
from shared.http.api import Answer
from shared.http.auth import origin
from shared.http.probes import Fault, Finding, probe_api
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.item import Found
from shared.stac.requirements import bad_item
from shared.stac.search import Cql2
from shared.stations.config import SarMpcConfig
from shared.stations.judging import found_of, judged
from shared.stations.limits import Limits
from shared.stations.scope import EARLIEST, Scope, scope_of
from shared.stations.station import Station
from shared.times import OPEN_END

_NAME: Final = re.compile(r"(S[0-9][A-Z0-9_])_([A-Z0-9_]{7})_V[0-9]{8}T[0-9]{6}_G([0-9]{8}T[0-9]{6})")
"""Sentinel-1 auxiliary products: mission, type, begin of validity, generation."""

_EXTENSIONS: Final = re.compile(r"(\.SAFE|\.EOF)?(\.zip|\.tgz|\.tar\.gz)?$", re.IGNORECASE)
_MD5: Final = re.compile(r"(?:md5:)?([0-9a-f]{32})", re.IGNORECASE)
_LISTED: Final = re.compile(r"[A-Za-z0-9_-]+")
_SECOND: Final = timedelta(seconds=1)
_NO_END: Final = "9999-12-31T23:59:59Z"


class SarMpcStation(Station):
    """The service of `https://sar-mpc.eu/api/v1`."""

    def __init__(self, name: str, config: SarMpcConfig, settings: Settings, limits: Limits | None = None) -> None:
        """Prepare, as `Station` says."""
        super().__init__(name, config, settings, limits)
        self._page_size = config.page_size

    def probe(self, suspected: Fault) -> Finding | None:
        """Return what is wrong with the service, or None; it is asked for a page of one product."""
        return probe_api(self.api, suspected, landing="/?page_size=1")

    def search(self, search: Cql2, deadline: float | None = None, tries: int = 1) -> Iterator[Found]:
        """Yield what a search finds, as `Station` says; what the service cannot be asked for is judged here."""
        yield from judged(
            self._offered(scope_of(search.filter, _of_id), deadline, tries), search, self._settings.max_items
        )

    def _offered(self, scope: Scope, deadline: float | None, tries: int) -> Iterator[Found]:
        query = _query(scope)
        if query is None:
            return
        url = f"{self.api.url}/?{httpx.QueryParams({**query, 'mode': 'extended', 'page_size': self._page_size})}"
        read: set[str] = set()
        while url:
            if url in read:
                raise Retryable("station-bad-answer", f"the station's pages lead in a circle, back to {shown(url)}")
            read.add(url)
            answer = self._answer_to("GET", url, None, _require_results, deadline=deadline, tries=tries).body
            tries = self._settings.attempts
            for record in cast("list[JsonValue]", answer["results"]):
                yield self._found(record, url)
            url = self._next(answer.get("next"), url)

    def _next(self, link: JsonValue, url: str) -> str:
        """Return the URL of the next page; empty where this is the last one."""
        if not link:
            return ""
        try:
            target = httpx.URL(url).join(str(link))
        except httpx.InvalidURL:
            raise Retryable("station-bad-answer", f"{shown(url)} answered with a next link that is no URL") from None
        ours = httpx.URL(self.api.url)
        if (target.scheme, target.host, ours.scheme) == ("http", ours.host, "https"):  # behind a proxy that ends TLS
            target = target.copy_with(scheme=ours.scheme, port=ours.port)
        if origin(target) != origin(ours):
            raise Rejected("station-foreign-link", f"the station's next page is on another host: {shown(target)}")
        return str(target)

    def _found(self, record: JsonValue, url: str) -> Found:
        name = record.get("physical_name") if isinstance(record, dict) else None
        if not isinstance(record, dict) or not isinstance(name, str) or not name:
            problem = bad_item("physical_name: it is required")
            return Found.unusable("(no name)", problem.code, problem.reason, self.name)
        if not isinstance(record.get("remote_url"), str):
            return Found.unusable(_bare(name), "no-assets", "the station's product has no remote_url", self.name)
        try:
            return found_of(_feature(name, record, url), self.name)
        except httpx.InvalidURL:
            reason = f"remote_url: {str(record['remote_url'])[:200]!r} is no URL"
            return Found.unusable(_bare(name), "bad-href", reason, self.name)


def _require_results(answer: Answer) -> None:
    if not isinstance(answer.body.get("results"), list):
        raise Retryable("station-bad-answer", "the station answered with no list of results")


def _query(scope: Scope) -> dict[str, str] | None:
    """Return the parameters that a scope comes to, or None where nothing can be selected."""
    if scope.types == frozenset() or scope.missions == frozenset():
        return None
    query: dict[str, str] = {}
    types = sorted(scope.types or ())
    if len(types) == 1:
        query["product_type"] = types[0]
    elif types and all(map(_LISTED.fullmatch, types)):
        query["product_type__in"] = ",".join(types)
    mission, *others = sorted(scope.missions or ("",))
    if mission and not others and not mission.endswith("_"):  # how products of the whole mission are named there?
        query["sentinel1__mission"] = mission
    if scope.begun < OPEN_END - _SECOND:
        # The service knows whole seconds, so up; and for the end, which it compares strictly, down.
        query["validity_start__lte"] = _seconds(scope.begun + _SECOND)
    if scope.valid > EARLIEST + _SECOND:
        query["adf__stop_time__gt"] = _seconds(scope.valid - _SECOND)
    return query


def _seconds(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat(timespec="seconds")


def _of_id(item_id: str) -> Scope:
    match = _NAME.match(item_id)
    return Scope(frozenset({match[2]}), frozenset({match[1]})) if match else Scope()


def _bare(name: str) -> str:
    """Return the id of an item: the product's name without the extensions of its folder and its archive."""
    return _EXTENSIONS.sub("", name) or name


def _feature(name: str, record: Json, url: str) -> Json:
    """Return the STAC item of a product.

    Args:
        name: of the file.
        record: what the service says.
        url: of the page, to which a relative `remote_url` belongs.
    """
    match = _NAME.match(name)
    mission, product_type, generated = match.groups() if match else ("", "", None)
    created = record.get("creation_date") or generated
    stated: Json = {
        "created": created,
        "published": record.get("archive_date") or created,
        "processing:datetime": generated or record.get("creation_date"),
        "product:type": record.get("product_type") or product_type,
        "platform": f"sentinel-{mission[1:].rstrip('_').lower()}" if mission else None,
        "constellation": f"sentinel-{mission[1]}" if mission else None,
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": _bare(name),
        "geometry": None,
        "properties": {
            "datetime": record.get("validity_start"),
            "start_datetime": record.get("validity_start"),
            "end_datetime": _stop(record),
            **{key: value for key, value in stated.items() if value},
        },
        "assets": {name: _asset(record, url)},
        "links": [],
    }


def _stop(record: Json) -> JsonValue:
    """Return the end of the validity: Muninn's own, else that of the namespace `adf`, else none."""
    adf = record.get("adf")
    return record.get("validity_stop") or (adf.get("stop_time") if isinstance(adf, dict) else None) or _NO_END


def _asset(record: Json, url: str) -> Json:
    asset: Json = {"href": str(httpx.URL(url).join(str(record["remote_url"])))}
    if record.get("size") is not None:
        asset["file:size"] = record["size"]
    if md5 := _MD5.fullmatch(str(record.get("hash"))):
        asset["file:checksum"] = f"d50110{md5[1].lower()}"
    return asset
