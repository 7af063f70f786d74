"""A store that has no room says so with a code of its own, whichever way it spells it; nothing wrong is recorded."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from obstore.store import S3Store

from shared.errors import AuxipError, Retryable
from shared.storage.digests import PART_BYTES
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from tests.unit.making import settings_of

QUOTA = (403, "QuotaExceeded")
FULL = [
    QUOTA,
    (507, "InsufficientStorage"),
    (507, ""),
    (507, "XMinioStorageFull"),
    (403, "XMinioAdminBucketQuotaExceeded"),
]
PLACE = Location("bucket", "key")


class _Full(BaseHTTPRequestHandler):
    """An S3 service that begins uploads and takes no bytes."""

    protocol_version = "HTTP/1.1"
    answer = QUOTA

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, code = self.answer
        self._send(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>" if code else "")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, "<R><Bucket>bucket</Bucket><Key>key</Key><UploadId>1</UploadId></R>")

    def do_DELETE(self) -> None:
        self._send(204, "")

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    def impatient(bucket: str, **options: object) -> S3Store:
        return S3Store(bucket, **{**options, "retry_config": {"max_retries": 0}})  # type: ignore[arg-type]

    monkeypatch.setattr("shared.storage.objects.S3Store", impatient)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Full) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield ObjectStore(settings_of(s3_endpoint=f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
        thread.join()


def refusal_of_large(store: ObjectStore) -> AuxipError:
    with pytest.raises(AuxipError) as raised, store.open_writer(PLACE) as writer:  # noqa: PT012 - wherever it comes
        for _ in range(6):
            writer.write(bytes(PART_BYTES))
    return raised.value


@pytest.mark.parametrize("answer", FULL)
def test_a_full_store_is_told_from_one_that_denies(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]
) -> None:
    monkeypatch.setattr(_Full, "answer", answer)
    with pytest.raises(AuxipError) as raised:
        store.put(PLACE, b"content")
    large = refusal_of_large(store)

    assert (type(raised.value), raised.value.code) == (Retryable, "s3-full")
    assert (type(large), large.code) == (Retryable, "s3-full")


def test_a_store_that_denies_is_not_full(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Full, "answer", (403, "AccessDenied"))
    assert refusal_of_large(store).code == "s3-denied"
