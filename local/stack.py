"""The embedded stack: Valkey, SeaweedFS, a STAC server, an OData station and sample products, for one session.

Everything listens on the loopback address only, with credentials made at each start, and ends with the process
that started it, however that ends.
"""

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import httpx

from local import processes, samples, seaweed
from local.errors import StackError
from local.processes import LOOPBACK, Child
from local.seaweed import SeaweedFS
from local.stac import store
from local.stac.messages import Configuration, Traffic
from local.valkey import Fsync, Valkey

_PREFIX = "auxip-"
_READY_SECONDS = 30.0
_STOP_SECONDS = 3.0
_GRACE_SECONDS = 10.0
_EXIT_ON_SIGTERM = 128 + signal.SIGTERM
_PROJECT = Path(__file__).resolve().parent.parent

_STATIONS = """[station.local]
url = "{url}"

[station.local.auth]
kind = "api-key"
api_key = {{ file = "station_key" }}

[station.odata]
kind = "odata"
url = "{odata_url}/odata/v1"

[station.odata.auth]
kind = "oauth2-password"
token_url = "{odata_url}/oauth2/token"
client_id = "client"
client_secret = {{ file = "odata_client_secret" }}
username = "test"
password = {{ file = "odata_password" }}
"""

Rule = Mapping[str, object]


