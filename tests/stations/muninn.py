"""SAR-MPC's service: Muninn records filtered by the parameters that its documentation shows, in pages."""

import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

from tests.stations.serving import Reply

_TESTS: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "product_type": lambda record, value: record["product_type"] == value,
    "product_type__in": lambda record, value: record["product_type"] in value.split(","),
    "sentinel1__mission": lambda record, value: record["sentinel1"]["mission"] == value,
    "validity_start__lte": lambda record, value: record["validity_start"] <= value,
    "adf__stop_time__gt": lambda record, value: record["adf"]["stop_time"] > value,
}


class Muninn:
    """The service.

    Attributes:
        records: in the order of the answer.
        contents: of files by the UUID of their record.
        replies: answered in the place of a page, where there are any.
        next_url: in the place of the link to the next page.
    """

    def __init__(self) -> None:
        self.url = ""
        self.records: list[dict[str, Any]] = []
        self.contents: dict[str, bytes] = {}
        self.replies: list[Reply] = []
        self.next_url: str | None = None

    def add(self, name: str, stop: str = "2100-01-01T00:00:00", content: bytes = b"aux", **fields: Any) -> None:
        """Add a product by its name, such as `S1A_AUX_CAL_V20140908T000000_G20190626T100201.SAFE.zip`."""
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        start, generated = (_spelled(part[1:16]) for part in name.split("_")[3:5])
        self.contents[key] = content
        self.records.append(
            {
                "uuid": key,
                "product_type": name[4:11],
                "product_name": name.removesuffix(".SAFE.zip"),
                "physical_name": name,
                "validity_start": start,
                "creation_date": generated,
                "remote_url": f"{self.url}/download/{key}/",
                "size": len(content),
                "hash": f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}",
                "sentinel1": {"mission": name[:3]},
                "adf": {"stop_time": stop, "active": True},
                **fields,
            }
        )

    def __call__(self, path: str, query: dict[str, str]) -> Reply:
        if path.startswith("/download/"):
            content = self.contents.get(path.removeprefix("/download/").strip("/"))
            return Reply(b"", 404) if content is None else Reply(content)
        if path != "/api/v1/":
            return Reply(b"", 404)
        return self.replies.pop(0) if self.replies else self._page(query)

    def _page(self, query: dict[str, str]) -> Reply:
        size, page = int(query.pop("page_size", "100")), int(query.pop("page", "1"))
        mode = query.pop("mode", "")
        unknown = set(query) - _TESTS.keys()
        if unknown:
            return Reply(json.dumps({"detail": f"unknown {unknown}"}).encode(), 400)
        found = [one for one in self.records if all(_TESTS[name](one, value) for name, value in query.items())]
        more = len(found) > page * size
        following = "&".join(f"{name}={value}" for name, value in {**query, "mode": mode, "page_size": size}.items())
        link = f"{self.url}/api/v1/?{following}&page={page + 1}" if more else None
        shown = found[(page - 1) * size : page * size]
        return as_json({"count": len(found), "next": self.next_url or link, "previous": None, "results": shown})


def as_json(body: object) -> Reply:
    return Reply(json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def _spelled(stamp: str) -> str:
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:15]}"
