"""Archives in S3: expanded in place, streamed, verified. Knows nothing of catalogs, and never deletes an archive."""

from shared.archives.expansion import Expansion, expand
from shared.archives.manifest import Manifest, Member, load_manifest
from shared.archives.names import expanded_name, is_archive, manifest_for, prefix_for
from shared.archives.rules import ArchiveFailed, Kind, Problem, Rules

__all__ = [
    "ArchiveFailed",
    "Expansion",
    "Kind",
    "Manifest",
    "Member",
    "Problem",
    "Rules",
    "expand",
    "expanded_name",
    "is_archive",
    "load_manifest",
    "manifest_for",
    "prefix_for",
]
