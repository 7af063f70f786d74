"""Writes members below a prefix, many small ones at once, and checks that they have arrived."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from shared.archives.contents import Placed, collision
from shared.archives.rules import ArchiveFailed, Kind, Problem
from shared.errors import ItemFailed, Retryable
from shared.storage.digests import PART_BYTES, RunningDigest, Written, digest_of, parts_of
from shared.storage.location import Location, Stored
from shared.storage.objects import ObjectStore

PUTS_AT_ONCE = 64  # few would do on a store nearby; with 20 ms to each answer 32 take a third longer
WAITING_PUTS = 1024


@dataclass(frozen=True, slots=True)
class Note:
    """What was written of one member: where it came from, its SHA-256 (hex), what the store must hold."""

    source: str
    sha256: str
    written: Written


class MemberWriter:
    """Writes files below a prefix, the small ones in a pool; used as a context manager, from one thread.

    Of `memory` bytes, three fifths wait for being written, and two are parts of a large member on their way.

    Attributes:
        noticed: equal members that became one object.
    """

    def __init__(self, store: ObjectStore, prefix: Location, present: Mapping[str, Stored], memory: int) -> None:
        """Begin to write.

        Args:
            store: where to.
            prefix: below which.
            present: by key, what an earlier attempt with the same archive has left; it is not sent again.
            memory: in bytes.
        """
        self.noticed: list[Problem] = []
        self._store = store
        self._prefix = prefix
        self._present = present
        self._pool = ThreadPoolExecutor(PUTS_AT_ONCE, thread_name_prefix="archive-put")
        self._begun: dict[str, str] = {}
        self._notes: dict[str, Note] = {}
        self._pending: dict[str, tuple[Future[Note], int]] = {}
        self._waiting = 0
        self._may_wait = memory * 3 // 5
        self._parts_at_once = max(1, memory * 2 // 5 // PART_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Drop what has not begun and wait for what has: afterwards nothing more is written."""
        self._pool.shutdown(cancel_futures=True)

    @property
    def begun(self) -> list[Location]:
        """Everything that this attempt has, or may have, written."""
        return [location_below(self._prefix, target) for target in self._begun]

    def write(self, file: Placed) -> None:
        """Write one file; a small one may still be on its way when this returns.

        Raises:
            ArchiveFailed: `name-collision`, another content has this place already; and what reading it raises.
            Retryable, Rejected: the store's, also for files before.
        """
        if file.target in self._begun:
            self._merge(file)
            return
        self._begun[file.target] = file.source
        try:
            self._begin(file)
        except ArchiveFailed:  # it could not be read whole, so nothing of it has been written
            del self._begun[file.target]
            raise

    def _begin(self, file: Placed) -> None:
        if file.size > PART_BYTES:
            self._notes[file.target] = self._large(file)
            return
        data = b"".join(file.chunks)
        self._make_room(len(data))
        future = self._pool.submit(self._put, file.target, file.source, data)
        self._pending[file.target] = (future, len(data))
        self._waiting += len(data)

    def finish(self) -> dict[str, Note]:
        """Wait for the last file and return the notes by target."""
        while self._pending:
            self._settle()
        return self._notes

    def _make_room(self, size: int) -> None:
        while self._pending and (self._waiting + size > self._may_wait or len(self._pending) >= WAITING_PUTS):
            self._settle()

    def _settle(self) -> None:
        target = next(iter(self._pending))
        future, size = self._pending[target]
        self._notes[target] = future.result()
        del self._pending[target]
        self._waiting -= size

    def _put(self, target: str, source: str, data: bytes) -> Note:
        location = location_below(self._prefix, target)
        sha256 = hashlib.sha256(data).hexdigest()
        present = self._present.get(location.key)
        if present is not None and present.size == len(data):
            known = digest_of(data)
            if known.etag == present.etag:
                return Note(source, sha256, known)
        return Note(source, sha256, self._store.put(location, data))

    def _large(self, file: Placed) -> Note:
        location = location_below(self._prefix, file.target)
        present = self._present.get(location.key)
        if present is not None and present.size == file.size and present.etag.endswith(f"-{parts_of(file.size)}"):
            return self._compare(file, location, present)
        sha256 = hashlib.sha256()
        with self._store.open_writer(location, self._parts_at_once, RunningDigest(whole=False)) as writer:
            for chunk in file.chunks:
                sha256.update(chunk)
                writer.write(chunk)
        return Note(file.source, sha256.hexdigest(), writer.written)

    def _compare(self, file: Placed, location: Location, present: Stored) -> Note:
        """Note a large member that an earlier attempt has sent. If it is not what was sent, it goes, and is sent again.

        Raises:
            Retryable: `s3-mismatch`: the chunks are used up, so the next attempt sends it.
        """
        sha256, digest = hashlib.sha256(), RunningDigest(whole=False)
        for chunk in file.chunks:
            sha256.update(chunk)
            digest.update(chunk)
        written = digest.result()
        if written.etag != present.etag:
            self._store.delete(location)
            raise Retryable("s3-mismatch", f"{location.href} is not what an earlier attempt should have sent")
        return Note(file.source, sha256.hexdigest(), written)

    def _merge(self, file: Placed) -> None:
        sha256, size = hashlib.sha256(), 0
        for chunk in file.chunks:
            sha256.update(chunk)
            size += len(chunk)
        while file.target in self._pending:
            self._settle()
        first = self._notes[file.target]
        if (size, sha256.hexdigest()) != (first.written.size, first.sha256):
            raise collision(file.target, first.source, file.source)
        self.noticed.append(Problem(Kind.MERGED, file.source, f"has the content of {first.source!r}"))


def location_below(prefix: Location, target: str) -> Location:
    """Return the location of a path below a prefix."""
    return Location(prefix.bucket, prefix.key + target)


def listed(store: ObjectStore, prefix: Location) -> dict[str, Stored]:
    """Return what is below a prefix, by key."""
    return {stored.key: stored for stored in store.list(prefix)}


def verify_all(store: ObjectStore, prefix: Location, notes: Mapping[str, Note]) -> dict[str, str]:
    """Compare one listing of a prefix with the notes of what was written there.

    Returns:
        The ETags that the store lists, by target.

    Raises:
        Retryable: `s3-mismatch`, a member is missing or is not what was sent.
        ItemFailed: `prefix-taken`, there is something that nobody has noted.
    """
    found = listed(store, prefix)
    etags: dict[str, str] = {}
    for target, note in notes.items():
        location = location_below(prefix, target)
        stored = found.pop(location.key, None)
        if stored is None or stored.size != note.written.size:
            raise Retryable("s3-mismatch", f"{location.href} is not listed with its {note.written.size} bytes")
        if stored.etag != note.written.etag and store.sha256(location, stored) != note.sha256:
            raise Retryable("s3-mismatch", f"{location.href} holds other bytes than were sent")
        etags[target] = stored.etag
    if found:
        raise taken(prefix, found)
    return etags


def taken(prefix: Location, found: Mapping[str, Stored]) -> ItemFailed:
    """Return the error for objects below a prefix that are not the archive's."""
    example = min(found)
    return ItemFailed(
        "prefix-taken",
        f"{prefix.href} holds {len(found)} objects that no manifest explains, such as {example[:200]!r}; "
        "move them away and run this item again",
    )