class Stack:
    """A context manager that runs the stack; enter it once, in the main thread.

    On the way out, also after an error, Ctrl-C or SIGTERM, it stops the processes that were started through it,
    then its own, and deletes its folder. What SIGKILL leaves behind is removed by the next start. Meanwhile NO_PROXY
    in the environment of this process names the loopback address, as S3 clients would send even that to a proxy.

    Attributes:
        collection: the catalog's collection, which exists and is empty.
        bucket: the S3 bucket, which exists and is empty.
        folder: a private folder for this stack's files; every process has its log in it.
    """

    collection = "aux"
    bucket = "aux"
    folder: Path

    def __init__(self, fsync: Fsync = "everysec", volumes: int = 0) -> None:
        """Prepare it.

        Args:
            fsync: Valkey's; `always` for who kills it and means to find again all that it has acknowledged.
            volumes: SeaweedFS's; 1 for who means to fill the store, 0 for as many as the disk has room for.
        """
        self._fsync = fsync
        self._volumes = volumes

    def __enter__(self) -> Self:
        """Start everything; a few seconds.

        Raises:
            StackError: a part cannot start; the others have been stopped.
        """
        with ExitStack() as undo:
            self._start(undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def environment(self) -> dict[str, str]:
        """The settings of workers and clients that use this stack; holds its credentials, but the station's key."""
        return {
            "AUXIP_REDIS_URL": self._valkey.url,
            "AUXIP_STATIONS_FILE": str(self.folder / "stations.toml"),
            "AUXIP_SECRETS_DIR": str(self.folder / "secrets"),
            "AUXIP_CATALOG_URL": f"{self._url}/catalog",
            "AUXIP_CATALOG_API_KEY": self._catalog_key,
            "AUXIP_S3_ENDPOINT": self._seaweed.endpoint,
            "AUXIP_S3_ACCESS_KEY_ID": self._seaweed.access_key_id,
            "AUXIP_S3_SECRET_ACCESS_KEY": self._seaweed.secret_access_key,
            "AUXIP_S3_BUCKET": self.bucket,
        }

    @property
    def station_url(self) -> str:
        """The station's STAC API, called `local` in the file of stations."""
        return f"{self._url}/auxip"

    @property
    def station_key(self) -> str:
        """The key that the station asks for as `x-api-key`."""
        return self._station_key

    @property
    def odata_url(self) -> str:
        """The service root of the station that speaks OData, called `odata` in the file of stations."""
        return f"{self._odata_url}/odata/v1"

    def odata_downloads(self) -> int:
        """How many files the station that speaks OData was asked for since its start."""
        return int(self._http.get(f"{self._odata_url}/downloads").raise_for_status().text)

    @property
    def children(self) -> tuple[Child, ...]:
        """Every process of the stack, in the order of their start."""
        return (self._valkey.child, self._seaweed.child, self._stac, self._odata, *self._started)

    def start_process(self, name: str, argv: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Start a process that ends before the stack does.

        It is asked to end with SIGTERM, together with the others that were started so, and killed with its whole
        process group 10 s later.

        Args:
            name: what it is called; its log is `NAME.log` in the stack's folder.
            argv: the command line, free of secrets.
            environ: its whole environment.

        Raises:
            StackError: the program cannot be run.
        """
        child = processes.start(name, argv, environ, self.folder, self.folder / f"{name}.log")
        self._started.append(child)
        return child

    def start_again(self, name: str) -> None:
        """Start a part of the stack that has ended: on its folder and its ports, with its data.

        Args:
            name: of the part, `valkey`, `seaweedfs`, `stac` or `odata`; it is usable once `wait` has returned.

        Raises:
            StackError: the program cannot be run.
        """
        match name:
            case "valkey":
                self._valkey.start_again()
            case "seaweedfs":
                self._seaweed.start_again()
            case "stac":
                self._stac = self._start_stac()
            case "odata":
                self._odata = self._start_odata()
            case _:
                raise StackError(f"the stack has no part {name!r}")

    def wait(self) -> None:
        """Wait until every part of the stack does its work.

        Raises:
            StackError: one does not within half a minute, or has ended.
        """
        self._valkey.wait(_READY_SECONDS)
        self._seaweed.wait(_READY_SECONDS)
        processes.wait_until(self._stac_answers, self._stac, _READY_SECONDS)
        processes.wait_until(self._odata_answers, self._odata, _READY_SECONDS)

    def set_store_full(self, full: bool) -> None:
        """Let the store refuse new objects, as if its disk were full, or take them again; for a stack of one volume.

        Raises:
            StackError: the store cannot be told.
        """
        self._seaweed.set_full(full)

    def set_station_faults(self, rules: Sequence[Rule]) -> None:
        """Replace the rules by which the station answers wrongly; see `local.stac.faults.Rule`.

        Raises:
            StackError: a rule makes no sense.
        """
        self._set_faults("auxip", self._station_key, rules)

    def set_catalog_faults(self, rules: Sequence[Rule]) -> None:
        """Replace the rules by which the catalog answers wrongly; see `local.stac.faults.Rule`.

        Raises:
            StackError: a rule makes no sense.
        """
        self._set_faults("catalog", self._catalog_key, rules)

    def station_traffic(self) -> Traffic:
        """What the station was asked for since the start."""
        answer = self._http.get(f"{self.station_url}/traffic", headers={"x-api-key": self._station_key})
        return Traffic(**answer.raise_for_status().json())

    def catalog_traffic(self, collection: str) -> dict[str, int]:
        """How many requests a collection has had since the start, by their kind: `GET item`, `POST bulk_items`."""
        answer = self._http.get(f"{self._url}/catalog/traffic", headers={"x-api-key": self._catalog_key})
        counts: dict[str, dict[str, int]] = answer.raise_for_status().json()
        return counts.get(collection, {})

    def _start(self, undo: ExitStack) -> None:
        undo.enter_context(_exit_on_sigterm())
        undo.enter_context(_loopback_without_proxy())
        _remove_leftovers()
        self.folder = undo.enter_context(_private_folder())
        valkey_port, stac_port, self._odata_port, *others = processes.free_ports(3 + seaweed.PORTS)
        self._url, self._odata_url = f"http://{LOOPBACK}:{stac_port}", f"http://{LOOPBACK}:{self._odata_port}"
        self._station_key, self._catalog_key = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._odata_password, self._odata_secret = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._write_stations()
        self._http = undo.enter_context(httpx.Client())
        self._valkey = Valkey(self._folder("valkey"), valkey_port, secrets.token_urlsafe(24), self._fsync)
        undo.callback(lambda: self._valkey.child.stop(_STOP_SECONDS))
        self._seaweed = SeaweedFS(self._folder("seaweedfs"), self.bucket, others, self._volumes)
        undo.callback(self._seaweed.stop, _STOP_SECONDS)
        self._configuration = self._prepare_stac(stac_port)
        self._stac = self._start_stac()
        undo.callback(lambda: self._stac.stop(_STOP_SECONDS))
        self._started: list[Child] = []
        undo.callback(lambda: processes.stop_all(self._started, _GRACE_SECONDS))
        self._offer_samples()  # while the others are starting
        self._odata = self._start_odata()
        undo.callback(lambda: self._odata.stop(_STOP_SECONDS))
        self.wait()

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _write_stations(self) -> None:
        folder = self._folder("secrets")
        secret_of = {
            "station_key": self._station_key,
            "odata_password": self._odata_password,
            "odata_client_secret": self._odata_secret,
        }
        for name, secret in secret_of.items():
            file = folder / name
            file.touch(mode=0o600)
            file.write_text(secret, "utf-8")
        stations = _STATIONS.format(url=self.station_url, odata_url=self._odata_url)
        (self.folder / "stations.toml").write_text(stations, "utf-8")

    def _prepare_stac(self, port: int) -> Configuration:
        configuration = Configuration(
            port=port,
            station_key=self._station_key,
            catalog_key=self._catalog_key,
            station=self.folder / "station.sqlite",
            catalog=self.folder / "catalog.sqlite",
            products=self._folder("products"),
        )
        for database, collection in (
            (configuration.station, samples.STATION_COLLECTION),
            (configuration.catalog, self.collection),
        ):
            store.create(database)
            with closing(store.Store(database)) as opened:
                opened.add_collection(_collection(collection))
        return configuration

    def _start_stac(self) -> Child:
        return processes.start(
            "stac",
            [sys.executable, "-m", "local.stac.server"],
            _stac_environment(),
            self.folder,
            self.folder / "stac.log",
            stdin=self._configuration.model_dump_json(),
        )

    def _start_odata(self) -> Child:
        given = {
            "port": self._odata_port,
            "password": self._odata_password,
            "client_secret": self._odata_secret,
            "products": str(self.folder / "odata.json"),
            "folder": str(self.folder / "products"),
        }
        return processes.start(
            "odata",
            [sys.executable, "-m", "local.odata.server"],
            _stac_environment(),
            self.folder,
            self.folder / "odata.log",
            stdin=json.dumps(given),
        )

    def _offer_samples(self) -> None:
        items = samples.write_samples(self.folder / "products", self.station_url)
        with closing(store.Store(self.folder / "station.sqlite")) as station:
            station.add_items(samples.STATION_COLLECTION, items)
        products = samples.odata_products(self.folder / "products")
        (self.folder / "odata.json").write_text(json.dumps(products), "utf-8")

    def _stac_answers(self) -> bool:
        try:
            answer = self._http.get(self.station_url, headers={"x-api-key": self._station_key})
        except httpx.TransportError:
            return False
        return answer.is_success

    def _odata_answers(self) -> bool:
        try:
            return self._http.get(f"{self._odata_url}/odata/v1/").status_code == httpx.codes.UNAUTHORIZED
        except httpx.TransportError:
            return False

    def _set_faults(self, api: str, key: str, rules: Sequence[Rule]) -> None:
        answer = self._http.put(f"{self._url}/{api}/faults", json=list(rules), headers={"x-api-key": key})
        if not answer.is_success:
            raise StackError(f"these rules make no sense: {answer.text}")


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(_EXIT_ON_SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _loopback_without_proxy() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    for name, value in before.items():
        os.environ[name] = f"{value},{LOOPBACK}" if value else LOOPBACK
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _private_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and folder.lstat().st_uid == os.getuid() and not _is_alive(int(pid)):
            seaweed.remove_sockets(folder / "seaweedfs")
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stac_environment() -> dict[str, str]:
    # Little of our environment: stac-fastapi takes names as common as ROOT_PATH for its settings.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    names = {f"STAC_FASTAPI_{part}": "local" for part in ("TITLE", "DESCRIPTION", "LANDING_ID", "VERSION")}
    return kept | names | {"PYTHONPATH": str(_PROJECT)}


def _collection(collection_id: str) -> store.Json:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": collection_id,
        "description": "Auxiliary products, for trying out and testing.",
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
    }
