"""The process of the STAC server: `/auxip` is an AUXIP station, `/catalog` a catalog with Transactions.

For trying out and testing only, see the package. It reads its configuration from standard input, as JSON, so that
the keys stand on no command line.
"""

import json
import logging
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import uvicorn
from stac_fastapi.extensions.bulk_transactions import BulkTransactionExtension
from stac_fastapi.extensions.transaction import TransactionExtension
from stac_fastapi.types.config import ApiSettings
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.processes import LOOPBACK
from local.stac.api import Reader, stac_api
from local.stac.faults import Faults
from local.stac.messages import Configuration, Traffic
from local.stac.store import Store
from local.stac.writer import BulkWriter, Writer


class ApiKey:
    """ASGI middleware that answers 401 to requests without the right `x-api-key`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it has the key."""
        given = Request(scope).headers.get("x-api-key", "")
        if secrets.compare_digest(given.encode(), self._key.encode()):
            await self._app(scope, receive, send)
        else:
            refusal = JSONResponse({"detail": "the header x-api-key is missing or wrong"}, 401)
            await refusal(scope, receive, send)


class Counter:
    """ASGI middleware that counts a station's traffic, and shows it at `/traffic`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._traffic = Traffic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request and pass it on."""
        path = scope["path"].removeprefix(scope["root_path"])
        if path == "/traffic":
            await JSONResponse(asdict(self._traffic))(scope, receive, send)
        elif path == "/search":
            self._traffic.searches += 1
            await self._app(scope, receive, send)
        elif path.endswith("/$value"):
            self._traffic.downloads += 1
            await self._app(scope, receive, self._counting(send))
        else:
            await self._app(scope, receive, send)

    def _counting(self, send: Send) -> Send:
        async def sender(message: Message) -> None:
            self._traffic.download_bytes += len(message.get("body", b""))
            await send(message)

        return sender


class Requests:
    """ASGI middleware that counts a catalog's requests; `/traffic` shows how many of each kind a collection has had.

    A kind is the method and the end of the path: `POST search`, `GET item`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._counts: dict[str, dict[str, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request and pass it on."""
        *before, parent, name = str(scope["path"]).split("/")
        if name == "traffic":
            await JSONResponse(self._counts)(scope, receive, send)
            return
        kind = f"{scope['method']} {parent.removesuffix('s') if parent in ('items', 'collections') else name}"
        if name == "search":
            request = Request(scope, receive)
            body = await request.body()
            self._count(_collections_of(body), kind)
            await self._app(scope, _again(body, receive), send)
        else:
            parts = [*before, parent, name]
            self._count(parts[parts.index("collections") + 1 :][:1] if "collections" in parts else [], kind)
            await self._app(scope, receive, send)

    def _count(self, collections: Sequence[str], kind: str) -> None:
        for collection in collections:
            counts = self._counts.setdefault(collection, {})
            counts[kind] = counts.get(kind, 0) + 1


def _collections_of(body: bytes) -> list[str]:
    try:
        return [str(each) for each in json.loads(body)["collections"]]
    except (ValueError, KeyError, TypeError):
        return []


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read once more."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiver() -> Message:
        return messages.pop() if messages else await receive()

    return receiver


class Mounts:
    """ASGI application that passes requests on by the first part of their path.

    Unlike Starlette's mounts it answers `/prefix` like `/prefix/`, since not every client follows a redirection,
    and leaves it to each application to spell its own URLs.
    """

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 404."""
        prefix, _, rest = scope["path"][1:].partition("/")
        app = self._apps.get(prefix, JSONResponse({"detail": "Not Found"}, 404))
        inner = {**scope, "root_path": f"/{prefix}", "path": f"/{prefix}/{rest}"}
        await app(inner, receive, send)


def application(configuration: Configuration) -> ASGIApp:
    """Both APIs as one web application."""
    settings = ApiSettings()
    return Mounts(
        {
            "auxip": ApiKey(_station(configuration, settings), configuration.station_key),
            "catalog": ApiKey(_catalog(configuration, settings), configuration.catalog_key),
        }
    )


def _station(configuration: Configuration, settings: ApiSettings) -> ASGIApp:
    async def download(request: Request) -> Response:
        file = configuration.products / str(request.path_params["product"])
        if not file.is_file():
            return JSONResponse({"detail": "there is no such product"}, 404)
        return FileResponse(file, media_type="application/octet-stream")

    reader = Reader(store=Store(configuration.station), next_on_every_page=True)
    api = stac_api("AUXIP station with sample products", reader, [], settings).app
    api.add_route("/Products({product:uuid})/$value", download)
    return Counter(Faults(api))


def _catalog(configuration: Configuration, settings: ApiSettings) -> ASGIApp:
    store = Store(configuration.catalog)
    writing = TransactionExtension(client=Writer(store=store), settings=settings)
    reader = Reader(store=store, next_on_every_page=False)
    bulk = BulkTransactionExtension(client=BulkWriter(store=store))
    return Requests(Faults(stac_api("Catalog", reader, [writing, bulk], settings).app))


def main() -> None:
    """Serve until SIGTERM."""
    configuration = Configuration.model_validate_json(sys.stdin.read())
    logging.getLogger("stac_fastapi").setLevel(logging.CRITICAL)  # it logs a traceback for each 404
    uvicorn.run(
        application(configuration),
        host=LOOPBACK,
        port=configuration.port,
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
