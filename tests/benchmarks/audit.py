"""Measures `auxip audit` beside pgSTAC: how long it takes, and how its memory grows with the collection.

    python -m tests.benchmarks.audit [OBJECTS ...]

Makes collections of so many objects each (10,000 and 100,000, if none is given), of which a twentieth are members of
expanded archives, with one of each damage, and audits each with the command, as a person does.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from shared.archives import Manifest, Member, manifest_for
from shared.context import Context
from shared.storage.location import Location
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac
from tests.peers.postgres import PostgreSQL
from tests.peers.programs import programs

_OWNER = "auxip"
_MEMBERS = 100
_DATA = b"x"
_ETAG = hashlib.md5(_DATA, usedforsecurity=False).hexdigest()
_AT_ONCE = 16
_BULK = 500


def main(sizes: list[int]) -> None:
    """Measure the audit of collections of these sizes, in objects."""
    with PostgreSQL() as server:
        peer = PgStac(server, programs("pgstac"))
        try:
            with Deployment({"AUXIP_CATALOG_URL": peer.url}) as deployment:
                for size in sizes:
                    sys.stdout.write(f"{json.dumps(_measured(peer, deployment, size))}\n")
                    sys.stdout.flush()
        finally:
            peer.stop()


def _measured(peer: PgStac, deployment: Deployment, size: int) -> dict[str, object]:
    collection = peer.new_collection()
    begun = time.monotonic()
    _fill(peer, deployment.context, collection, size)
    _damage(peer, deployment.context, collection)
    filled, spent = time.monotonic() - begun, peer.cpu_seconds()
    said, seconds, usage = _audit(deployment, collection)
    return {
        "objects": said["objects"],
        "items": said["items"],
        "seconds": round(seconds, 1),
        "client_cpu": round(usage.ru_utime + usage.ru_stime, 1),
        "catalog_cpu": round(peer.cpu_seconds() - spent, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "filled_in": round(filled, 1),
        **{kind: said[kind] for kind in ("phantom", "orphan", "mismatch", "manifest", "archive")},
    }


def _fill(peer: PgStac, context: Context, collection: str, size: int) -> None:
    archives = size // 20 // _MEMBERS
    plain = (_plain(context, collection, number) for number in range(size - archives * _MEMBERS))
    expanded = (_expanded(context, collection, number) for number in range(archives))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for items in (plain, expanded):
            while batch := list(islice(items, _BULK)):
                locations = [location for item, held in batch for location in held]
                list(pool.map(lambda location: context.store.put(location, _DATA), locations))
                peer.add_items(collection, [item for item, _ in batch])


def _plain(context: Context, collection: str, number: int) -> tuple[dict[str, Any], list[Location]]:
    item_id = f"S1A_OPER_AUX_RESORB_OPOD_{number:08}"
    place = Location(context.settings.s3_bucket, f"{_OWNER}/{collection}/{item_id}/{item_id}.EOF")
    asset = {"href": place.href, "file:size": len(_DATA), "aux_staging:etag": _ETAG}
    return _item(item_id, f"{item_id}.EOF", asset), [place]


def _expanded(context: Context, collection: str, number: int) -> tuple[dict[str, Any], list[Location]]:
    item_id = f"S2__OPER_AUX_ECMWFD_PDMC_{number:08}"
    prefix = Location(context.settings.s3_bucket, f"{_OWNER}/{collection}/{item_id}/{item_id}/")
    names = [f"{member:04}.DBL" for member in range(_MEMBERS)]
    source = {"name": f"{item_id}.TGZ", "href": f"{prefix.href.removesuffix('/')}.TGZ", "etag": "archive"}
    sha256 = hashlib.sha256(_DATA).hexdigest()
    manifest = Manifest(
        state="complete",
        archive=source["href"],
        archive_etag=source["etag"],
        archive_size=1,
        prefix=prefix.href,
        layout="flat",
        expanded_at=datetime.now(UTC),
        members=tuple(Member(name, len(_DATA), sha256, _ETAG) for name in names),
        size=_MEMBERS,
    )
    place = manifest_for(prefix)
    context.store.put(place, manifest.model_dump_json().encode())
    asset = {"href": prefix.href, "aux_staging:source": source, "aux_staging:manifest": place.href}
    return _item(item_id, item_id, asset), [Location(prefix.bucket, f"{prefix.key}{name}") for name in names]


def _item(item_id: str, key: str, asset: dict[str, Any]) -> dict[str, Any]:
    properties = {
        "datetime": "2024-03-25T09:00:00Z",
        "start_datetime": "2024-03-25T09:00:00Z",
        "end_datetime": "2024-03-25T12:00:00Z",
        "created": "2024-03-25T08:00:00Z",
        "product:type": "OPER_AUX_RESORB_OPOD",
        "platform": "sentinel-1a",
        "owner": _OWNER,
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": item_id,
        "properties": properties,
        "assets": {key: asset},
        "links": [],
    }


def _damage(peer: PgStac, context: Context, collection: str) -> None:
    """One object gone, one overwritten, one item gone, one foreign member."""
    (_, (gone,)), (_, (changed,)), (lost, _) = (_plain(context, collection, number) for number in (7, 77, 777))
    context.store.delete(gone)
    context.store.put(changed, b"other")
    peer.call("DELETE", f"/collections/{collection}/items/{lost['id']}")
    _, members = _expanded(context, collection, 0)
    context.store.put(Location(members[0].bucket, f"{members[0].key}.foreign"), _DATA)


def _audit(deployment: Deployment, collection: str) -> tuple[dict[str, Any], float, Any]:
    argv = [sys.executable, "-m", "workers.cli", "audit", collection, "--json"]
    begun = time.monotonic()
    environ = {**os.environ, **deployment.environment}
    child = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE)  # noqa: S603 - our own command
    assert child.stdout is not None
    with child.stdout as output:
        said = json.loads(_last(iter(output)))
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    return said, time.monotonic() - begun, usage


def _last(lines: Iterator[bytes]) -> bytes:
    *_, last = lines
    return last


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [10_000, 100_000])
