"""What there is at the end of a round, as the oracle wants it; what was there before the round is left out."""

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import httpx

from shared.context import Context
from shared.runs.bury import FailedWork
from shared.runs.tidy import clean_up
from shared.stac.item import Item
from shared.stac.search import RECORDED
from shared.storage.keys import run_location
from shared.storage.location import Location
from tests.faults.game import Asked, Game, record_of
from tests.faults.oracle import OWNER, ItemLetter, Observed, ObservedRun, ids_of
from tests.faults.system import System

_LARGEST = 64 * 2**20
_UPKEEP = (b"auxip.reconcile", b"auxip.clean_up")
_LEASE = "auxip:lease:"
_NOT_WAITED_FOR = ("reconcile",)  # beat has it done again and again
_INTAKE = ("auxip:intake:taken", "auxip:intake:retaken")


@dataclass(frozen=True)
class Before:
    """What there was before a round.

    Attributes:
        objects: everything in the bucket, with its ETag.
        claims: that have lapsed, by work, with their token.
        letters: ids of dead letters.
        runs: of the ledger.
    """

    objects: frozenset[tuple[str, str]]
    claims: frozenset[tuple[str, str]]
    letters: frozenset[str]
    runs: frozenset[str]


def before(system: System, context: Context) -> Before:
    """Return what there is now."""
    return Before(
        objects=frozenset(_bucket(context)),
        claims=frozenset((work, token) for work, token, _ in _claims(system)),
        letters=frozenset(letter.id for letter in context.dead_letters.letters()),
        runs=frozenset(_run_ids(system)),
    )


def observe(system: System, context: Context, game: Game, known: Before) -> Observed:
    """Return what there is at the end of a round, after the clean-up sweep.

    Args:
        system: that was played on.
        context: connections that wait.
        game: the round.
        known: what there was before it.
    """
    place = context.owners[OWNER].place
    base = Location(place.bucket, f"{place.prefix}{OWNER}/{game.name}/")
    unfinished = [upload.key for upload in context.store.control.unfinished(place)]
    not_swept = set(_keys(context, base))
    clean_up(context, timedelta(0))
    objects = _objects(context, base)
    letters = [letter for letter in context.dead_letters.letters() if letter.id not in known.letters]
    works = [_work(context, letter.id) for letter in letters if letter.kind == "item"]
    return Observed(
        base=base.href,
        runs=[_observe_run(system, context, run_id, asked, game) for run_id, asked in game.runs.items()],
        objects=objects,
        catalog=_catalog(game.name),
        uploads=[upload.key for upload in context.store.control.unfinished(place)],
        messages=messages_of(system),
        malformed=system.pushed,
        letters=[context.dead_letters.payload(letter.id) for letter in context.dead_letters.letters("message")],
        elsewhere={key for key, etag in _bucket(context) - known.objects if not key.startswith(base.key)},
        known_elsewhere=game.written,
        unfinished=unfinished,
        leftovers=not_swept - objects.keys(),
        claims=held_claims(system),
        lapsed=[work for work, token, left in _claims(system) if left <= 0 and (work, token) not in known.claims],
        outages=list(context.outages.all()),
        unasked=sorted(_run_ids(system) - known.runs - game.runs.keys()),
        item_letters=[ItemLetter(work.run, work.item_id, work.code) for work in works],
        replayed=game.replayed,
        refused=game.refused,
        request_letters=[context.dead_letters.payload(letter.id) for letter in letters if letter.kind == "request"],
        answers=[json.loads(text) for text in _list(system, f"auxip:reply:{game.name}")],
        results=[(task_id, task.wanted, _read(system, task_id, task.reads)) for task_id, task in game.tasks.items()],
        dangling=sorted(game.dangling),
        history=_history(system, game.name),
    )


def messages_of(system: System) -> dict[str, int]:
    """Return how many messages there are, by the list or hash that holds them; dead letters are in neither.

    Those of the upkeep are left out: beat goes on sending them.
    """
    names = [key.decode() for key in system.redis.scan_iter(count=10_000, _type="list")]
    held = {name: _list(system, name) for name in names if _holds_messages(name)}
    for name in ("unacked", *_INTAKE):
        held[name] = cast("list[bytes]", system.redis.hvals(name))
    counts = {name: sum(not any(task in text for task in _UPKEEP) for text in texts) for name, texts in held.items()}
    tags = set(cast("list[bytes]", system.redis.zrange("unacked_index", 0, -1)))
    return counts | {"unacked_index": len(tags - set(cast("list[bytes]", system.redis.hkeys("unacked"))))}


