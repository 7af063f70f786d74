"""The manifest of an expansion: beside the prefix it tells what is in it. Once complete, it is the commit point."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from shared.archives.names import manifest_for
from shared.archives.rules import Layout, Problem
from shared.errors import ItemFailed
from shared.storage.location import Location, Stored, changed
from shared.storage.objects import ObjectStore

_LIMIT_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """One object below the prefix: its path there, its size in bytes, its SHA-256 (hex), its ETag as it is listed."""

    path: str
    size: int
    sha256: str
    etag: str


class Manifest(BaseModel):
    """What an archive was, and what it was expanded to.

    While `state` is `writing` it only claims the prefix: whatever is below belongs to this archive. `complete` says
    that every member is there and verified.

    Attributes:
        archive: its href.
        archive_etag: of the version that was expanded, without quotes.
        archive_size: in bytes.
        archive_md5: hex; empty while `writing`.
        prefix: the href below which the members are.
        expanded_at: when the state was reached, in UTC.
        size: of all members, in bytes.
        nested_zip: a zip within the archive was expanded, not kept as a file.
        problems: what was noticed and let pass: equal members that became one object, nested zips kept as files.
        left_out: what is not among the members, each with the reason; only where the rules allow it.
        chosen: the patterns of the files that were taken, those of earlier calls included; None is all of them.
        not_chosen: how many files were not taken; the archive still has them.
        strip: leading folders that were removed from each path.
        dbl: a .DBL within the archive was expanded if it is an archive.
        earlier: while `writing`, the complete manifest of what was taken of this archive before, and stays.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    state: Literal["writing", "complete"]
    archive: str
    archive_etag: str
    archive_size: int
    archive_md5: str = ""
    prefix: str
    layout: Layout
    expanded_at: datetime
    members: tuple[Member, ...] = ()
    size: int = 0
    nested_zip: bool = False
    problems: tuple[Problem, ...] = ()
    left_out: tuple[Problem, ...] = ()
    chosen: tuple[str, ...] | None = None
    not_chosen: int = 0
    strip: int = 0
    dbl: bool = False
    earlier: "Manifest | None" = None

    @property
    def last_complete(self) -> "Manifest | None":
        """What is there, verified, while more of the same archive may be on its way."""
        return self if self.state == "complete" else self.earlier

    def has_all_of(self, members: tuple[str, ...] | None) -> bool:
        """Whether everything that these patterns match was taken."""
        return not self.not_chosen or (members is not None and set(members) <= set(self.chosen or ()))


class Slot:
    """The place of a prefix's manifest, as one attempt knows it.

    What another attempt has put there since is neither replaced nor deleted, also where a write of this one reaches
    the store late.

    Attributes:
        manifest: that was found there, or None.
    """

    def __init__(self, store: ObjectStore, prefix: Location) -> None:
        """Look what is there.

        Raises:
            ItemFailed: `prefix-taken`, there is something that is no manifest.
        """
        self._store = store
        self._location = manifest_for(prefix)
        stored = store.head(self._location)
        self._etag = None if stored is None else stored.etag
        self.manifest = None if stored is None else self._read(stored)

    def save(self, manifest: Manifest) -> None:
        """Write a manifest, whole or not at all.

        Raises:
            Retryable: `s3-changed`, another attempt has written or deleted it meanwhile.
        """
        data = manifest.model_dump_json().encode()
        self._etag = self._store.replace(self._location, data, self._etag, "application/json").etag

    def delete(self) -> None:
        """Delete the manifest, if there is one.

        Raises:
            Retryable: `s3-changed`, another attempt has written or deleted it meanwhile.
        """
        if self._etag is None:
            self.require_unchanged()
        elif not self._store.control.delete(self._location, self._etag):
            raise changed(self._location)

    def require_unchanged(self) -> None:
        """Make sure that no other attempt has written or deleted the manifest meanwhile.

        Raises:
            Retryable: `s3-changed`.
        """
        stored = self._store.head(self._location)
        if (None if stored is None else stored.etag) != self._etag:
            raise changed(self._location)

    def _read(self, stored: Stored) -> Manifest:
        if stored.size > _LIMIT_BYTES:
            raise ItemFailed("prefix-taken", f"{self._location.href} is too large for a manifest")
        try:
            return Manifest.model_validate_json(b"".join(self._store.blocks(self._location, stored)))
        except ValidationError as error:
            raise ItemFailed("prefix-taken", f"{self._location.href} is no manifest that can be read") from error


def load_manifest(store: ObjectStore, prefix: Location) -> Manifest | None:
    """Return the manifest of a prefix, or None where there is none.

    Raises:
        ItemFailed: `prefix-taken`, there is something else in its place.
    """
    return Slot(store, prefix).manifest
