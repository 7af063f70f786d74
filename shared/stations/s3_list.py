"""A public bucket of EOF files, such as `s1-orbits`: listed without credentials, each key an item by its name.

Amazon S3, ListObjectsV2: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote
from xml.etree.ElementTree import Element

import httpx

from shared.errors import Busy, ItemFailed, Refused, Rejected, Retryable
from shared.http.answers import shown
from shared.http.api import LONGEST_PROBE
from shared.http.probes import Fault, Finding
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.item import Found
from shared.stac.search import Cql2
from shared.stations.config import S3ListConfig
from shared.stations.eof import EofName
from shared.stations.judging import found_of, judged
from shared.stations.limits import Limits
from shared.stations.scope import EARLIEST, NOTHING, Scope, scope_of
from shared.stations.station import Station
from shared.texts import printable
from shared.times import format_instant
from shared.xml import parse_xml

_MD5: Final = re.compile(r'"?([0-9a-fA-F]{32})"?')
"""The ETag of an object that was uploaded in one part is its MD5; one with `-N` is of N parts, and is no MD5."""

_TYPE: Final = re.compile(r"[A-Z0-9]{4}_([A-Z0-9_]{10})_[A-Z0-9_]{4}")
_MEASURED: Final = frozenset({"OPER_AUX_POEORB_OPOD", "OPER_AUX_RESORB_OPOD"})
"""Orbits that are computed from what was measured: they are generated after the end of their validity."""

_CLOCKS: Final = timedelta(days=1)
"""How much earlier all the same. How late is not bounded: a precise orbit of 2019 was generated anew in 2021."""

_BEHIND_DIGITS: Final = ":"
_NO_MARKS: Final = str.maketrans("", "", "-:Z")
_FAULTS: Final = {"station-unavailable": Fault.UNAVAILABLE, "station-bad-answer": Fault.BAD_ANSWER}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Entry:
    key: str
    size: str
    etag: str


@dataclass(frozen=True)
class _Keys:
    entries: list[_Entry]
    token: str
    """To go on with; empty where this is the last page."""


class S3ListStation(Station):
    """A public bucket with keys such as `AUX_POEORB/NAME.EOF`."""

    def __init__(self, name: str, config: S3ListConfig, settings: Settings, limits: Limits | None = None) -> None:
        """Prepare, as `Station` says."""
        super().__init__(name, config, settings, limits)
        self._page_size = config.page_size

    def probe(self, suspected: Fault) -> Finding | None:
        """Return what is wrong with the bucket, or None; it is asked for a page of one key."""
        try:
            self._read(self._url("1", ""), LONGEST_PROBE)
        except Refused as error:
            return Finding(Fault.REFUSED, error.reason) if suspected is Fault.REFUSED else None
        except (Busy, ItemFailed, Rejected):
            return None  # the limits of the station let nothing go now, or it sends us elsewhere
        except Retryable as error:
            fault = _FAULTS.get(error.code)
            return Finding(fault, error.reason) if fault in (suspected, Fault.UNAVAILABLE) else None
        return None

    def search(self, search: Cql2, deadline: float | None = None, tries: int = 1) -> Iterator[Found]:
        """Yield what a search finds, as `Station` says.

        The filter decides which names are listed; then each item is judged by it. A key that is not the name of an EOF
        file with dates of the calendar is not offered.
        """
        yield from judged(
            self._offered(scope_of(search.filter, _of_id), deadline, tries), search, self._settings.max_items
        )

    def _offered(self, scope: Scope, deadline: float | None, tries: int) -> Iterator[Found]:
        others: list[str] = []
        for prefix in _prefixes(scope):
            for entry in self._listed(prefix, scope, deadline, tries):
                file = EofName.of(entry.key.rpartition("/")[2])
                if file is not None:
                    yield found_of(file.feature(self._asset(entry)), self.name)
                elif not entry.key.endswith("/"):  # what a console makes a folder of
                    others.append(entry.key)
        if others:
            example = printable(others[0])[:200]
            _log.warning("the bucket of %s has %s keys that are no EOF files, as %s", self.name, len(others), example)

    def _asset(self, entry: _Entry) -> Json:
        asset: Json = {"href": f"{self.api.url}/{quote(entry.key)}", "file:size": entry.size}
        if md5 := _MD5.fullmatch(entry.etag):
            asset["file:checksum"] = f"d50110{md5[1].lower()}"
        return asset

    def _listed(self, prefix: str, scope: Scope, deadline: float | None, tries: int) -> Iterator[_Entry]:
        """Yield the keys below a prefix, without most of those that were generated at another time.

        Keys are in the order of their UTF-8, so by satellite and instant of generation. What lies before the next key
        that is wanted is jumped over.

        Raises:
            Retryable: `station-bad-answer`, the keys are not in order: then some might be missed.
        """
        start, last, token = _first_wanted(prefix, scope), "", ""
        target = start
        while True:
            page = self._keys(prefix, start, token, deadline, tries)
            tries = self._settings.attempts
            for entry in page.entries:
                if entry.key <= last or not entry.key.startswith(prefix):
                    raise self._bad_answer(f"{printable(entry.key)[:200]!r} is out of order, or of another prefix")
                last = entry.key
                target = max(target, _next_wanted(last, scope))
                if last > target:
                    yield entry
            if not page.token:
                return
            if page.token == token:
                raise self._bad_answer("its pages lead in a circle")
            start, token = (target, "") if target > max(start, last) else ("", page.token)

    def _keys(self, prefix: str, start: str, token: str, deadline: float | None, tries: int) -> _Keys:
        url = self._url(str(self._page_size), prefix, start, token)
        return self._asked(lambda wait: self._read(url, wait), deadline, tries)

    def _url(self, size: str, prefix: str, start: str = "", token: str = "") -> str:
        query = {
            "list-type": "2",
            "max-keys": size,
            "prefix": prefix,
            "start-after": start,
            "continuation-token": token,
        }
        return f"{self.api.url}/?{httpx.QueryParams({name: value for name, value in query.items() if value})}"

    def _read(self, url: str, wait: float | None) -> _Keys:
        try:
            root = parse_xml(self.api.content(url, wait))
        except ValueError as error:
            raise self._bad_answer(str(error)) from None
        if root.tag != "ListBucketResult":
            raise self._bad_answer(f"its root is {root.tag[:40]!r}, and not ListBucketResult")
        is_last = root.findtext("IsTruncated", "false").strip() != "true"
        token = "" if is_last else root.findtext("NextContinuationToken", "")
        if not is_last and not token:
            raise self._bad_answer("it is not the last page, and has no NextContinuationToken")
        return _Keys([_entry(each) for each in root.findall("Contents")], token)

    def _bad_answer(self, problem: str) -> Retryable:
        return Retryable("station-bad-answer", f"{shown(self.api.url)} gives no list of a bucket: {problem}")


def _entry(contents: Element) -> _Entry:
    key, size, etag = (contents.findtext(name, "") for name in ("Key", "Size", "ETag"))
    return _Entry(key, size.strip(), etag.strip())


def _of_id(item_id: str) -> Scope:
    file = EofName.of(f"{item_id}.EOF")
    if file is None:
        return NOTHING
    return Scope(frozenset({file.product_type}), frozenset({file.mission}), file.created, file.created)


def _prefixes(scope: Scope) -> list[str]:
    """Return the prefixes of keys to list, in their order."""
    if scope.types is None:
        return [""]
    found = {
        f"{kind[1]}/{mission}_{name}_" if mission else f"{kind[1]}/"
        for name in scope.types
        if (kind := _TYPE.fullmatch(name))
        for mission in ([""] if scope.missions is None else scope.missions)
    }
    return sorted(found)


def _since(scope: Scope, product_type: str) -> datetime:
    """Return the instant of generation before which nothing of a type is wanted."""
    if product_type not in _MEASURED or scope.valid - EARLIEST < _CLOCKS:
        return scope.earliest
    return max(scope.earliest, scope.valid - _CLOCKS)


def _first_wanted(prefix: str, scope: Scope) -> str:
    """Return the key before which nothing below a prefix is wanted, where the prefix ends before the generation."""
    product_type = prefix.rpartition("/")[2][4:-1]
    return f"{prefix}{_stamp(_since(scope, product_type))}" if product_type else ""


def _next_wanted(key: str, scope: Scope) -> str:
    """Return a key before which nothing is wanted, as far as a key that is listed says; empty where it is wanted."""
    folder, slash, name = key.rpartition("/")
    file = EofName.of(name)
    if file is None:
        return ""
    head = f"{folder}{slash}{file.mission}_{file.product_type}_"
    since = _since(scope, file.product_type)
    if file.created > scope.latest:
        return f"{head}{_BEHIND_DIGITS}"
    return f"{head}{_stamp(since)}" if file.created < since else ""


def _stamp(instant: datetime) -> str:
    """Spell an instant as names do, in whole seconds: rounded down."""
    return format_instant(instant.replace(microsecond=0)).translate(_NO_MARKS)
