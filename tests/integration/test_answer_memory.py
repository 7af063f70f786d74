"""The memory of a page is bounded by `AUXIP_MAX_ANSWER_BYTES`, whatever a station sends: measured in a process."""

import gzip
import json
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Iterable
from pathlib import Path

import brotli  # type: ignore[import-untyped]
import httpx
import pytest

from shared.errors import Retryable
from shared.http.answers import MEMORY, JsonReader, limited
from shared.settings import Settings

pytestmark = pytest.mark.long

LIMIT = Settings.model_fields["max_answer_bytes"].default
MIB = 2**20
CHILD = """
import os, resource, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from shared.errors import Retryable
from shared.http.api import JsonApi, http_client

content, encoding, limit = open(sys.argv[1], "rb"), sys.argv[2], int(sys.argv[3])

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-encoding", encoding)
        self.end_headers()
        while piece := content.read(65536):
            self.wfile.write(piece)
    def log_message(self, *_):
        pass

def peak():
    with open("/proc/self/status") as lines:  # ru_maxrss would begin with that of the parent
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
api = JsonApi("station", f"http://127.0.0.1:{server.server_port}", http_client(60, []), limit, "")
before, said = peak(), "parsed"
try:
    api.call("GET", "/")
except Retryable as error:
    said = error.code
print(said, before, peak(), flush=True)
os._exit(0)  # the server's thread may write yet, which ends an interpreter that shuts down
"""


def peak_of(
    folder: Path, content: Iterable[bytes], encoding: str = "identity", limit: int = LIMIT
) -> tuple[str, int, int]:
    """What becomes of an answer, and the most memory of a process that reads it: before, and in all."""
    file = folder / "answer"
    with file.open("wb") as out:
        out.writelines(content)
    argv = [sys.executable, "-c", textwrap.dedent(CHILD), str(file), encoding, str(limit)]
    environment = {"NO_PROXY": "127.0.0.1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)  # noqa: S603 - our own
    said, before, peak = done.stdout.split()
    return said, int(before), int(peak)


def test_a_page_of_20_million_empty_objects_takes_little_memory(tmp_path: Path) -> None:
    pages = [b'{"type":"FeatureCollection","features":[', *[b"{}," * 1000] * 20_000, b"{}]}"]
    assert sum(map(len, pages)) < LIMIT
    said, _, peak = peak_of(tmp_path, pages)
    assert said == "station-bad-answer"
    assert peak < 400 * MIB


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_page_that_is_packed_a_thousand_times_takes_little_memory(tmp_path: Path, encoding: str) -> None:
    size = 2**29
    if encoding == "br":
        packer = brotli.Compressor(quality=1)
        packed = [*(packer.process(bytes(MIB)) for _ in range(size // MIB)), packer.finish()]
    else:
        squeezer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
        packed = [*(squeezer.compress(bytes(MIB)) for _ in range(size // MIB)), squeezer.flush()]
    assert sum(map(len, packed)) < 4 * MIB
    said, _, peak = peak_of(tmp_path, packed, encoding)
    assert said == "station-bad-answer"
    assert peak < 400 * MIB


SHAPES = {
    "empty objects": "{}",
    "empty lists": "[]",
    "objects of one key": '{"a":{}}',
    "objects of other keys": '{"k%d":"value"}',
    "objects of six keys": '{"a%d":1.5,"b%d":2.5,"c%d":3.5,"d%d":4.5,"e%d":5.5,"f%d":6.5}',
    "short texts": '"ab%d"',
    "numbers": "1.5",
    "nested objects": '{"a":' * 100 + "1" + "}" * 100,
    "nested lists": "[" * 100 + "]" * 100,
    "wide characters": '"' + "\U0001f600" * 100 + '"',
    "escaped characters": '"' + "\\ud83d\\ude00" * 100 + '"',
    "half a character": '"' + "\\ud83d" + "x" * 1000 + '"',
    "one wide text": None,
    "items": json.dumps({"id": "X%d", "properties": {"a": 1, "b": "text %d"}, "assets": {"f%d": {"href": "h%d"}}}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_page_takes_more_than_the_multiple_of_the_limit(tmp_path: Path, shape: str) -> None:
    """The largest page of each shape that is taken: it stays below the bound."""
    limit = 4 * MIB
    content = largest(SHAPES[shape], MEMORY * limit, limit)
    said, before, peak = peak_of(tmp_path, [content], limit=limit)
    assert said == "parsed"
    assert peak - before < MEMORY * limit


def largest(value: str | None, memory: int, limit: int) -> bytes:
    """A document of as many of these values as fit."""

    def of(count: int) -> bytes:
        if value is None:
            return b'{"a":"' + "\U0001f600".encode() + b"x" * count * 100 + b'"}'
        values = ",".join(value.replace("%d", str(number)) for number in range(count))
        return f'{{"a":[{values}]}}'.encode()

    def taken(content: bytes) -> bool:
        reader = JsonReader()
        reader.add(content)
        return len(content) <= limit and reader.memory <= memory

    step, count = 2**17, 0
    while step:
        if taken(of(count + step)):
            count += step
        step //= 2
    return of(count)


def test_a_packed_answer_is_read_in_small_pieces() -> None:
    class Packed(httpx.SyncByteStream):
        def __iter__(self) -> Iterable[bytes]:  # type: ignore[override]
            yield gzip.compress(bytes(10 * MIB))

    response = httpx.Response(
        200, headers={"content-encoding": "gzip"}, stream=Packed(), request=httpx.Request("GET", "http://h")
    )
    pieces = list(limited(response, 10 * MIB, "station"))
    assert sum(map(len, pieces)) == 10 * MIB
    assert max(map(len, pieces)) <= 65_536


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "unheard-of"])
def test_what_is_not_packed_as_it_says_is_a_bad_answer(encoding: str) -> None:
    class Plain(httpx.SyncByteStream):
        def __iter__(self) -> Iterable[bytes]:  # type: ignore[override]
            yield b"{}"

    response = httpx.Response(
        200, headers={"content-encoding": encoding}, stream=Plain(), request=httpx.Request("GET", "http://h")
    )
    with pytest.raises(Retryable, match="station-bad-answer"):
        list(limited(response, 100, "station"))


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_memory_is_the_same_wherever_the_pieces_are_cut(cut: int) -> None:
    document = b'{"a" : [1, 2, {"b":\n"c"}]}'
    whole, parts = JsonReader(), JsonReader()
    whole.add(document)
    for start in range(0, len(document), cut):
        parts.add(document[start : start + cut])
    assert parts.memory == whole.memory
    assert parts.parsed() == json.loads(document)
