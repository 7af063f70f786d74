"""Objects in S3: read, written, verified, deleted, with obstore. `control.py` does with boto3 what obstore cannot."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from shared.errors import ItemFailed, Refused, Rejected, Retryable
from shared.settings import Settings
from shared.storage.control import Control
from shared.storage.digests import PART_BYTES, Checksum, Digest, RunningDigest, Written, digest_of
from shared.storage.location import Location, Stored, changed

UPLOADS_AT_ONCE = 4
"""Parts of one multipart upload in flight: with `PART_BYTES` this bounds a writer's memory to about 40 MiB."""

LARGEST_PUT = PART_BYTES
"""Up to so many bytes a replacement is one request."""

_FULL = re.compile(r"status code: 507\b|<Code>\w*(?:Quota|StorageFull|InsufficientCapacity|InsufficientStorage)")
_LACKS = re.compile(r"status code: 501\b")
_DENIED = re.compile(r"status code: 40[13]\b")


class ObjectStore:
    """The S3 service of the settings. Safe to share between threads; to be made anew after a fork.

    Every method raises `Retryable` (`s3-unavailable`) for network faults and 5xx, `Retryable` (`s3-full`) where the
    store has no room or the bucket's quota is used up, `Refused` (`s3-denied`) where it refuses our credentials, and
    `Rejected` (`s3-bad-key`) where it can hold no such key.

    Attributes:
        control: what needs no bytes: conditional deletes, copies, unfinished uploads.
    """

    def __init__(self, settings: Settings) -> None:
        self.control = Control(settings)
        self._settings = settings
        self._buckets: dict[str, S3Store] = {}

    def head(self, location: Location) -> Stored | None:
        """Return what the store reports of an object, or None where there is none."""
        with _translated(f"HEAD {location.href}"):
            try:
                meta = obstore.head(self._bucket(location), location.key)
            except (NotFoundError, FileNotFoundError):
                return None
        return Stored(location.key, meta["size"], _bare(meta["e_tag"]))

    def read(self, location: Location, start: int, length: int, etag: str) -> bytes:
        """Return `length` bytes from offset `start` of the object whose ETag is `etag`.

        Raises:
            Retryable: `s3-changed`, the object is another one by now, or gone.
        """
        options = {"range": (start, start + length), "if_match": f'"{etag}"'}
        with _translated(f"GET {location.href}"):
            try:
                result = obstore.get(self._bucket(location), location.key, options=cast("obstore.GetOptions", options))
                return bytes(result.bytes())
            except (PreconditionError, NotFoundError, FileNotFoundError):
                raise Retryable("s3-changed", f"{location.href} changed while it was read") from None

    def get(self, location: Location, limit: int) -> bytes | None:
        """Return a small object whole, or None where there is none.

        Raises:
            ItemFailed: `too-large`, the object is larger than `limit` bytes.
        """
        stored = self.head(location)
        if stored is None:
            return None
        if stored.size > limit:
            raise ItemFailed(
                "too-large", f"{location.href} has {stored.size} bytes, more than the {limit} that are read"
            )
        return self.read(location, 0, stored.size, stored.etag) if stored.size else b""

    def put(
        self,
        location: Location,
        data: bytes,
        content_type: str = "application/octet-stream",
        written: Written | None = None,
    ) -> Written:
        """Write a whole object in one request and check the ETag that comes back; for more use `open_writer`.

        Args:
            location: where to.
            data: all of it.
            content_type: as the store will give it.
            written: the digest of the data, where it is known already.

        Raises:
            Retryable: `s3-mismatch`, the store holds something else than what was sent.
        """
        return self._send(location, data, content_type, written or digest_of(data), "overwrite")

    def replace(
        self, location: Location, data: bytes, known: str | None, content_type: str = "application/octet-stream"
    ) -> Written:
        """Write a whole object, provided that what is there is still what the caller knows of.

        The store compares (If-Match, If-None-Match), so it also refuses a request that it gets late. A store that
        ignores the condition writes in any case; with one that knows none (501), the ETag is compared just before.
        More than `LARGEST_PUT` are a multipart upload.

        Args:
            location: where to.
            data: all of it.
            known: the ETag of the object that is replaced; None where there must not be one.
            content_type: as the store will give it.

        Returns:
            What was sent, with the ETag that the store reports of it.

        Raises:
            Retryable: `s3-changed`, another object is there, or the known one is gone; `s3-mismatch` as of `put`.
        """
        if len(data) > LARGEST_PUT:
            digest = RunningDigest()
            digest.update(data)
            self.control.replace(location, data, known, content_type)
            return self.verify(location, digest.result())
        written = digest_of(data)
        try:
            return self._send(location, data, content_type, written, _mode(known))
        except _Refused:
            pass
        except _Lacking:
            stored = self.head(location)
            if (None if stored is None else stored.etag) == known:
                return self.put(location, data, content_type, written)
        stored = self.held(location, written.size, written.checksum)
        if stored is None:
            raise changed(location)
        return replace(written, etag=stored.etag)  # our own first try has come before its repetition

    def open_writer(
        self,
        location: Location,
        parts_at_once: int = UPLOADS_AT_ONCE,
        digest: Digest | None = None,
        content_type: str = "application/octet-stream",
    ) -> "ObjectWriter":
        """Begin to write an object of any size in one pass; see `ObjectWriter`.

        Args:
            location: where to.
            parts_at_once: of `PART_BYTES`, that are in flight.
            digest: what computes `written`; a `RunningDigest` where none is given.
            content_type: as the store will give it.
        """
        bucket = self._bucket(location)
        return ObjectWriter(bucket, location, parts_at_once, digest or RunningDigest(), content_type)

    def verify(self, location: Location, written: Written) -> Written:
        """Compare what the store holds with what was sent: the size and the ETag, else the bytes themselves.

        Returns:
            What was sent, with the ETag that the store reports of it.

        Raises:
            Retryable: `s3-mismatch`, they differ or the object is not there.
        """
        stored = self.head(location)
        if stored is None or stored.size != written.size:
            found = "nothing" if stored is None else f"{stored.size} bytes"
            raise Retryable("s3-mismatch", f"{location.href} should hold {written.size} bytes, the store has {found}")
        if stored.etag != written.etag and self._digest_of(location, stored, "md5") != written.md5:
            raise Retryable("s3-mismatch", f"{location.href} holds other bytes than were sent")
        return replace(written, etag=stored.etag)

    def held(self, location: Location, size: int | None, checksum: Checksum) -> Stored | None:
        """Return an object that has this digest and, where it is known, this size, or None; reads it if need be."""
        stored = self.head(location)
        if stored is None or size not in (None, stored.size):
            return None
        proven = stored.etag == checksum.hex or self._digest_of(location, stored, checksum.function) == checksum.hex
        return stored if proven else None

    def sha256(self, location: Location, stored: Stored) -> str:
        """Read an object back and return its SHA-256 (hex).

        Raises:
            Retryable: `s3-changed`, it is not the one that is `stored` any more.
        """
        return self._digest_of(location, stored, "sha256")

    def blocks(self, location: Location, stored: Stored, start: int = 0) -> Iterator[bytes]:
        """Yield an object's bytes from the byte `start`, `PART_BYTES` at a time.

        Raises:
            Retryable: `s3-changed`, it is not the one that is `stored` any more.
        """
        for at in range(start, stored.size, PART_BYTES):
            yield self.read(location, at, min(PART_BYTES, stored.size - at), stored.etag)

    def list(self, prefix: Location) -> Iterator[Stored]:
        """Yield every object below a prefix, whose key ends in a slash."""
        with _translated(f"LIST {prefix.href}"):
            for page in obstore.list(self._bucket(prefix), prefix.key):
                for meta in page:
                    yield Stored(meta["path"], meta["size"], _bare(meta["e_tag"]))

    def delete(self, location: Location) -> None:
        """Delete an object; that there is none is no error."""
        with _translated(f"DELETE {location.href}"):
            try:
                obstore.delete(self._bucket(location), location.key)
            except (NotFoundError, FileNotFoundError):
                return

    def _send(
        self, location: Location, data: bytes, content_type: str, written: Written, mode: "obstore.PutMode"
    ) -> Written:
        with _translated(f"PUT {location.href}"):
            try:
                result = obstore.put(
                    self._bucket(location),
                    location.key,
                    data,
                    attributes={"Content-Type": content_type},
                    use_multipart=False,
                    mode=mode,
                )
            except (AlreadyExistsError, PreconditionError) as error:
                raise _Refused from error
            except BaseError as error:
                if mode != "overwrite" and _LACKS.search(str(error)):
                    raise _Lacking from error
                raise
        return written if _bare(result["e_tag"]) == written.etag else self.verify(location, written)

    def _digest_of(self, location: Location, stored: Stored, function: str) -> str:
        digest = hashlib.new(function, usedforsecurity=False)
        for block in self.blocks(location, stored):
            digest.update(block)
        return digest.hexdigest()

    def _bucket(self, location: Location) -> S3Store:
        store = self._buckets.get(location.bucket)
        if store is None:
            store = self._buckets[location.bucket] = self._connect(location.bucket)
        return store

    def _connect(self, bucket: str) -> S3Store:
        settings = self._settings
        virtual = settings.s3_addressing == "virtual"
        return S3Store(
            bucket,
            # Of a virtual host obstore wants the whole name.
            endpoint=settings.s3_endpoint.replace("://", f"://{bucket}.", 1) if virtual else settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id.get_secret_value(),
            secret_access_key=settings.s3_secret_access_key.get_secret_value(),
            virtual_hosted_style_request=virtual,
            client_options={
                "allow_http": urlsplit(settings.s3_endpoint).scheme == "http",
                "timeout": timedelta(seconds=settings.s3_timeout),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=settings.s3_timeout)},
        )


