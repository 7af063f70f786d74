"""What the names of archives say: whether we expand one, and where its content and its manifest go."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from posixpath import dirname

from shared.errors import UnsupportedArchive
from shared.storage.location import Location

MANIFEST_SUFFIX = ".manifest.json"


class Format(StrEnum):
    """The formats that are expanded."""

    ZIP = "zip"
    TAR = "tar"
    TGZ = "tgz"
    DBL = "dbl"


_SUFFIXES = {".tar.gz": Format.TGZ, ".tgz": Format.TGZ, ".tar": Format.TAR, ".zip": Format.ZIP}
_ON_REQUEST = {".dbl": Format.DBL}
"""The data block of an Earth Explorer product: beside some headers a tar or a tgz, and mostly no archive at all."""

_ALL = {**_SUFFIXES, **_ON_REQUEST}


def is_archive(name: str) -> bool:
    """Say whether a name, or a key, ends as that of an archive: .zip, .tar, .tgz or .tar.gz, in any letter case."""
    return bool(_suffix(name, _SUFFIXES))


def is_data_block(name: str) -> bool:
    """Say whether a name, or a key, ends in .DBL: it is expanded only on request, if its content is a tar or a tgz."""
    return bool(_suffix(name, _ON_REQUEST))


def format_of(name: str) -> Format:
    """Return the format that a name, or a key, promises; that of a .DBL, which it may have, too.

    Raises:
        UnsupportedArchive: it is that of no archive.
    """
    suffix = _suffix(name)
    if not suffix:
        raise UnsupportedArchive(name)
    return _ALL[suffix.lower()]


def expanded_name(name: str, siblings: Collection[str] = ()) -> str:
    """Return the name of an archive's content: `X.SEN3.zip` -> `X.SEN3`.

    An archive whose stem is the name of a sibling, or the stem of another archive, keeps its suffix in a safe
    spelling: `a.zip` -> `a_zip`, `a.tar.gz` -> `a_tar_gz`. No two siblings are given one name, and the answer does
    not depend on their order.

    Args:
        name: of the archive, an asset key.
        siblings: every asset key of the item; `name` may be among them.

    Raises:
        UnsupportedArchive: `name` is that of no archive.
    """
    if not _suffix(name):
        raise UnsupportedArchive(name)
    names = {name, *siblings}
    known = _ALL if is_data_block(name) else _SUFFIXES  # that of a .zip is the same whether a .DBL is expanded or not
    archives = sorted(other for other in names if _suffix(other, known))
    stems = [_stem(archive) for archive in archives]
    free = {stem for stem in stems if stem not in names and stems.count(stem) == 1}
    if _stem(name) in free:
        return _stem(name)
    taken = names | free
    for archive in archives:
        spelling = _spelling(archive, taken)
        taken.add(spelling)
        if archive == name:
            break
    return spelling


def prefix_for(archive: Location, siblings: Collection[str] = ()) -> Location:
    """Return the prefix that receives an archive's content: `s3://b/p/x.zip` -> `s3://b/p/x/`.

    An archive in a folder of its own name needs no second one: `s3://b/p/x.tgz/x.tgz` -> `s3://b/p/x/`.

    Raises:
        UnsupportedArchive: the key is that of no archive.
    """
    parent, _, name = archive.key.rpartition("/")
    if parent.rpartition("/")[2] == name:
        archive = Location(archive.bucket, f"{dirname(parent)}/{name}".lstrip("/"))
    return prefix_beside(archive, siblings)


def prefix_beside(archive: Location, siblings: Collection[str] = ()) -> Location:
    """Return the prefix beside an archive, whatever the folder of both is called: an item's folder is its own.

    Raises:
        UnsupportedArchive: the key is that of no archive.
    """
    parent, slash, name = archive.key.rpartition("/")
    return Location(archive.bucket, f"{parent}{slash}{expanded_name(name, siblings)}/")


def manifest_for(prefix: Location) -> Location:
    """Return where the manifest of a prefix is, beside it: `s3://b/p/x/` -> `s3://b/p/x.manifest.json`."""
    return Location(prefix.bucket, prefix.key.rstrip("/") + MANIFEST_SUFFIX)


def _suffix(name: str, known: Mapping[str, Format] = _ALL) -> str:
    base = name.rpartition("/")[2]
    lower = base.lower()
    return next((base[-len(suffix) :] for suffix in known if lower.endswith(suffix) and lower != suffix), "")


def _stem(name: str) -> str:
    return name.removesuffix(_suffix(name))


def _spelling(archive: str, taken: Collection[str]) -> str:
    spelling = _stem(archive) + _suffix(archive).replace(".", "_")
    while spelling in taken:
        spelling += "_"
    return spelling