def held_claims(system: System) -> list[str]:
    """Return the work that somebody has a claim on that has not lapsed."""
    return [work for work, _, left in _claims(system) if left > 0]


def dangling_hrefs(system: System, context: Context, game: Game) -> list[str]:
    """Return what the catalog showed all the while that the store did not have it."""
    place = context.owners[OWNER].place
    base = Location(place.bucket, f"{place.prefix}{OWNER}/{game.name}/")
    shown = _hrefs(system, game.name)
    keys = _keys(context, base)
    missing = {href for href in shown if not any(f"{base.href}{key}".startswith(href) for key in keys)}
    still = missing & _hrefs(system, game.name)
    return [f"the catalog showed {href}, and the store had nothing there" for href in sorted(still)]


def _hrefs(system: System, collection: str) -> set[str]:
    newest = {item.id: item for item in system.versions(collection)}
    return {asset.href for item in newest.values() for asset in item.assets.values()}


def _history(system: System, collection: str) -> dict[str, list[set[str]]]:
    history: dict[str, list[set[str]]] = {}
    for item in system.versions(collection):
        history.setdefault(item.id, []).append(set(item.assets))
    return history


def _holds_messages(name: str) -> bool:
    return not name.startswith(("auxip:run:", "auxip:reply:", "celery-")) and "pidbox" not in name


def _list(system: System, name: str) -> list[bytes]:
    return cast("list[bytes]", system.redis.lrange(name, 0, -1))


def _run_ids(system: System) -> set[str]:
    return {run_id.decode() for run_id in cast("list[bytes]", system.redis.zrange("auxip:runs", 0, -1))}


def _claims(system: System) -> list[tuple[str, str, float]]:
    """The work that is or was claimed, the token, and the seconds that are left of the claim."""
    seconds, micros = system.redis.time()
    found = []
    for key in system.redis.scan_iter(f"{_LEASE}*", count=10_000):
        work = key.decode().removeprefix(_LEASE)
        token, until = cast("list[bytes | None]", system.redis.hmget(key, "token", "until"))
        if token and until and not work.startswith(_NOT_WAITED_FOR):
            found.append((work, token.decode(), int(until) / 1000 - seconds - micros / 1e6))
    return found


def _bucket(context: Context) -> set[tuple[str, str]]:
    pages: Any = context.store.control.client.get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=context.settings.s3_bucket)
    return {(each["Key"], each["ETag"]) for page in found for each in page.get("Contents", ())}


def _keys(context: Context, base: Location) -> list[str]:
    return [stored.key.removeprefix(base.key) for stored in context.store.list(base)]


def _objects(context: Context, base: Location) -> dict[str, bytes]:
    return {key: _content(context, Location(base.bucket, base.key + key)) for key in _keys(context, base)}


def _content(context: Context, location: Location) -> bytes:
    content = context.store.get(location, _LARGEST)
    return b"" if content is None else content


def _work(context: Context, letter_id: str) -> FailedWork:
    return FailedWork.model_validate_json(context.dead_letters.payload(letter_id), context=RECORDED)


def _read(system: System, task_id: str, reads: Any) -> object:
    result = system.result(task_id)
    return None if result is None else reads(result["result"])


def _observe_run(system: System, context: Context, run_id: str, asked: Asked, game: Game) -> ObservedRun:
    place = context.owners[OWNER].place
    report = context.store.get(run_location(place, run_id, "report.json"), _LARGEST)
    artifact = context.store.get(run_location(place, run_id, "auxiliary-files.json"), _LARGEST)
    return ObservedRun(
        id=run_id,
        record=record_of(context, run_id),
        wanted=asked.wanted,
        answers=asked.answers,
        items=list(context.ledger.items(run_id)),
        result=system.result(run_id),
        first_closed=game.first_closed.get(run_id),
        report=ids_of(report, "items"),
        artifact=ids_of(artifact),
    )


def _catalog(name: str) -> dict[str, Item]:
    answer = httpx.get(
        f"{os.environ['AUXIP_CATALOG_URL']}/collections/{name}/items",
        params={"limit": 1000},
        headers={"x-api-key": os.environ["AUXIP_CATALOG_API_KEY"]},
    )
    items = [Item.model_validate(feature) for feature in answer.raise_for_status().json()["features"]]
    return {item.id: item for item in items}