class ObjectWriter:
    """Writes one object in one pass: a single PUT below `PART_BYTES`, a multipart upload from there on.

    Used as a context manager. The object appears when the block ends well; when it raises, nothing appears and
    the multipart upload is aborted. `written` is then what was sent, for `ObjectStore.verify`.
    """

    def __init__(
        self, store: S3Store, location: Location, parts_at_once: int, digest: Digest, content_type: str
    ) -> None:
        self._location = location
        self._digest = digest
        self._file = obstore.open_writer(
            store,
            location.key,
            attributes={"Content-Type": content_type},
            buffer_size=PART_BYTES,
            max_concurrency=parts_at_once,
        )

    def write(self, chunk: bytes | memoryview) -> None:
        """Send the next bytes."""
        self._digest.update(chunk)
        with _translated(f"PUT {self._location.href}"):
            self._file.write(chunk)

    @property
    def written(self) -> Written:
        """What has been sent so far."""
        return self._digest.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _translated(f"PUT {self._location.href}"):
            self._file.__exit__(kind, error, traceback)


class _Refused(Exception):
    """The condition of a PUT does not hold."""


class _Lacking(Exception):
    """The store knows no conditions."""


def _mode(known: str | None) -> "obstore.PutMode":
    return "create" if known is None else {"e_tag": f'"{known}"'}


@contextmanager
def _translated(operation: str) -> Iterator[None]:
    try:
        yield
    except (InvalidPathError, ValueError) as error:
        raise Rejected("s3-bad-key", f"{operation}: the store cannot hold this key") from error
    except (BaseError, OSError) as error:
        # A writer gives every error as an OSError, a list gives a refusal as a fault: what it is stands in the text.
        if _FULL.search(str(error)):
            raise Retryable("s3-full", f"{operation} was refused: the store or the bucket's quota is full") from error
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or _DENIED.search(str(error)):
            raise Refused("s3-denied", f"{operation} was refused; check the S3 credentials and rights") from error
        raise Retryable("s3-unavailable", f"{operation} failed: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')
