import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from obstore.store import S3Store

from local import processes, seaweed
from local.errors import StackError
from local.processes import Child
from local.stack import Stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

OWNER = """
import json, os, signal, sys
from local.stack import Stack
with Stack() as stack:
    stack.start_process("idle", [sys.executable, "-c", "import signal; signal.pause()"], os.environ)
    pids = [child.popen.pid for child in stack.children]
    print(json.dumps({"pids": pids, "folder": str(stack.folder)}), flush=True)
    signal.pause()
"""
TCP_LISTEN = "0A"


@dataclass
class Owner:
    """Another process that runs a stack, and what that stack consists of."""

    popen: subprocess.Popen[str]
    folder: Path
    pids: list[int]
    ports: set[int]
    sockets: list[Path]
    ends: list[int]

    def end(self, by: signal.Signals) -> int:
        self.popen.send_signal(by)
        return self.popen.wait(20)

    def wait_for_its_children(self) -> None:
        for pidfd in self.ends:
            assert select.select([pidfd], [], [], 10)[0], "a child outlives its owner"


@pytest.fixture
def owner() -> Iterator[Owner]:
    argv = [sys.executable, "-c", OWNER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as popen:  # noqa: S603
        assert popen.stdout is not None
        told = json.loads(popen.stdout.readline())
        folder, pids = Path(told["folder"]), told["pids"]
        ports = {port for _, port in listeners(pids)}
        sockets = [Path(line) for line in (folder / "seaweedfs" / "sockets").read_text().splitlines()]
        ends = [os.pidfd_open(pid) for pid in pids]
        yield Owner(popen, folder, pids, ports, sockets, ends)
        popen.kill()
    for pidfd in ends:
        os.close(pidfd)


def listeners(pids: Iterable[int]) -> set[tuple[str, int]]:
    """Addresses (in the kernel's spelling) and ports of the TCP sockets on which processes listen."""
    inodes = {inode for pid in pids for inode in socket_inodes(pid)}
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    local = [row[1].split(":") for row in rows if row[3] == TCP_LISTEN and row[9] in inodes]
    return {(address, int(port, 16)) for address, port in local}


def socket_inodes(pid: int) -> set[str]:
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            links.append(str(entry.readlink()))
    return {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def pids_of(stack: Stack) -> list[int]:
    return [child.popen.pid for child in stack.children]


def store_of(stack: Stack) -> S3Store:
    environ = stack.environment()
    return S3Store(
        environ["AUXIP_S3_BUCKET"],
        endpoint=environ["AUXIP_S3_ENDPOINT"],
        access_key_id=environ["AUXIP_S3_ACCESS_KEY_ID"],
        secret_access_key=environ["AUXIP_S3_SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True},
    )


def test_the_environment_names_every_service(stack: Stack) -> None:
    assert set(stack.environment()) == {
        *("AUXIP_REDIS_URL", "AUXIP_STATIONS_FILE", "AUXIP_SECRETS_DIR", "AUXIP_CATALOG_URL"),
        *("AUXIP_CATALOG_API_KEY", "AUXIP_S3_ENDPOINT", "AUXIP_S3_ACCESS_KEY_ID", "AUXIP_S3_SECRET_ACCESS_KEY"),
        "AUXIP_S3_BUCKET",
    }


def test_nothing_listens_beyond_the_loopback_address(stack: Stack) -> None:
    assert {address for address, _ in listeners(pids_of(stack))} == {"0100007F"}


def test_no_credential_stands_on_a_command_line(stack: Stack) -> None:
    environ = stack.environment()
    credentials = [value for name, value in environ.items() if name.endswith(("KEY", "KEY_ID"))]
    credentials.append(stack.station_key)
    credentials.append(str(urlsplit(environ["AUXIP_REDIS_URL"]).password))
    shown = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids_of(stack))
    assert not [credential for credential in credentials if credential in shown]


def test_the_folder_is_private(stack: Stack) -> None:
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700


def test_valkey_answers_who_has_the_password(stack: Stack) -> None:
    with redis.Redis.from_url(stack.environment()["AUXIP_REDIS_URL"]) as client:
        assert client.ping()


def test_valkey_refuses_who_has_no_password(stack: Stack) -> None:
    url = urlsplit(stack.environment()["AUXIP_REDIS_URL"])
    with socket.create_connection(("127.0.0.1", url.port or 0), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")


def test_valkey_keeps_its_keys_when_memory_runs_out(stack: Stack) -> None:
    with redis.Redis.from_url(stack.environment()["AUXIP_REDIS_URL"], decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_an_object_is_written_read_and_listed(stack: Stack) -> None:
    store = store_of(stack)
    store.put("item/first.bin", b"content")
    assert bytes(store.get("item/first.bin").bytes()) == b"content"
    assert store.head("item/first.bin")["size"] == 7
    assert [each["path"] for each in store.list("item/").collect()] == ["item/first.bin"]
    store.delete("item/first.bin")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/aux/any"), ("PUT", "/aux/any"), ("PUT", "/mine")])
def test_anonymous_s3_requests_are_refused(stack: Stack, method: str, path: str) -> None:
    answer = httpx.request(method, stack.environment()["AUXIP_S3_ENDPOINT"] + path)
    assert answer.status_code == 403


def test_no_http_port_gives_an_object_to_who_has_no_credentials(stack: Stack) -> None:
    store = store_of(stack)
    store.put("private.bin", b"not for everyone")
    for _, port in listeners(pids_of(stack)):
        for path in ("/aux/private.bin", "/buckets/aux/private.bin"):
            with suppress(httpx.TransportError):  # the port speaks no HTTP/1.1
                assert b"not for everyone" not in httpx.get(f"http://127.0.0.1:{port}{path}").content
    store.delete("private.bin")


def test_a_further_process_writes_its_log_into_the_folder(stack: Stack) -> None:
    child = stack.start_process("greeter", [sys.executable, "-c", "print('hello')"], {})
    assert child.popen.wait(10) == 0
    assert (stack.folder / "greeter.log").read_text() == "hello\n"


def test_every_process_ends_when_the_owner_is_killed(owner: Owner) -> None:
    owner.end(signal.SIGKILL)
    owner.wait_for_its_children()
    assert all(is_refused(port) for port in owner.ports)


@pytest.mark.long
def test_the_next_start_removes_what_a_killed_owner_left(owner: Owner) -> None:
    owner.end(signal.SIGKILL)
    owner.wait_for_its_children()
    assert owner.folder.exists()
    with Stack():
        assert not owner.folder.exists()
        assert not [each for each in owner.sockets if each.exists()]


@pytest.mark.parametrize(("by", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_ends_the_stack_and_removes_its_folder(owner: Owner, by: signal.Signals, status: int) -> None:
    assert owner.end(by) == status
    owner.wait_for_its_children()
    assert all(is_refused(port) for port in owner.ports)
    assert not owner.folder.exists()
    assert not [each for each in owner.sockets if each.exists()]


@pytest.mark.long
def test_an_exception_ends_the_stack() -> None:
    running = Stack()
    with pytest.raises(ZeroDivisionError), running:
        raise ZeroDivisionError
    assert not [child.name for child in running.children if child.popen.poll() is None]
    assert not running.folder.exists()


@pytest.mark.long
def test_a_part_that_cannot_start_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Child] = []
    start = processes.start

    def recording(*args: object, **options: object) -> Child:
        started.append(start(*args, **options))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(processes, "start", recording)
    monkeypatch.setattr(seaweed, "_binary", lambda: Path("/bin/false"))
    with pytest.raises(StackError, match="seaweedfs ended with status 1 while starting"), Stack():
        pass
    assert [child.name for child in started] == ["valkey", "seaweedfs", "stac", "odata"]
    assert not [child.name for child in started if child.popen.poll() is None]
    assert not started[0].log.parent.parent.exists()
