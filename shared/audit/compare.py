"""Compares one item of the catalog with the objects in its folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.archives import Manifest, is_archive, manifest_for, prefix_beside
from shared.archives.names import MANIFEST_SUFFIX
from shared.audit.findings import Counts, Finding, Kind, Mend
from shared.audit.sources import Sources
from shared.errors import ItemFailed, Rejected
from shared.stac.item import Asset, Item, Source
from shared.steps.standing import keeps_archive, original_names
from shared.storage.digests import checksum_if_known, md5_if_known
from shared.storage.location import Listed, Location, Stored


@dataclass(frozen=True)
class Holding:
    """What an asset says that the store holds.

    Attributes:
        object: the asset itself, where it is one object and no prefix.
        prefix: below which the content of an expanded archive is.
        source: the archive that it was expanded from.
        described: whether the asset's size, ETag and checksum are those of `object`, not of an archive's content.
    """

    object: Location | None = None
    prefix: Location | None = None
    source: Source | None = None
    described: bool = True


def holding_of(asset: Asset) -> Holding | None:
    """Return what an asset says that the store holds, or None where it is not in S3.

    The content of an archive may be published as its prefix, as the manifest, or as one asset for each member: what
    says so are the fields `aux_staging:source` and `aux_staging:manifest` alone.
    """
    try:
        place = Location.parse(asset.href)
        manifest = None if asset.manifest is None else Location.parse(asset.manifest)
    except Rejected:
        return None
    if manifest is None and asset.source is not None and place.key.endswith(MANIFEST_SUFFIX):
        manifest = place
    prefix = place if place.key.endswith("/") else None
    if manifest is not None and manifest.key.endswith(MANIFEST_SUFFIX):
        prefix = Location(manifest.bucket, f"{manifest.key.removesuffix(MANIFEST_SUFFIX)}/")
    described = asset.source is None or not place.key.endswith(MANIFEST_SUFFIX)
    return Holding(None if place.key.endswith("/") else place, prefix, asset.source, described)


class Comparison:
    """One item of the catalog against the objects in its folder. Only manifests are read, and what is elsewhere."""

    def __init__(
        self,
        sources: Sources,
        owner: str,
        folder: Location,
        objects: Mapping[str, Listed],
        item: Item,
        checksum: bool,
        counts: Counts,
    ) -> None:
        """Prepare a comparison.

        Args:
            sources: for manifests, and for what is not in the folder.
            owner: whose the item is.
            folder: of the item.
            objects: all that are there, by key.
            item: as the catalog shows it.
            checksum: whether objects are read and their digests compared.
            counts: where it is counted that an asset could not be looked at.
        """
        self._sources = sources
        self._owner = owner
        self._folder = folder
        self._objects = objects
        self._item = item
        self._checksum = checksum
        self._counts = counts
        self._explained: set[str] = set()
        self._prefixes: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        """Yield what differs."""
        for key, asset in self._item.assets.items():
            holding = holding_of(asset)
            if holding is None:
                self._counts.unchecked += 1
                continue
            if holding.prefix is not None:
                yield from self._expanded(key, holding.prefix, holding.source)
            if holding.object is not None:
                yield from self._object(key, asset, holding.object, holding.described)
            if holding.source is not None and not keeps_archive(self._item, asset):
                yield from self._archive(key, holding.source)
        for key, asset in self._item.assets.items():
            yield from self._unpublished_content(key, asset)
        for key in self._objects:
            if key not in self._explained:
                yield self._finding(Kind.ORPHAN, "", key, "nothing", "an object", Mend.DELETE_ORPHAN)

    def _object(self, key: str, asset: Asset, place: Location, described: bool) -> Iterator[Finding]:
        self._explain(place.bucket, place.key)
        stored, readable = self._stored(place)
        if not readable:
            self._counts.unchecked += 1
            return
        size, etags = (asset.size, _etags_of(asset)) if described else (None, set())
        if stored is None:
            expected = "an object" if size is None else f"an object of {size} bytes"
            yield self._finding(Kind.PHANTOM, key, place, expected, "nothing", Mend.STAGE)
        elif size is not None and stored.size != size:
            yield self._finding(Kind.MISMATCH, key, place, f"{size} bytes", f"{stored.size} bytes", Mend.STAGE)
        elif etags and stored.etag not in etags:
            expected, found = f"the ETag {' or '.join(sorted(etags))}", f"the ETag {stored.etag}"
            yield self._finding(Kind.MISMATCH, key, place, expected, found, Mend.STAGE)
        elif self._checksum and described:
            yield from self._content(key, place, stored, asset.checksum)

    def _content(self, key: str, place: Location, stored: Stored | Listed, stated: str | None) -> Iterator[Finding]:
        checksum = checksum_if_known(stated)
        if checksum is None:
            return
        found = self._sources.digest(place, Stored(stored.key, stored.size, stored.etag), checksum.function)
        if found != checksum.hex:
            name = checksum.function.upper()
            yield self._finding(
                Kind.MISMATCH, key, place, f"the {name} {checksum.hex}", f"the {name} {found}", Mend.STAGE
            )

    def _expanded(self, key: str, prefix: Location, source: Source | None) -> Iterator[Finding]:
        if prefix.href in self._prefixes:
            return  # several assets may be of one archive
        self._prefixes.add(prefix.href)
        place = manifest_for(prefix)
        below = self._below(prefix)
        self._explain(prefix.bucket, place.key, *below)
        try:
            manifest = self._sources.manifest(prefix) if self._may_be_there(place) else None
        except ItemFailed as error:
            yield self._finding(Kind.MANIFEST, key, place, "a manifest", error.reason, Mend.BY_HAND)
            return
        if manifest is None and below:
            yield self._finding(Kind.MANIFEST, key, place, "a manifest", "objects without one", Mend.BY_HAND)
        elif not below:
            expected = "the content of an archive" if manifest is None else f"{len(manifest.members)} objects"
            yield self._finding(Kind.PHANTOM, key, prefix, expected, "nothing", Mend.STAGE)
        elif manifest is not None:
            yield from self._manifest(key, prefix, source, manifest, below)

    def _manifest(
        self, key: str, prefix: Location, source: Source | None, manifest: Manifest, below: Mapping[str, Listed]
    ) -> Iterator[Finding]:
        place = manifest_for(prefix)
        if manifest.state != "complete":
            yield self._finding(
                Kind.MANIFEST, key, place, "a complete one", f"one that is {manifest.state}", Mend.STAGE
            )
            return
        if source is not None and manifest.archive_etag != source.etag:
            yield self._finding(
                Kind.MANIFEST,
                key,
                place,
                f"that of the archive with the ETag {source.etag}",
                f"that of the archive with the ETag {manifest.archive_etag}",
                Mend.STAGE,
            )
            return
        extra = set(below)
        for member in manifest.members:
            at = Location(prefix.bucket, prefix.key + member.path)
            extra.discard(at.key)
            stored = below.get(at.key)
            if stored is None:
                yield self._finding(Kind.MANIFEST, key, at, f"{member.size} bytes", "nothing", Mend.STAGE)
            elif stored.size != member.size:
                yield self._finding(Kind.MANIFEST, key, at, f"{member.size} bytes", f"{stored.size} bytes", Mend.STAGE)
            elif stored.etag != member.etag:
                expected, found = f"the ETag {member.etag}", f"the ETag {stored.etag}"
                yield self._finding(Kind.MANIFEST, key, at, expected, found, Mend.STAGE)
            elif self._checksum:
                yield from self._content(key, at, stored, f"1220{member.sha256}")
        for name in sorted(extra):
            at = Location(prefix.bucket, name)
            yield self._finding(Kind.MANIFEST, key, at, "nothing: it is no member", "an object", Mend.DELETE_ORPHAN)

    def _archive(self, key: str, source: Source) -> Iterator[Finding]:
        try:
            place = Location.parse(source.href)
        except Rejected:
            return
        stored = self._objects.get(place.key) if self._is_ours(place) else None
        if stored is None or place.key in self._explained or stored.etag != source.etag:
            return  # another object in its place is an orphan
        self._explained.add(place.key)
        yield self._finding(
            Kind.ARCHIVE, key, place, "its content only", f"the archive too, {stored.size} bytes", Mend.DELETE_ARCHIVE
        )

    def _unpublished_content(self, key: str, asset: Asset) -> Iterator[Finding]:
        """An archive that the catalog shows, and what it was expanded to: something ended between the two."""
        holding = holding_of(asset)
        if holding is None or holding.object is None or holding.source is not None or not is_archive(key):
            return
        prefix = prefix_beside(holding.object, original_names(self._item))
        place = manifest_for(prefix)
        if not self._is_ours(prefix) or place.key not in self._objects or place.key in self._explained:
            return
        self._explained |= {place.key, *self._below(prefix)}
        yield self._finding(
            Kind.ARCHIVE, key, prefix, "the archive only", "its content too, which is not published", Mend.STAGE
        )

    def _explain(self, bucket: str, *keys: str) -> None:
        """Note that the catalog refers to objects. Those of another bucket explain none of ours of the same key."""
        if bucket == self._folder.bucket:
            self._explained.update(keys)

    def _is_ours(self, place: Location) -> bool:
        return place.bucket == self._folder.bucket and place.key.startswith(self._folder.key)

    def _may_be_there(self, place: Location) -> bool:
        return place.key in self._objects or not self._is_ours(place)

    def _stored(self, place: Location) -> tuple[Stored | Listed | None, bool]:
        if self._is_ours(place):
            return self._objects.get(place.key), True
        return self._sources.readable_head(place)

    def _below(self, prefix: Location) -> Mapping[str, Listed]:
        if self._is_ours(prefix):
            return {key: stored for key, stored in self._objects.items() if key.startswith(prefix.key)}
        return self._sources.all_below(prefix)

    def _finding(
        self, kind: Kind, asset: str, place: Location | str, expected: str, found: str, mends: Mend
    ) -> Finding:
        href = place.href if isinstance(place, Location) else f"s3://{self._folder.bucket}/{place}"
        return Finding(
            kind=kind,
            owner=self._owner,
            item=self._item.id,
            asset=asset,
            key=href,
            expected=expected,
            found=found,
            mends=mends,
        )


def orphans(owner: str, folder: Location, item_id: str, objects: Mapping[str, Listed]) -> Iterator[Finding]:
    """Yield what is in the folder of an item that the catalog does not have; an archive's content is one finding.

    Args:
        owner: whose the folder is.
        folder: of the item.
        item_id: of the item; empty for objects that are in no item's folder.
        objects: all that are there, by key.
    """
    mends = Mend.STAGE_OR_DELETE if item_id else Mend.DELETE_ORPHAN
    prefixes = {f"{key.removesuffix(MANIFEST_SUFFIX)}/": 0 for key in objects if key.endswith(MANIFEST_SUFFIX)}
    for key, stored in objects.items():
        prefix = _prefix_of(folder, key)
        if prefix in prefixes:
            prefixes[prefix] += 1
        elif key.endswith(MANIFEST_SUFFIX):
            continue
        else:
            yield _orphan(owner, folder, item_id, key, f"an object of {stored.size} bytes", mends)
    for prefix, count in prefixes.items():
        yield _orphan(owner, folder, item_id, prefix, f"a manifest and {count} objects", mends)


def _etags_of(asset: Asset) -> set[str]:
    """Return the ETags that an asset's object may have: the recorded one, or its MD5, as of an object in one PUT."""
    return {etag for etag in (asset.etag, md5_if_known(asset.checksum)) if etag is not None}


def _prefix_of(folder: Location, key: str) -> str:
    """Return the first folder of a key below an item's folder, as the prefix that it would be."""
    name, slash, _ = key.removeprefix(folder.key).partition("/")
    return f"{folder.key}{name}/" if slash else ""


def _orphan(owner: str, folder: Location, item_id: str, key: str, found: str, mends: Mend) -> Finding:
    return Finding(
        kind=Kind.ORPHAN,
        owner=owner,
        item=item_id,
        key=f"s3://{folder.bucket}/{key}",
        expected="an item of the catalog" if item_id else "nothing",
        found=found,
        mends=mends,
    )
