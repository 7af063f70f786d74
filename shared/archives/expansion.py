"""Expands an archive in place: claim, write, verify, commit. Each step can run twice."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from shared.archives.contents import Contents, Placed
from shared.archives.inspection import Inspection, inspect
from shared.archives.manifest import Manifest, Member, Slot, load_manifest
from shared.archives.members import EVERYTHING, union_of
from shared.archives.names import format_of, manifest_for
from shared.archives.reading import ArchiveReader
from shared.archives.rules import COLLISION, ArchiveFailed, Kind, Layout, Problem, Rules, flaw
from shared.archives.writing import MemberWriter, listed, taken, verify_all
from shared.errors import ItemFailed, Rejected
from shared.storage.location import Location, Stored
from shared.storage.objects import ObjectStore

_NOTED = 5

Guard = Callable[[], None]
"""Called before what other attempts would feel; raises where this one must go no further."""


class Expansion(BaseModel):
    """What an archive was expanded to.

    Attributes:
        archive: its href.
        archive_etag: of the version that was expanded: whoever deletes the archive compares it first.
        prefix: href below which the members are.
        manifest: href of the manifest.
        members: how many objects there are.
        size: of all of them, in bytes.
        left_out: how many problems there were with members that were left out; the manifest has them all.
        note: the first of them in words; empty where nothing was left out.
        reused: an earlier call had done the work.
        partial: files that nobody has chosen are in the archive only, which must stay.
    """

    model_config = ConfigDict(frozen=True)

    archive: str
    archive_etag: str
    prefix: str
    manifest: str
    members: int
    size: int
    left_out: int = 0
    note: str = ""
    reused: bool
    partial: bool = False


def _at_any_rate() -> None:
    return


def expand(
    store: ObjectStore,
    archive: Location,
    prefix: Location,
    rules: Rules,
    md5: str | None = None,
    still_ours: Guard = _at_any_rate,
) -> Expansion:
    """Expand an archive object into objects below a prefix, archives within it included.

    The archive is only read. A manifest beside the prefix (`manifest_for`) claims it before the first member and is
    the commit point after the last. A call that was cut off is made good by the next one with the same arguments; a
    permanent failure leaves nothing below the prefix. Of calls that overlap one commits, and the others are refused.

    Args:
        store: holds the archive and receives the members.
        archive: a .zip, .tar, .tgz or .tar.gz, in any letter case; or a .DBL, whose content is a tar or a tgz.
        prefix: receives the members; see `prefix_for`. Nobody else writes there.
        rules: layout and limits.
        md5: (hex) that the archive must have, where somebody has stated it.
        still_ours: called before members are removed and before the commit; what it raises ends the attempt there.

    Returns:
        The expansion, `reused` if a manifest said that this version is expanded already, in a layout that is wanted.
        Where the rules choose some members, what earlier calls have chosen of this version stays, and these are added.
        The directory of a zip shows whether names collide. In a tar that is seen as it is read: what was written
        in the layout `flat` is then removed, and the archive is written in the layout `tree`.

    Raises:
        UnsupportedArchive: the name is that of no archive; nothing has been touched.
        Rejected: `bad-prefix`, the prefix does not end in a slash, or the archive is below it.
        ArchiveFailed: an ItemFailed: `archive-unsafe`, `archive-damaged`, `archive-limit`, `archive-encrypted`,
            `archive-method`, `archive-empty`, `archive-type-mismatch`, `name-collision`, `no-such-member`.
        ItemFailed: `archive-missing`; `archive-checksum`, it has another MD5; `prefix-taken`, the prefix holds what is
            not of this archive.
        Retryable: the store's: the same call may well succeed later. `s3-changed`: another attempt came between.
    """
    format_of(archive.key)
    if not prefix.key.endswith("/") or f"{archive.bucket}/{archive.key}".startswith(f"{prefix.bucket}/{prefix.key}"):
        raise Rejected("bad-prefix", f"{prefix.href} is no prefix that {archive.href} can be expanded below")
    slot = Slot(store, prefix)
    manifest = slot.manifest
    _check_owner(archive, prefix, manifest)
    stored = store.head(archive)
    if manifest is not None and _is_done(manifest, stored, rules) and _members_stand(store, prefix, manifest):
        _check_md5(archive, manifest.archive_md5, md5)
        return _expansion(prefix, manifest, reused=True)
    if stored is None:
        raise ItemFailed("archive-missing", f"{archive.href} is not there, and no complete manifest tells of it")
    layouts = _layouts(manifest, stored, rules)
    for layout in layouts:
        try:
            return _Attempt(store, archive, stored, prefix, rules, layout, md5, slot, still_ours).run()
        except ArchiveFailed as failure:
            if failure.code != COLLISION or layout == layouts[-1]:
                raise
        slot = Slot(store, prefix)
    raise AssertionError  # the last layout returns or raises


def stands(store: ObjectStore, prefix: Location, archive_etag: str) -> bool:
    """Whether the content of this version of an archive stands below a prefix, every member as it was verified.

    One listing is compared with the manifest: sizes and ETags. Nothing else is read.

    Raises:
        ItemFailed: `prefix-taken`, there is something else in the place of the manifest.
        Retryable: the store's.
    """
    manifest = load_manifest(store, prefix)
    if manifest is None or manifest.state != "complete" or manifest.archive_etag != archive_etag:
        return False
    return _members_stand(store, prefix, manifest)


def inspect_object(store: ObjectStore, archive: Location, prefix: Location, rules: Rules) -> Inspection:
    """Read an archive object through every check that `expand` makes, and write nothing.

    Raises:
        UnsupportedArchive: the name is that of no archive.
        ItemFailed: `archive-missing`; `prefix-taken`.
        Retryable: the store's.
    """
    format_of(archive.key)
    manifest = load_manifest(store, prefix)
    stored = store.head(archive)
    _check_owner(archive, prefix, manifest)
    if stored is None:
        done = manifest is not None and manifest.state == "complete"
        known = f"; it is expanded already, below {prefix.href}" if done else ""
        raise ItemFailed("archive-missing", f"{archive.href} is not there{known}")
    unexplained = _unexplained(prefix, manifest, listed(store, prefix))
    if unexplained:
        raise taken(prefix, unexplained)
    with ArchiveReader(store, archive, stored, rules.memory) as reader:
        return inspect(reader, archive.key, rules, prefix.key)


def _check_owner(archive: Location, prefix: Location, manifest: Manifest | None) -> None:
    if manifest is not None and manifest.archive != archive.href:
        raise ItemFailed("prefix-taken", f"{prefix.href} belongs to {manifest.archive}")


def _is_done(manifest: Manifest, stored: Stored | None, rules: Rules) -> bool:
    if manifest.state != "complete" or not manifest.has_all_of(rules.members):
        return False
    if rules.dbl and not manifest.dbl and stored is not None:
        return False
    return stored is None or _same_version(manifest, stored, rules, rules.layouts)


def _same_version(manifest: Manifest, stored: Stored, rules: Rules, layouts: Sequence[Layout]) -> bool:
    return (manifest.archive_etag, manifest.strip) == (stored.etag, rules.strip) and manifest.layout in layouts


def _layouts(manifest: Manifest | None, stored: Stored, rules: Rules) -> Sequence[Layout]:
    """Return the layouts to try: of one that an earlier attempt has found to collide, only the next."""
    if manifest is not None and _same_version(manifest, stored, rules, rules.layouts):
        return rules.layouts[rules.layouts.index(manifest.layout) :]
    return rules.layouts


def _members_stand(store: ObjectStore, prefix: Location, manifest: Manifest) -> bool:
    found = {key: (stored.size, stored.etag) for key, stored in listed(store, prefix).items()}
    return all(found.get(prefix.key + member.path) == (member.size, member.etag) for member in manifest.members)


def _expansion(prefix: Location, manifest: Manifest, reused: bool) -> Expansion:
    return Expansion(
        archive=manifest.archive,
        archive_etag=manifest.archive_etag,
        prefix=prefix.href,
        manifest=manifest_for(prefix).href,
        members=len(manifest.members),
        size=manifest.size,
        left_out=len(manifest.left_out),
        note=_note(manifest),
        reused=reused,
        partial=bool(manifest.not_chosen),
    )


def _note(manifest: Manifest) -> str:
    if not manifest.left_out:
        return ""
    listed = "; ".join(map(str, manifest.left_out[:_NOTED]))
    more = len(manifest.left_out) - _NOTED
    return f"left out of {manifest.archive}: {listed}" + (f"; and {more} more, see its manifest" if more > 0 else "")


def _check_md5(archive: Location, found: str, stated: str | None) -> None:
    if stated is not None and stated != found:
        raise ItemFailed("archive-checksum", f"{archive.href} has the MD5 {found} and not the stated {stated}")


@dataclass(frozen=True)
class _Attempt:
    store: ObjectStore
    archive: Location
    stored: Stored
    prefix: Location
    rules: Rules
    layout: Layout
    md5: str | None
    slot: Slot
    still_ours: Guard

    def run(self) -> Expansion:
        with ArchiveReader(self.store, self.archive, self.stored, self.rules.memory * 3 // 8) as reader:
            return self._run(reader)

    def _run(self, reader: ArchiveReader) -> Expansion:
        present = listed(self.store, self.prefix)
        unexplained = _unexplained(self.prefix, self.slot.manifest, present)
        if unexplained:
            raise taken(self.prefix, unexplained)
        contents = Contents(reader, self.archive.key, self.prefix.key, self.rules, self.layout, self._chosen_before())
        try:
            files = contents.files()
        except ArchiveFailed as found:
            raise found.about(self.archive.href) from found
        present = self._claim(present)
        with MemberWriter(self.store, self.prefix, present, self.rules.memory * 5 // 8) as writer:
            try:
                return self._write(reader, contents, files, writer)
            except (ArchiveFailed, Rejected):
                self._withdraw(writer, self._locations(present))
                raise
            except ItemFailed:  # every member is written, so what else is there is not ours to delete
                self._withdraw(writer, [])
                raise

    def _claim(self, present: dict[str, Stored]) -> dict[str, Stored]:
        """Claim the prefix and return what is there already; what is of another version, or not wanted, goes first."""
        found = self.slot.manifest
        if found is not None and not self._goes_on(found):
            kept = self._kept()
            self._remove(self._locations(key for key in present if key not in kept))
            present = {key: stored for key, stored in present.items() if key in kept}
        self.slot.save(self._manifest())
        return present

    def _remove(self, locations: Iterable[Location]) -> None:
        """Remove members, unless another attempt has come between: then they may be its own."""
        self.still_ours()
        self.slot.require_unchanged()
        self.store.control.delete_all(locations)

    def _goes_on(self, manifest: Manifest) -> bool:
        """Whether what an earlier attempt has left is part of what this one would write."""
        union = self._chosen()
        return self._fits(manifest) and (union is None or {*(manifest.chosen or (EVERYTHING,))} <= {*union})

    def _fits(self, manifest: Manifest) -> bool:
        """Whether the members of a manifest are of this version, and where this attempt would put them."""
        same = _same_version(manifest, self.stored, self.rules, [self.layout])
        return same and (manifest.nested_zip, manifest.dbl) == (self.rules.nested_zip, self.rules.dbl)

    @property
    def _before(self) -> Manifest | None:
        """The manifest of what was chosen before of this version of the archive, and is complete."""
        found = self.slot.manifest
        before = None if found is None else found.last_complete
        return before if before is not None and before.archive_etag == self.stored.etag else None

    def _chosen_before(self) -> tuple[str, ...]:
        before = self._before
        return () if before is None else before.chosen or (EVERYTHING,)

    def _chosen(self) -> tuple[str, ...] | None:
        """The patterns of this call and of those before; None for everything."""
        return self.rules.members if self._before is None else union_of(self._before.chosen, self.rules.members)

    def _kept(self) -> set[str]:
        """The keys of members that stay whatever becomes of this attempt: it only adds others of the archive."""
        before = self._before
        if before is None or not before.not_chosen or not self._fits(before):
            return set()
        return {self.prefix.key + member.path for member in before.members}

    def _write(
        self, reader: ArchiveReader, contents: Contents, files: Iterator[Placed], writer: MemberWriter
    ) -> Expansion:
        try:
            for file in files:
                try:
                    writer.write(file)
                except ArchiveFailed as found:
                    contents.omitted.add(found)
            if not writer.begun:
                raise flaw(Kind.EMPTY, "", "it holds no file that can be kept")
        except ArchiveFailed as failure:
            raise contents.omitted.told_with(failure).about(self.archive.href) from failure
        notes = writer.finish()
        etags = verify_all(self.store, self.prefix, notes)
        members = tuple(
            Member(path, note.written.size, note.sha256, etags[path]) for path, note in sorted(notes.items())
        )
        md5 = reader.md5()
        _check_md5(self.archive, md5, self.md5)
        noticed = [*contents.omitted.noticed, *writer.noticed]
        return self._commit(members, md5, noticed, contents.omitted.problems, contents.selection.left)

    def _withdraw(self, writer: MemberWriter, leftovers: list[Location]) -> None:
        """Remove what this attempt and the earlier ones have written; the claim last, as it explains the rest.

        What was complete before, and was to be added to, stays, and its manifest is put back.
        """
        writer.stop()
        kept = self._kept()
        self._remove(each for each in {*writer.begun, *leftovers} if each.key not in kept)
        if kept and self._before is not None:
            self.slot.save(self._before)
        else:
            self.slot.delete()

    def _commit(
        self,
        members: tuple[Member, ...],
        md5: str,
        noticed: list[Problem],
        left_out: list[Problem],
        not_chosen: int,
    ) -> Expansion:
        manifest = self._manifest().model_copy(
            update={
                "state": "complete",
                "archive_md5": md5,
                "members": members,
                "size": sum(member.size for member in members),
                "problems": tuple(noticed),
                "left_out": tuple(left_out),
                "not_chosen": not_chosen,
                "earlier": None,
            }
        )
        self.still_ours()
        self.slot.save(manifest)
        return _expansion(self.prefix, manifest, reused=False)

    def _manifest(self) -> Manifest:
        return Manifest(
            state="writing",
            archive=self.archive.href,
            archive_etag=self.stored.etag,
            archive_size=self.stored.size,
            prefix=self.prefix.href,
            layout=self.layout,
            nested_zip=self.rules.nested_zip,
            chosen=self._chosen(),
            strip=self.rules.strip,
            dbl=self.rules.dbl,
            earlier=self._before if self._kept() else None,
            expanded_at=datetime.now(UTC),
        )

    def _locations(self, keys: Iterable[str]) -> list[Location]:
        return [Location(self.prefix.bucket, key) for key in keys]


def _unexplained(prefix: Location, manifest: Manifest | None, present: dict[str, Stored]) -> dict[str, Stored]:
    """Return the objects below a prefix that are certainly not of its archive."""
    if manifest is None:
        return present
    if manifest.state == "writing":
        return {}
    known = {prefix.key + member.path for member in manifest.members}
    return {key: stored for key, stored in present.items() if key not in known}
