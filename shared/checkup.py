"""Asks each system that a deployment needs one question, and says what to do about those that cannot be used."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

import httpx

from shared.context import Context
from shared.errors import AuxipError
from shared.http.curl import curl_line
from shared.ledger.check import check_redis
from shared.stac.search import Cql2
from shared.stations.config import load_stations
from shared.storage.location import Location

Verdict = Literal["ok", "warning", "failed", "skipped"]

_OBJECT: Final = ".auxip-doctor"  # in place of an owner: no owner begins with a dot
_TODO: Final = {
    "unavailable": "look whether the host can be reached from here: its name, the proxy, the firewall",
    "rate-limited": "wait, and set requests_per_minute of the station",
    "unauthorized": "correct the credentials that are named",
    "denied": "correct the credentials, or have them allowed to read, write and delete there",
    "not-found": "correct the URL, or the bucket",
    "bad-answer": "the URL is not that of such an API, or the API is out of order: send the request by hand",
    "collection": "create it: auxip collection create NAME",
    "full": "make room in the store, or raise the bucket's quota",
}


@dataclass(frozen=True)
class Checked:
    """What one system has answered.

    Attributes:
        system: `redis`, `station NAME`, `catalog` or `s3`.
        verdict: whether it can be used.
        said: a sentence.
        code: of what is wrong; empty where nothing is.
        todo: what to do about it.
        request: that was sent, as a line for a shell with variables in place of secrets; empty where it is not HTTP.
    """

    system: str
    verdict: Verdict
    said: str
    code: str = ""
    todo: str = ""
    request: str = ""


def check_up(context: Context, collection: str, product_type: str) -> Iterator[Checked]:
    """Yield what each system answers: Redis, every station, the catalog, the store.

    Args:
        context: of the process.
        collection: of the catalog, that must be there.
        product_type: that stations are asked for; it need not find anything.
    """
    redis = _attempt("redis", lambda: _redis(context))
    yield redis
    for name in load_stations(context.settings):
        if redis.verdict == "failed":
            reason = "not asked: the limits and tokens of stations are in Redis"
            yield Checked(f"station {name}", "skipped", reason, todo="mend Redis first")
        else:
            yield _station(context, name, product_type)
    owner = context.settings.default_owner
    yield _attempt("catalog", lambda: _catalog(context, owner, collection))
    yield _attempt("s3", lambda: _store(context, owner))


def _attempt(system: str, look: Callable[[], Checked | str], request: Callable[[], str] = str) -> Checked:
    begun = time.monotonic()
    try:
        said = look()
    except AuxipError as error:
        todo = next((todo for ending, todo in _TODO.items() if error.code.endswith(ending)), "")
        return Checked(system, "failed", error.reason, error.code, todo, request())
    if isinstance(said, Checked):
        return said
    took = f"answers in {(time.monotonic() - begun) * 1000:.0f} ms"
    return Checked(system, "ok", f"{took}; {said}", request=request())


def _redis(context: Context) -> Checked | str:
    check_redis(context.settings.redis_url.get_secret_value())
    facts = cast("dict[str, object]", context.ledger.redis.info())
    if not facts.get("aof_enabled"):
        return Checked(
            "redis",
            "warning",
            "it has no append-only file",
            todo="set `appendonly yes`: what it knows of runs is lost with it",
        )
    if facts.get("maxmemory_policy") != "noeviction":
        said = f"its maxmemory-policy is {facts.get('maxmemory_policy')}"
        return Checked(
            "redis", "warning", said, todo="set `maxmemory-policy noeviction`: else it drops what is to be done"
        )
    return f"version {facts.get('valkey_version') or facts.get('redis_version')}, append-only file, no eviction"


def _station(context: Context, name: str, product_type: str) -> Checked:
    sent: list[httpx.Request] = []

    def look() -> str:
        station = context.station(name)
        wanted = Cql2(filter={"op": "=", "args": [{"property": "product:type"}, product_type]}, limit=1)
        with station.api.observed(sent.append):
            found = next(station.search(wanted), None)
        return f"its first page has {'nothing' if found is None else 'an item'} of the type {product_type}"

    return _attempt(f"station {name}", look, lambda: curl_line(sent[0], name) if sent else "")


def _catalog(context: Context, owner: str, collection: str) -> str:
    context.catalog_of(owner).require_collection(collection)
    return f"{context.settings.catalog_url} has the collection {collection}"


def _store(context: Context, owner: str) -> str:
    place = context.owners[owner].place
    location = Location(place.bucket, f"{place.prefix}{_OBJECT}")
    context.store.put(location, b"written by `auxip doctor`")
    context.store.delete(location)
    return f"an object was written to s3://{location.bucket}/{place.prefix} and deleted"
