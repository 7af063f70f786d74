"""An AUXIP station for tests: the embedded stack's, with subscriptions as ESA's interface has them, and with faults."""

import itertools
import json
import re
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

import httpx

from local.odata.manners import Manners
from local.odata.server import Server
from local.odata.service import Product, Refusal, Reply, Request, Service

DATA: Final = Path(__file__).parents[1] / "data" / "stations"
_SUBSCRIPTION: Final = re.compile(r"/Subscriptions\('?([0-9a-f-]+)'?\)(?:/OData\.CSC\.(Pause|Resume|Cancel))?")
_STATES: Final = {"Pause": "paused", "Resume": "running", "Cancel": "cancelled"}
_FORMS: Final = (
    r"(?P<Status>Status) eq OData\.CSC\.SubscriptionStatus'(\w+)'",
    r"(?P<SubmissionDate>SubmissionDate) ge (\S+)",
    r"(?P<NotificationEndpoint>NotificationEndpoint) eq '([^']*)'",
    r"contains\((?P<FilterParam>FilterParam),'([^']*)'\)",
)


def samples() -> list[Product]:
    """What real stations have answered."""
    products: list[Product] = json.loads((DATA / "products.json").read_text("utf-8"))
    return products


def product(number: int, published: str, **changes: Any) -> Product:
    """A made-up orbit with a validity of its own."""
    name = f"S1A_OPER_AUX_RESORB_OPOD_20240101T000000_V20240101T{number % 86400:06d}_20240102T000000"
    return {
        "Id": str(uuid.UUID(int=number)),
        "Name": f"{name}_{number:06d}.EOF",
        "ContentType": "application/octet-stream",
        "ContentLength": 3,
        "OriginDate": published,
        "PublicationDate": published,
        "EvictionDate": "",
        "Checksum": [{"Algorithm": "MD5", "Value": "900150983cd24fb0d6963f7d28e17f72", "ChecksumDate": published}],
        "ContentDate": {"Start": "2024-01-01T00:00:00.000Z", "End": "2024-01-02T00:00:00.000Z"},
        "Attributes": [
            {
                "@odata.type": "#OData.CSC.StringAttribute",
                "Name": "productType",
                "ValueType": "String",
                "Value": "AUX_RESORB",
            }
        ],
        **changes,
    }


class Simulator(Service):
    """A station that takes subscriptions as well, and a context manager that serves it on the loopback address.

    Attributes:
        url: below which `/Products` and `/oauth2/token` are.
        subscriptions: by their Id.
    """

    url: str

    def __init__(self, manners: Manners | None = None) -> None:
        super().__init__(manners, "test-password", "client-secret")
        self.subscriptions: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._served = Server(self).__enter__()
        self.url = self._served.url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._served.__exit__(kind, error, trace)

    @property
    def filters(self) -> list[str]:
        """The `$filter` of each search, in their order."""
        return [options.get("$filter", "") for options in self.searches]

    def offer_items(self, items: list[dict[str, Any]], folder: Path) -> None:
        """Offer the assets of STAC items as products; the file of one is named as its id in `folder`."""
        for item in items:
            for name, asset in item["assets"].items():
                product_id = re.findall(r"Products\(([0-9a-f-]+)\)", asset["href"])[0]
                self.offer(_product(product_id, name, asset, item["properties"]), folder / product_id)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer without a connection, for tests of one process."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = self.answer(Request(request.method, str(request.url), headers, request.content))
        return httpx.Response(reply.status, content=reply.body, headers={"content-type": reply.kind, **reply.headers})

    def _answer(self, request: Request) -> Reply:
        url = urlsplit(request.url)
        path = url.path.removeprefix("/odata/v1")
        if not path.startswith("/Subscriptions"):
            return super()._answer(request)
        self._require_token(request)
        if match := _SUBSCRIPTION.fullmatch(path):
            return self._subscription(match[1], match[2])
        if request.method == "POST":
            return self._subscribe(json.loads(request.body))
        wanted = dict(parse_qsl(url.query)).get("$filter", "")
        return _reply(200, {"value": [each for each in self.subscriptions.values() if _fulfils(each, wanted)]})

    def _subscribe(self, asked: dict[str, Any]) -> Reply:
        made = {
            "Id": str(uuid.uuid4()),
            "Status": "running",
            "SubmissionDate": "2026-11-25T00:00:00.000Z",
            "FilterParam": asked["FilterParam"],
            "NotificationEndpoint": asked["NotificationEndpoint"],
        }
        self.subscriptions[made["Id"]] = made
        return _reply(201, made)

    def _subscription(self, name: str, action: str | None) -> Reply:
        if name not in self.subscriptions:
            raise Refusal(404, "there is no such subscription")
        if action:
            self.subscriptions[name]["Status"] = _STATES[action]
        return _reply(200, self.subscriptions[name])


def _fulfils(subscription: dict[str, Any], wanted: str) -> bool:
    if not wanted:
        return True
    match = next(filter(None, (re.fullmatch(form, wanted) for form in _FORMS)), None)
    if match is None:
        raise Refusal(400, f"not understood: {wanted}")
    name, value = next(each for each in match.groupdict()), match[2]
    found = str(subscription[name])
    return {"SubmissionDate": found >= value, "FilterParam": value in found}.get(name, found == value)


def _reply(status: int, value: object) -> Reply:
    return Reply(status, json.dumps(value).encode())


def _product(product_id: str, name: str, asset: dict[str, Any], properties: dict[str, Any]) -> Product:
    attributes = {
        "productType": properties["product:type"],
        "platformShortName": properties["constellation"].upper(),
        "platformSerialIdentifier": properties["platform"][-1].upper(),
        "processingDate": properties["processing:datetime"],
        "processingCenter": "TEST",
    }
    return {
        "Id": product_id,
        "Name": name,
        "ContentType": asset["type"],
        "ContentLength": int(asset["file:size"]),
        "PublicationDate": properties["published"],
        "OriginDate": properties["created"],
        "EvictionDate": "2999-01-01T00:00:00.000Z",
        "Checksum": [{"Algorithm": "MD5", "Value": asset["file:checksum"], "ChecksumDate": properties["published"]}],
        "ContentDate": {"Start": properties["start_datetime"], "End": properties["end_datetime"]},
        "Attributes": [{"Name": key, "Value": value, "ValueType": "String"} for key, value in attributes.items()],
    }


def storm(count: int, published: str = "2026-11-25T00:00:00.000Z", first: int = 1) -> list[Product]:
    """Products that were all published in one instant."""
    return [product(number, published) for number in itertools.islice(itertools.count(first), count)]
