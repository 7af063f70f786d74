"""Archives in S3: expanded in place, streamed, verified. Knows nothing of catalogs, and never deletes an archive."""

from shared.archives.expansion import Expansion, expand, inspect_object, stands
from shared.archives.inspection import Inspected, Inspection, inspect
from shared.archives.manifest import Manifest, Member, load_manifest
from shared.archives.names import (
    expanded_name,
    format_of,
    is_archive,
    is_data_block,
    manifest_for,
    prefix_beside,
    prefix_for,
)
from shared.archives.rules import ArchiveFailed, Kind, Problem, Rules
from shared.archives.sources import FileSource, Source

__all__ = [
    "ArchiveFailed",
    "Expansion",
    "FileSource",
    "Inspected",
    "Inspection",
    "Kind",
    "Manifest",
    "Member",
    "Problem",
    "Rules",
    "Source",
    "expand",
    "expanded_name",
    "format_of",
    "inspect",
    "inspect_object",
    "is_archive",
    "is_data_block",
    "load_manifest",
    "manifest_for",
    "prefix_beside",
    "prefix_for",
    "stands",
]
