"""What unit tests are made of: settings without an environment, items, and APIs whose other side is a function."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from shared.http.api import JsonApi
from shared.json_types import Json
from shared.models import ItemRecord, ItemState, Run, RunRequest, RunState
from shared.selection import Selection
from shared.settings import Settings
from shared.stac.item import Item
from shared.stac.search import Cql2
from shared.stations.network import StationTransport

STATION = "http://station.example/auxip"
CATALOG = "http://catalog.example/stac"
ANY: Json = {"op": "=", "args": [{"property": "product:type"}, "OPER_MPL_ORBPRE"]}

Handler = Callable[[httpx.Request], httpx.Response]


def settings_of(**changes: object) -> Settings:
    """Settings that no environment has a part in."""
    values: dict[str, Any] = {
        "redis_url": SecretStr("redis://127.0.0.1:1/0"),
        "stations_file": Path("/there/is/none"),
        "catalog_url": CATALOG,
        "s3_endpoint": "http://127.0.0.1:1",
        "s3_access_key_id": SecretStr("access"),
        "s3_secret_access_key": SecretStr("secret"),
        "s3_bucket": "bucket",
        **changes,
    }
    return Settings.model_construct(**values)


def item_json(item_id: str = "X", **changes: Any) -> Json:
    """An item as a station gives it."""
    return {
        "type": "Feature",
        "id": item_id,
        "geometry": None,
        "properties": {
            "datetime": None,
            "start_datetime": "2024-03-25T00:00:00.000Z",
            "end_datetime": "2024-03-26T00:00:00.000Z",
        },
        "assets": {f"{item_id}.EOF": {"href": f"{STATION}/Products(1)/$value", "file:size": 3}},
        "links": [],
        **changes,
    }


def item_of(item_id: str = "X", **changes: Any) -> Item:
    return Item.model_validate(item_json(item_id, **changes))


def run_of(**changes: Any) -> Run:
    selection: Selection = Cql2(filter=ANY)
    request = RunRequest(owner="owner", collection="aux", selection=selection)
    return Run.model_validate(
        {"id": "run-1", "request": request, "state": RunState.WORKING, "created": 0.0, **changes},
    )


def record_of(item_id: str = "X", state: ItemState = ItemState.FOUND, **changes: Any) -> ItemRecord:
    return ItemRecord.model_validate(
        {"run_id": "run-1", "key": f"k-{item_id}", "item_id": item_id, "state": state, **changes}
    )


class Answers(httpx.MockTransport):
    """Answers whose bodies are still to be read, as they are when they come over a connection."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        made = super().handle_request(request)
        if not isinstance(made.stream, httpx.ByteStream):
            return made
        return httpx.Response(made.status_code, headers=made.headers, stream=_Body(made.stream))


class _Body(httpx.SyncByteStream):
    def __init__(self, content: httpx.ByteStream) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield from self._content


def answered_by(api: JsonApi, handler: Handler) -> None:
    """Let a function answer what an API sends; its client, hooks, redirects and checks of hosts stay as they are."""
    client = api._client
    transport = client._transport
    if isinstance(transport, StationTransport):
        transport.inner.close()
        transport.inner = Answers(handler)
        return
    transport.close()
    client._transport = Answers(handler)
    client._mounts = {}


def sent(request: httpx.Request) -> Json:
    """The JSON body of a request."""
    body = json.loads(request.content)
    assert isinstance(body, dict)
    return body
