"""What an audit finds, how it is counted, and how far the audit has come."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.json_types import Json


class Kind(StrEnum):
    """The kinds of damage."""

    PHANTOM = "phantom"
    """In the catalog, and not in the store."""

    ORPHAN = "orphan"
    """In the store, and not in the catalog."""

    MISMATCH = "mismatch"
    """Catalog and store, or catalog and station, have another size, ETag or checksum."""

    MANIFEST = "manifest"
    """The manifest of an expanded archive and the objects below its prefix differ."""

    ARCHIVE = "archive"
    """An archive stands beside its expanded content."""


class Mend(StrEnum):
    """What mends a finding, as a person reads it."""

    STAGE = "stage the item again (--repair)"
    DELETE_ARCHIVE = "delete the archive (--repair)"
    DELETE_ORPHAN = "delete the object (--repair --delete-orphans)"
    STAGE_OR_DELETE = "stage the item again (--repair), or delete the object (--repair --delete-orphans)"
    BY_HAND = "by hand: delete the objects below the prefix, then stage the item again"


class Finding(BaseModel):
    """One difference between catalog, store and station.

    Attributes:
        kind: of damage.
        owner: whose it is.
        item: id of the item; empty where the object is in no item's folder.
        asset: key of the asset in the catalog; empty where the catalog has none.
        key: s3:// href of the object or the prefix.
        expected: what should be there.
        found: what is there.
        mends: what mends it.
        outcome: what a repair has made of it; empty where none was asked for.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    owner: str
    item: str
    asset: str = ""
    key: str = ""
    expected: str
    found: str
    mends: Mend
    outcome: str = ""


class Counts(BaseModel):
    """What an audit has looked at and found.

    Attributes:
        objects: that the store has listed.
        items: that the catalog has shown.
        in_work: items with differences that a worker or an open run has in hand; they are no findings.
        unchecked: assets that are not in S3, or in a bucket that refuses us, so that nothing can be said of them.
        others: items of the collection that belong to another owner.
    """

    objects: int = 0
    items: int = 0
    phantom: int = 0
    orphan: int = 0
    mismatch: int = 0
    manifest: int = 0
    archive: int = 0
    in_work: int = 0
    unchecked: int = 0
    others: int = 0

    @property
    def found(self) -> int:
        """How many findings there are."""
        return self.phantom + self.orphan + self.mismatch + self.manifest + self.archive

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        setattr(self, finding.kind.value, getattr(self, finding.kind.value) + 1)


class Position(BaseModel):
    """Where an audit is to go on: all that must be remembered between two steps.

    Attributes:
        walk: whether the audit goes on.
        page: the catalog's link to the page that is compared now; None for the first one.
        owners: whose listings are still to be compared with that page.
        after: by owner, the last key of the listing that was compared.
    """

    walk: Literal["items", "done"] = "items"
    page: Json | None = None
    owners: list[str] = []
    after: dict[str, str] = {}
