"""A public bucket: ListObjects in both versions, and its objects, as Amazon S3 answers them without credentials."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from xml.sax.saxutils import escape

from tests.stations.serving import Reply, Service, serving

_MOST = 1000


class Bucket:
    """Keys and contents; what it lists may be changed by a test.

    Attributes:
        url: where it is served.
        objects: contents by key.
        etags: of keys whose ETag is not their MD5.
        sizes: of keys whose size is stated wrongly.
        listing: answered in the place of the list, where there is one.
    """

    def __init__(self, name: str = "s1-orbits") -> None:
        self.name, self.url = name, ""
        self.objects: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.sizes: dict[str, str] = {}
        self.listing: list[Reply] = []

    def add(self, key: str, content: bytes = b"orbit") -> str:
        self.objects[key] = content
        return key

    def __call__(self, path: str, query: dict[str, str]) -> Reply:
        key = path.removeprefix("/")
        if not key:
            return self.listing.pop(0) if self.listing else self._list(query)
        if key not in self.objects:
            return Reply(b"<Error><Code>NoSuchKey</Code></Error>", 404)
        headers = {"ETag": f'"{self._etag(key)}"', "Content-Type": "binary/octet-stream"}
        return Reply(self.objects[key], headers=headers)

    def _list(self, query: dict[str, str]) -> Reply:
        second = query.get("list-type") == "2"
        size = min(int(query.get("max-keys", _MOST)), _MOST)
        after = query.get("continuation-token", "").removeprefix("token-") or query.get("start-after", "")
        after = after if second else query.get("marker", "")
        prefix = query.get("prefix", "")
        found = [key for key in sorted(self.objects, key=str.encode) if key.startswith(prefix) and key > after]
        shown, more = found[:size], len(found) > size
        parts = [f"<Name>{self.name}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{size}</MaxKeys>"]
        parts.append(f"<IsTruncated>{str(more).lower()}</IsTruncated>")
        if second and more:
            parts.append(f"<NextContinuationToken>token-{escape(shown[-1])}</NextContinuationToken>")
        parts += [self._contents(key) for key in shown]
        return listing("".join(parts))

    def _contents(self, key: str) -> str:
        size = self.sizes.get(key, str(len(self.objects[key])))
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>2025-01-26T11:25:04.000Z</LastModified>"
            f"<ETag>&quot;{self._etag(key)}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )

    def _etag(self, key: str) -> str:
        return self.etags.get(key) or hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()


def listing(content: str) -> Reply:
    """A list of a bucket with this content."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return Reply(f"{head}{content}</ListBucketResult>".encode(), headers={"Content-Type": "application/xml"})


def orbit_key(kind: str, mission: str, created: datetime, start: datetime, stop: datetime) -> str:
    """The key of an orbit file, such as POEORB."""
    stamps = [instant.strftime("%Y%m%dT%H%M%S") for instant in (created, start, stop)]
    return f"AUX_{kind}/{mission}_OPER_AUX_{kind}_OPOD_{stamps[0]}_V{stamps[1]}_{stamps[2]}.EOF"


def fill(bucket: Bucket, first: datetime, days: int, missions: tuple[str, ...] = ("S1A", "S1B")) -> None:
    """Add the orbits of so many days: a precise file a day 20 days later, a restituted one for each orbit."""
    for mission in missions:
        for day in range(days):
            noon = first + timedelta(days=day, hours=12)
            start = noon - timedelta(hours=13, seconds=18)
            created = noon + timedelta(days=20)
            bucket.add(orbit_key("POEORB", mission, created, start, start + timedelta(hours=26)))
            for orbit in range(3):
                begin = noon + timedelta(minutes=98 * orbit)
                stop = begin + timedelta(minutes=197)
                bucket.add(orbit_key("RESORB", mission, stop + timedelta(minutes=31), begin, stop))


@contextmanager
def serving_bucket(bucket: Bucket) -> Iterator[Service]:
    """Serve a bucket for the length of the block."""
    with serving(bucket) as service:
        yield service
