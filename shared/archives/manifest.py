"""The manifest of an expansion: beside the prefix it tells what is in it. Once complete, it is the commit point."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from shared.archives.names import manifest_for
from shared.archives.rules import Layout, Problem
from shared.errors import ItemFailed
from shared.storage.digests import PART_BYTES
from shared.storage.objects import Location, ObjectStore

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


def load_manifest(store: ObjectStore, prefix: Location) -> Manifest | None:
    """Return the manifest of a prefix, or None where there is none.

    Raises:
        ItemFailed: `prefix-taken`, there is something else in its place.
    """
    location = manifest_for(prefix)
    data = store.get(location, _LIMIT_BYTES)
    if data is None:
        return None
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ItemFailed("prefix-taken", f"{location.href} is no manifest that can be read") from error


def save_manifest(store: ObjectStore, prefix: Location, manifest: Manifest) -> None:
    """Write the manifest of a prefix, whole or not at all."""
    location = manifest_for(prefix)
    data = manifest.model_dump_json().encode()
    if len(data) <= PART_BYTES:
        store.put(location, data, content_type="application/json")
        return
    with store.open_writer(location) as writer:
        writer.write(data)
    store.verify(location, writer.written)
