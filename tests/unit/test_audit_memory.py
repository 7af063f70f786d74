"""The memory of an audit does not grow with the collection."""

import gc
import json
import threading
import tracemalloc
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from pydantic import SecretStr

from local.processes import LOOPBACK
from shared.audit import sources
from shared.audit.audit import Audit, Scope
from shared.audit.findings import Counts
from shared.context import Context
from tests.unit.making import settings_of

PAGE = 10
FEW, MANY = 5 * PAGE, 60 * PAGE
LONG = 3000
"""Characters of each key, and more of each item: beside them what caches keep of short texts is little."""

_SCOPE = Scope("auxip", "aux")
_ETAG = "0cc175b9c0f1b6a831c399e269772661"


def _name(number: int) -> str:
    return f"S1A_OPER_AUX_RESORB_OPOD_{number:08}"


def _key(number: int) -> str:
    return f"auxip/aux/{_name(number)}/{'x' * LONG}{number:08}.EOF"


def _item(number: int) -> dict[str, object]:
    name = _name(number)
    href = f"s3://bucket/{_key(number)}"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2024-03-25T09:00:00Z", "description": "x" * LONG},
        "assets": {f"{name}.EOF": {"href": href, "file:size": 1, "aux_staging:etag": _ETAG}},
        "links": [],
    }


def _object(number: int) -> str:
    written = "<LastModified>2024-03-25T09:00:00.000Z</LastModified>"
    return f'<Contents><Key>{_key(number)}</Key>{written}<ETag>"{_ETAG}"</ETag><Size>1</Size></Contents>'


class _Server(ThreadingHTTPServer):
    """A STAC API and a store of `count` items that are well, made a page at a time when they are asked for."""

    daemon_threads = True
    count: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        start = int(body.get("token", 0))
        end = min(start + body["limit"], self.server.count)
        following = {"rel": "next", "method": "POST", "href": self.path, "body": {"token": str(end)}}
        links = [following] if end < self.server.count else []
        features = [_item(number) for number in range(start, end)]
        self._answer(json.dumps({"type": "FeatureCollection", "features": features, "links": links}))

    def do_GET(self) -> None:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        if "list-type" not in query:
            self._answer('{"links": []}')
            return
        after = query.get("start-after", "")
        start = int(after.removesuffix(".EOF")[-8:]) + 1 if after else 0
        end = min(start + PAGE, self.server.count)
        more = str(end < self.server.count).lower()
        listed = "".join(_object(number) for number in range(start, end))
        self._answer(f"<ListBucketResult><IsTruncated>{more}</IsTruncated>{listed}</ListBucketResult>")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving(count: int) -> Iterator[str]:
    with _Server((LOOPBACK, 0), _Handler) as server:
        server.count = count
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def peak_of(count: int) -> int:
    """Audit so many items; returns the most bytes that the steps after the first have had in use."""
    counts = Counts()
    with serving(count) as url:
        changes = {
            "catalog_url": url,
            "s3_endpoint": url,
            "catalog_flavour": "plain",
            "catalog_api_key": SecretStr("k"),
        }
        with closing(Context(settings_of(**changes))) as context, Audit(context, _SCOPE, counts) as audit:
            position, _ = audit.step(audit.begin())  # the clients that it makes are no part of the measure
            gc.collect()
            gc.freeze()  # what is there already need not be looked at in each collection
            tracemalloc.start()
            try:
                while position.walk != "done":
                    position, _ = audit.step(position)
                    cast("Any", urllib.parse.urlsplit).cache_clear()  # it keeps the last 128 URLs, with keys in them
                    gc.collect()  # else garbage in cycles is measured, which grows until Python looks for it
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
                gc.unfreeze()
    assert (counts.items, counts.objects, counts.found) == (count, count, 0)
    return peak


@pytest.mark.long
def test_an_audit_of_twelve_times_the_items_needs_as_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_PAGE", PAGE)
    few, many = peak_of(FEW), peak_of(MANY)

    assert many - few < (MANY - FEW) * LONG / 2
