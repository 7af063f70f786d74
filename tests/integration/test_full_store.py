"""A store that has no room says so with a code of its own, whichever way it spells it; nothing wrong is recorded."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from obstore.store import S3Store

from shared.context import Context
from shared.errors import AuxipError, Busy, Refused, Retryable
from shared.http.probes import Fault
from shared.runs.outages import waiting_for_systems
from shared.runs.systems import Needs
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
S3 = Needs(("s3",))


class _Full(BaseHTTPRequestHandler):
    """An S3 service that begins uploads and takes no bytes."""

    protocol_version = "HTTP/1.1"
    answer = QUOTA
    takes_writes = False

    def do_HEAD(self) -> None:
        self._send(404, "")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.takes_writes:
            self._send(200, "", hashlib.md5(body, usedforsecurity=False).hexdigest())
            return
        status, code = self.answer
        self._send(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>" if code else "")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, "<R><Bucket>bucket</Bucket><Key>key</Key><UploadId>1</UploadId></R>")

    def do_DELETE(self) -> None:
        self._send(204, "")

    def _send(self, status: int, text: str, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("ETag", f'"{etag}"')
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


@pytest.fixture
def outages_of(store: ObjectStore, apart: Context) -> Iterator[Context]:
    """A context of that store, and the outages of a database of its own."""
    settings = apart.settings.model_copy(update={"s3_endpoint": store._settings.s3_endpoint, "s3_bucket": "bucket"})
    with closing(Context(settings)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("answer", "error", "fault"),
    [
        (QUOTA, Retryable("s3-full", "no room"), Fault.FULL),
        ((507, ""), Retryable("s3-full", "no room"), Fault.FULL),
        ((503, "SlowDown"), Retryable("s3-unavailable", "503"), Fault.UNAVAILABLE),
        ((500, "InternalError"), Retryable("s3-unavailable", "500"), Fault.UNAVAILABLE),
        ((403, "AccessDenied"), Refused("s3-denied", "403"), Fault.REFUSED),
    ],
)
def test_a_store_that_reads_and_takes_no_writes_has_an_outage(
    outages_of: Context, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], error: Retryable, fault: Fault
) -> None:
    monkeypatch.setattr(_Full, "answer", answer)
    with pytest.raises(Busy, match="system-unavailable"), waiting_for_systems(outages_of, S3):
        raise error
    outage = outages_of.outages.of("s3")
    assert outage is not None
    assert (outage.fault, outage.code) == (fault, error.code)


def test_a_store_that_takes_writes_has_no_outage(outages_of: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Full, "takes_writes", True)
    with pytest.raises(Retryable, match="s3-full"), waiting_for_systems(outages_of, S3):
        raise Retryable("s3-full", "there is no room for one so large")
    assert outages_of.outages.all() == {}
