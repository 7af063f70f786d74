"""RS-Server's catalog and its AUXIP service, version 0.2, in local mode: without API keys, and with one user."""

import json
import subprocess
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx

from local import processes
from local.processes import LOOPBACK, Child
from tests.peers.postgres import PostgreSQL
from tests.stations.simulator import Simulator

USER = "operations"
"""The user that both services run for."""

_READY_SECONDS = 120.0
_STOP_SECONDS = 10.0
_DATABASE = "rs_server"
_LOOPBACK_STATION = "http://127.0.0.1:5000"
"""The station in the services' own example of a configuration."""


class RsServer:
    """Both services on the loopback address.

    Attributes:
        catalog_url: a STAC API with transactions.
        auxip_url: a STAC API that searches the station behind it.
        bucket: into which the catalog moves what is published.
    """

    bucket = "rs-catalog"

    def __init__(self, postgres: PostgreSQL, programs: Path) -> None:
        self._postgres = postgres
        self._programs = programs
        self._folder = postgres.folder / _DATABASE
        self._folder.mkdir()
        self._catalog_port, self._auxip_port = processes.free_ports(2)
        self.catalog_url = f"http://{LOOPBACK}:{self._catalog_port}/catalog"
        self.auxip_url = f"http://{LOOPBACK}:{self._auxip_port}/auxip"
        postgres.make_database(_DATABASE)
        self._children: dict[str, Child] = {}
        environ = postgres.environment(_DATABASE)
        subprocess.run([programs / "pypgstac", "migrate"], env=environ, check=True, capture_output=True)

    def start(self, store: dict[str, str], station: Simulator) -> None:
        """Start both services, and wait until they answer.

        Args:
            store: the AUXIP_S3_* settings of the store that the catalog moves objects in.
            station: that the AUXIP service searches.
        """
        self._s3 = boto3.client(
            "s3",
            endpoint_url=store["AUXIP_S3_ENDPOINT"],
            aws_access_key_id=store["AUXIP_S3_ACCESS_KEY_ID"],
            aws_secret_access_key=store["AUXIP_S3_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        self._s3.create_bucket(Bucket=self.bucket)
        (self._folder / "buckets.csv").write_text(f"*, *, *, 30, {self.bucket}\n")
        access = {
            "S3_ACCESSKEY": store["AUXIP_S3_ACCESS_KEY_ID"],
            "S3_SECRETKEY": store["AUXIP_S3_SECRET_ACCESS_KEY"],
            "S3_ENDPOINT": store["AUXIP_S3_ENDPOINT"],
            "S3_REGION": "us-east-1",
        }
        self._configure(station)
        self._catalog = self._service(access | self._database())
        self._start("catalog", "rs_server_catalog.main:app", self._catalog_port, self._catalog)
        self._start("auxip", "rs_server_adgs.fastapi.adgs_app:app", self._auxip_port, self._service({}))
        for name, url in (("catalog", f"{self.catalog_url}/"), ("auxip", self.auxip_url)):
            processes.wait_until(partial(_answers, url), self._children[name], _READY_SECONDS)

    def stop(self) -> None:
        """End both services."""
        processes.stop_all(list(self._children.values()), _STOP_SECONDS)

    def restart_catalog(self) -> None:
        """End the catalog and start it again: whoever talks to it loses its connection."""
        self._children["catalog"].stop(_STOP_SECONDS)
        self._start("catalog", "rs_server_catalog.main:app", self._catalog_port, self._catalog)
        processes.wait_until(partial(_answers, f"{self.catalog_url}/"), self._children["catalog"], _READY_SECONDS)

    def new_collection(self) -> str:
        """Make an empty collection of the user, and return its name."""
        name = f"aux-{uuid.uuid4().hex[:8]}"
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
        described = {"description": "of one test", "license": "other", "extent": extent, "links": [], "owner": USER}
        self.call("POST", "/collections", {"type": "Collection", "stac_version": "1.1.0", "id": name, **described})
        return name

    def item(self, collection: str, item_id: str) -> dict[str, Any]:
        """Return an item as the catalog shows it."""
        shown: dict[str, Any] = self.call("GET", f"/collections/{USER}:{collection}/items/{item_id}").json()
        return shown

    def items(self, collection: str) -> dict[str, dict[str, Any]]:
        """Return all items of a collection, by their ids."""
        body = {"collections": [f"{USER}_{collection}"], "limit": 1000}
        return {item["id"]: item for item in self.call("POST", "/search", body).json()["features"]}

    def unpublish(self, item_id: str) -> None:
        """Let the time of an item be over, and the catalog look for such items."""
        over = '{"published": "2020-01-01T00:00:00.000000Z", "expires": "2020-01-31T00:00:00.000000Z"}'
        content = f"jsonb_set(content, '{{properties}}', (content -> 'properties') || '{over}')"
        self.sql(f"UPDATE pgstac.items SET content = {content} WHERE id = '{item_id}'")  # noqa: S608
        url = f"{self.catalog_url.removesuffix('/catalog')}/data/lifecycle"
        httpx.get(url, timeout=60, trust_env=False).raise_for_status()

    def sql(self, statement: str) -> list[str]:
        """Run a statement in the catalog's database."""
        return self._postgres.sql(_DATABASE, statement)

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Ask the catalog for something that it does not refuse."""
        answer = httpx.request(method, f"{self.catalog_url}{path}", json=body, timeout=60, trust_env=False)
        assert answer.is_success, answer.text
        return answer

    def _configure(self, station: Simulator) -> None:
        """Write the services' configuration: their examples, with the station's address and credentials."""
        (examples,) = self._programs.parent.glob("lib/python*/site-packages/config")
        (self._folder / ".config").mkdir(exist_ok=True)
        stations = (examples / "adgs_ws_config.yaml").read_text().replace(_LOOPBACK_STATION, station.url)
        (self._folder / "stations.yaml").write_text(stations)
        authentication = {
            "auth_type": "oauth2",
            "token_url": f"{station.url}/oauth2/token",
            "grant_type": "password",
            "scope": None,
            "username": station.username,
            "password": station.password,
            "client_id": station.client_id,
            "client_secret": station.client_secret,
            "authorization": None,
        }
        service = {"name": "auxip", "url": station.url}
        source = {"domain": LOOPBACK, "service": service, "authentication": authentication}
        document = {"external_data_sources": {"adgs": source}}
        (self._folder / ".config" / "rs-server.yaml").write_text(json.dumps(document))  # JSON is YAML

    def _database(self) -> dict[str, str]:
        access = {"USER": "postgres", "PASS": "unused", "PORT": str(self._postgres.port)}
        hosts = dict.fromkeys(("HOST", "HOST_READER", "HOST_WRITER"), LOOPBACK)
        named = {f"POSTGRES_{name}": value for name, value in {**access, **hosts}.items()}
        named |= {"POSTGRES_DBNAME": _DATABASE, "POSTGRES_DB": _DATABASE}
        return named | self._postgres.environment(_DATABASE)

    def _service(self, more: dict[str, str]) -> dict[str, str]:
        return {
            **self._postgres.environment(_DATABASE),
            "HOME": str(self._folder),
            "RSPY_LOCAL_MODE": "1",
            "RSPY_LOCAL_CATALOG_MODE": "0",
            "RSPY_HOST_USER": USER,
            "RSPY_WORKING_DIR": str(self._folder),
            "BUCKET_CONFIG_FILE_PATH": str(self._folder / "buckets.csv"),
            "EODAG_ADGS_CONFIG": str(self._folder / "stations.yaml"),
            **more,
        }

    def _start(self, name: str, app: str, port: int, environ: dict[str, str]) -> None:
        argv: list[str | Path] = [self._programs / "uvicorn", app, "--host", LOOPBACK, "--port", str(port)]
        child = processes.start(f"rs-{name}", argv, environ, self._folder, self._folder / f"{name}.log")
        self._children[name] = child


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False
