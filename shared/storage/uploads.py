"""Uploads of large files in parts, which the next try goes on with where one was interrupted.

Whoever begins an upload has its id remembered. The store keeps the parts that have come whole, and lists them. It gives
no byte of them before the upload is completed, and no state of a digest can be kept: so an object of which an earlier
try has sent parts is read back once, when it is complete, to verify it.
"""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Final, Protocol, Self

from pydantic import BaseModel

from shared.storage.control import Control
from shared.storage.location import Location

_CONTENT_TYPE: Final = "application/octet-stream"


class StartOver(Exception):
    """The rest cannot be had, or is of another file by now: what came is to be dropped; ask for `chunks` again."""


class Unfinished(BaseModel):
    """A multipart upload that a try has begun, and the file that its parts are of.

    Attributes:
        target: href of the object that it becomes.
        id: by which the store knows the upload.
        part_bytes: size of each part but the last.
        source: href of the file, without its query: a signature changes with each search.
        stated_size: that the item states, in bytes.
        stated_checksum: that the item states, as a multihash.
        validator: the strong ETag or the date by which the source knows the very file again.
        size: of the file in bytes, where the source or the item announces it.
    """

    target: str
    id: str
    part_bytes: int
    source: str
    stated_size: int | None
    stated_checksum: str | None
    validator: str
    size: int | None


class Memory(Protocol):
    """What is known of the upload of one asset from one try to the next; its holder has the claim on the item."""

    def left(self) -> Unfinished | None:
        """Return the upload that an earlier try has left."""

    def begun(self, upload: Unfinished) -> None:
        """Remember an upload that has begun, or is taken up again."""

    def kept(self, size: int) -> None:
        """Learn how many bytes of the object need not come again; negative where they must after all."""


class Source(Protocol):
    """A file that can be read from its beginning or, if it is still the same, from a byte."""

    @property
    def validator(self) -> str | None:
        """What tells the very file again that has begun to come, where something does."""

    @property
    def size(self) -> int | None:
        """Its size in bytes, where it is known."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the file."""

    def rest(self, start: int, left: Unfinished) -> Iterator[bytes]:
        """Yield the file from the byte `start`.

        Raises:
            StartOver: it is not the file that `left` was begun with, or there are no rests of it.
        """


class PartUpload:
    """Sends an object part by part, several at once.

    Used as a context manager. Leaving it waits for the parts that are being sent, so that the store has them.
    """

    def __init__(self, control: Control, target: Location, upload: str, etags: list[str], at_once: int) -> None:
        """Prepare.

        Args:
            control: of the store.
            target: the object.
            upload: the id of its upload.
            etags: of the parts that the store has already.
            at_once: parts in flight.
        """
        self._control = control
        self._target = target
        self._upload = upload
        self._etags = list(etags)
        self._at_once = at_once
        self._sent: list[Future[str]] = []
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="part")

    @classmethod
    def begin(cls, control: Control, target: Location, at_once: int) -> Self:
        """Begin a new upload."""
        return cls(control, target, control.begin_upload(target, _CONTENT_TYPE), [], at_once)

    @property
    def id(self) -> str:
        """By which the store knows the upload."""
        return self._upload

    def write(self, part: bytes) -> None:
        """Send the next part; returns while it is on its way, unless as many are as may be."""
        flying = [each for each in self._sent if not each.done()]
        if len(flying) >= self._at_once:
            wait(flying, return_when=FIRST_COMPLETED)
        for each in self._sent:
            if each.done():
                each.result()
        number = len(self._etags) + len(self._sent) + 1
        self._sent.append(self._pool.submit(self._control.upload_part, self._target, self._upload, number, part))

    def complete(self) -> None:
        """Make the object of all parts."""
        self._etags += [each.result() for each in self._sent]
        self._control.complete_upload(self._target, self._upload, self._etags)

    def abort(self) -> None:
        """Drop what was sent."""
        self._pool.shutdown(cancel_futures=True)
        self._control.abort(self._target, self._upload)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
