"""What pystac-client makes of a STAC API, as JSON: run with the Python of an environment that has it."""

import json
import os
import sys
from typing import Any

from pystac_client import Client


def main(url: str, collection: str) -> None:
    client = Client.open(url, headers={"x-api-key": os.environ["STAC_API_KEY"]})
    product_type = {"op": "=", "args": [{"property": "product:type"}, "A"]}
    searches: dict[str, dict[str, Any]] = {
        "pages": {"limit": 2},
        "filter": {"filter": product_type, "filter_lang": "cql2-json"},
        "filter by GET": {"filter": "\"product:type\" = 'A'", "method": "GET"},
        "descending": {"sortby": "-properties.datetime"},
        "datetime": {"datetime": "2024-01-02/2024-01-03"},
        "bbox": {"bbox": [0, 0, 1, 1]},
        "intersects": {"intersects": {"type": "Point", "coordinates": [20, 20]}},
        "all by GET": {"method": "GET", "limit": 1, "datetime": "2024-01-01/..", "bbox": [-1, -1, 30, 30]},
    }
    found = {
        name: [item.id for item in client.search(collections=[collection], **search).items()]
        for name, search in searches.items()
    }
    held = client.get_collection(collection)
    found["of the collection"] = [item.id for item in held.get_items()]
    found["one"] = [held.get_item(each).id for each in found["of the collection"][:1]]
    found["collections"] = [each.id for each in client.get_collections()]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
