"""The bare script that whole runs are compared with: the same search, transfers, checks and writes, and no records.

    python -m tests.benchmarks.bare PRODUCT_TYPE COLLECTION

It is what somebody writes who needs the files once: a search, a pool of threads, and the catalog at the end of each
batch. Each asset is verified as in a run, each archive expanded by the same code, each item written in batches of the
same size and read back. It has no queue, no ledger, no retry and no claim, and what it has done is lost with it. The
settings are those of the workers. It prints one JSON object: the seconds, and its CPU in seconds.
"""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from shared.archives import Rules, expand, prefix_for
from shared.context import Context
from shared.settings import load_settings
from shared.stac.catalog import public_of
from shared.stac.item import Asset, Item, Source
from shared.stac.many import ManyItems
from shared.stac.publication import composed
from shared.stac.search import Cql2
from shared.steps.find import search_items
from shared.storage.keys import asset_location
from shared.storage.location import Location
from tests.integration.conftest import of_type
from workers.queues import QUEUES

OWNER = "bare"
THREADS = sum(queue.concurrency for queue in QUEUES if queue.name in ("staging", "decompress"))
_BATCH = 50
_LONGEST = 600.0
_ARCHIVES = (".zip", ".tgz")


def main() -> None:
    """Bring every item of a product type into a collection."""
    product_type, collection = sys.argv[1:]
    with closing(Context(load_settings())) as context:
        begun, cpu = time.perf_counter(), time.process_time()
        items = search_items(context, Cql2(filter=of_type(product_type)), error_if_empty=True)
        with ThreadPoolExecutor(THREADS) as threads:
            staged = list(threads.map(lambda item: _staged(context, item, collection), items))
            batches = [staged[start : start + _BATCH] for start in range(0, len(staged), _BATCH)]
            list(threads.map(lambda batch: _publish(context, collection, batch), batches))
        print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}))  # noqa: T201


def _staged(context: Context, item: Item, collection: str) -> Item:
    """Return an item as it is to be published, its files in the store and its archives expanded."""
    place = context.owners[OWNER].place
    assets: dict[str, Asset] = {}
    for key, asset in item.assets.items():
        target = asset_location(place, OWNER, collection, item.id, key)
        written = context.transfer().fetch(asset, target, lambda _: None)
        fields = {"href": target.href, "size": written.size, "checksum": written.checksum.multihash}
        moved = asset.model_copy(update={**fields, "etag": written.etag})
        name, made = _expanded(context, key, moved) if key.endswith(_ARCHIVES) else (key, moved)
        assets[name] = made
    properties = {**item.properties, "owner": OWNER}
    bare = item.model_copy(update={"collection": collection, "links": [], "assets": assets, "properties": properties})
    return composed(bare, public_of(context.settings))


def _expanded(context: Context, key: str, asset: Asset) -> tuple[str, Asset]:
    archive = Location.parse(asset.href)
    expansion = expand(context.store, archive, prefix_for(archive), Rules.from_settings(context.settings))
    context.store.control.delete(archive, expansion.archive_etag)
    source = Source(name=key, href=asset.href, etag=expansion.archive_etag, size=asset.size, checksum=asset.checksum)
    fields = {"href": expansion.prefix, "file:size": expansion.size, "aux_staging:manifest": expansion.manifest}
    made = Asset.model_validate({**fields, "aux_staging:source": source})
    return expansion.prefix.removesuffix("/").rpartition("/")[2], made


def _publish(context: Context, collection: str, batch: Sequence[Item]) -> None:
    many = ManyItems(context.catalog_of(OWNER), collection, time.monotonic() + _LONGEST)
    many.write(batch, list)
    shown = many.read([item.id for item in batch])
    if any(shown[item.id] is None for item in batch):
        raise SystemExit("the catalog does not show what was written")


if __name__ == "__main__":
    main()
