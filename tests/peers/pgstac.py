"""pgSTAC behind stac-fastapi, with transactions and bulk transactions, for one test session."""

import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import httpx

from local import processes
from local.processes import LOOPBACK, Child
from tests.peers.postgres import PostgreSQL, cpu_seconds

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_WORLD = {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}


class PgStac:
    """A STAC API on the loopback address.

    Attributes:
        url: of the API; it asks for no credentials.
        postgres: the server below it.
        database: of that server.
    """

    def __init__(self, postgres: PostgreSQL, programs: Path, database: str = "pgstac") -> None:
        self.postgres = postgres
        self.database = database
        self._programs = programs
        (self._port,) = processes.free_ports(1)
        self.url = f"http://{LOOPBACK}:{self._port}"
        self._log = postgres.folder / f"{database}.log"
        self._spent = 0.0
        postgres.make_database(database)
        self._run("pypgstac", "migrate")
        self.start()

    def start(self) -> None:
        """Start the API at its port, and wait until it answers."""
        argv: list[str | Path] = [self._programs / "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory"]
        options = ["--host", LOOPBACK, "--port", str(self._port), "--no-use-colors"]
        environ = {**self.postgres.environment(self.database), "ENABLE_TRANSACTIONS_EXTENSIONS": "TRUE"}
        self._child = processes.start("pgstac", [*argv, *options], environ, self.postgres.folder, self._log)
        processes.wait_until(self._answers, self._child, _READY_SECONDS)

    def stop(self) -> None:
        """End the API; its database stays."""
        self._spent += cpu_seconds(self._child.popen.pid)
        self._child.stop(_STOP_SECONDS)

    def restart(self) -> None:
        """End the API and start it again: whoever talks to it loses its connection."""
        self.stop()
        self.start()

    def restart_all(self) -> None:
        """End the API and its database, and start both again."""
        self.stop()
        self.postgres.stop()
        self.postgres.start_again()
        self.start()

    @property
    def child(self) -> Child:
        """The process of the API."""
        return self._child

    def sql(self, statement: str) -> list[str]:
        """Run a statement in the database, and return its rows as lines, with `|` between the columns."""
        return self.postgres.sql(self.database, statement)

    def cpu_seconds(self) -> float:
        """Seconds of CPU that the API and the database have used; compare two of them without a restart between."""
        return self._spent + cpu_seconds(self._child.popen.pid) + self.postgres.cpu_seconds()

    def requests(self) -> list[str]:
        """What the API was asked for since its first start, in order: `POST /search 200`."""
        lines = re.findall(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3})', self._log.read_text(errors="replace"))
        return [" ".join(line) for line in lines]

    def new_collection(self, name: str = "") -> str:
        """Make an empty collection, and return its name."""
        name = name or f"aux-{uuid.uuid4().hex[:8]}"
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
        described = {"id": name, "description": "of one test", "license": "other", "extent": extent, "links": []}
        self.call("POST", "/collections", {"type": "Collection", "stac_version": "1.1.0", **described})
        return name

    def add_items(self, collection: str, items: list[dict[str, Any]]) -> None:
        """Write items into a collection; one without a geometry gets the world's, as pgSTAC refuses null."""
        world = {"geometry": _WORLD, "bbox": [-180, -90, 180, 90]}
        whole = [item if item.get("geometry") else {**item, **world} for item in items]
        body = {item["id"]: {**item, "collection": collection} for item in whole}
        self.call("POST", f"/collections/{collection}/bulk_items", {"items": body, "method": "upsert"})

    def item(self, collection: str, item_id: str) -> dict[str, Any]:
        """Return an item as the API shows it."""
        shown: dict[str, Any] = self.call("GET", f"/collections/{collection}/items/{item_id}").json()
        return shown

    def items(self, collection: str) -> dict[str, dict[str, Any]]:
        """Return all items of a collection, at most 10,000, by their ids."""
        body = {"collections": [collection], "limit": 10_000}
        return {item["id"]: item for item in self.call("POST", "/search", body).json()["features"]}

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Ask the API for something that it does not refuse."""
        answer = httpx.request(method, f"{self.url}{path}", json=body, timeout=60, trust_env=False)
        assert answer.is_success, answer.text
        return answer

    def _run(self, program: str, *arguments: str) -> None:
        environ = self.postgres.environment(self.database)
        argv = [str(self._programs / program), *arguments]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url, trust_env=False).is_success
        except httpx.TransportError:
            return False
