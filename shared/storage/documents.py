"""JSON documents that end in a list, written into S3 entry by entry: however long the list is, little is in memory."""

from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from shared.storage.digests import Written
from shared.storage.location import Location
from shared.storage.objects import ObjectStore, ObjectWriter

SEPARATOR: Final = ",\n"


class JsonList:
    """A JSON document in S3 that is a list, or an object whose last member is one.

    Used as a context manager. The document appears, and is verified, when the block ends well; when it raises, nothing
    appears and the upload is aborted. Where nothing was begun there is no document. Takes about two parts of a
    multipart upload in memory, 16 MiB, whatever its size.

    Attributes:
        location: where it is.
        written: its size and digests, once the block has ended; None where nothing was begun.
    """

    def __init__(
        self,
        store: ObjectStore,
        location: Location,
        head: str = "[",
        tail: str = "]",
        content_type: str = "application/json",
    ) -> None:
        """Prepare a document; nothing is sent yet.

        Args:
            store: where to.
            location: the same.
            head: what stands before the first entry.
            tail: what stands after the last one.
            content_type: as the store will give it.
        """
        self.location = location
        self.written: Written | None = None
        self._store = store
        self._head = head
        self._tail = tail
        self._content_type = content_type
        self._writer: ObjectWriter | None = None
        self._between = ""

    @property
    def begun(self) -> bool:
        """Whether there is a document."""
        return self._writer is not None

    def begin(self) -> ObjectWriter:
        """Begin the document, also where it may get no entry."""
        if self._writer is None:
            self._writer = self._store.open_writer(self.location, parts_at_once=1, content_type=self._content_type)
            self._writer.write(self._head.encode())
        return self._writer

    def add(self, entries: Iterable[str]) -> None:
        """Write entries, each of them JSON; the more at once, the cheaper."""
        text = SEPARATOR.join(entries)
        if text:
            self.begin().write(f"{self._between}{text}".encode())
            self._between = SEPARATOR

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        if kind is not None:
            self._writer.__exit__(kind, error, traceback)
            return
        with self._writer as writer:
            writer.write(self._tail.encode())
        self.written = self._store.verify(self.location, writer.written)
