"""Where an object is in S3, and what the store reports of it."""

import re
from dataclasses import dataclass
from typing import Self

from shared.errors import Rejected, Retryable


@dataclass(frozen=True)
class Location:
    """Where an object or a prefix is: `s3://bucket/key`. A prefix's key ends in a slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, href: str) -> Self:
        """Read an `s3://bucket/key` href.

        Raises:
            Rejected: `bad-href`, it is none, or its key has an empty, `.` or `..` segment.
        """
        match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", href, re.DOTALL)
        if not match or any(part in ("", ".", "..") for part in match[2].removesuffix("/").split("/")):
            raise Rejected("bad-href", f"{href[:200]!r} is no s3://bucket/key href")
        return cls(match[1], match[2])

    @property
    def href(self) -> str:
        """The location as an `s3://` href."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Stored:
    """What the store reports of an object: its key, its size in bytes, its ETag without quotes."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing: its key, its size in bytes, its ETag without quotes, when it was written (epoch)."""

    key: str
    size: int
    etag: str
    modified: float


def changed(location: Location) -> Retryable:
    """Return the error for an object that is not the one that its writer knows of."""
    return Retryable("s3-changed", f"{location.href} was written or deleted by somebody else meanwhile")
