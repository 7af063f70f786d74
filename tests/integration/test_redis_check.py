"""A command that cannot use Redis says in one line, within seconds, which part of the address is wrong."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from local.processes import free_ports
from local.valkey import Valkey
from shared.errors import AuxipError
from shared.ledger.check import check_redis
from shared.settings import PREFIX
from tests.tls import TlsProxy

SECONDS = 3
ROOT = Path(__file__).parents[2]
COMMANDS = (
    ("runs",),
    ("show", "abcdef"),
    ("cancel", "abcdef"),
    ("reconcile",),
    ("dead", "list"),
    ("sweeps",),
    ("sweep", "orbits"),
    ("stage", "--start", "2024-03-25", "--end", "2024-03-26", "--product-type", "X"),
    ("expand", "s3://aux/auxip/x.zip"),
    ("audit", "aux"),
)


def port_of(valkey: Valkey) -> int:
    return int(valkey.url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def tls(broker: Valkey, tmp_path: Path) -> Iterator[TlsProxy]:
    folder = tmp_path / "tls"
    folder.mkdir()
    with closing(TlsProxy(folder, port_of(broker))) as proxy:
        yield proxy


@pytest.fixture
def dumb() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def web() -> Iterator[int]:
    """The port of a server that answers as a web server does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.recv(100)
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])


def refusal(url: str) -> str:
    began = time.monotonic()
    with pytest.raises(AuxipError) as caught:
        check_redis(url)
    assert time.monotonic() - began < SECONDS
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_an_address_that_is_right_passes(broker: Valkey, tls: TlsProxy) -> None:
    check_redis(broker.url)
    check_redis(f"rediss://default:password@127.0.0.1:{tls.port}/0?ssl_ca_certs={tls.ca}")


def test_a_host_without_a_server_is_named() -> None:
    (port,) = free_ports(1)
    assert refusal(f"redis://:secret@127.0.0.1:{port}/0").startswith(
        f"redis-unreachable: nothing listens at 127.0.0.1:{port}; "
    )


def test_a_host_name_that_is_unknown_is_named() -> None:
    said = refusal("redis://:secret@no-such-host.invalid:6379/0")
    assert said.startswith("redis-unreachable: ")
    assert "no-such-host.invalid" in said
    assert "host" in said


def test_a_host_that_never_answers_is_named(dumb: int) -> None:
    said = refusal(f"redis://:secret@127.0.0.1:{dumb}/0")
    assert said.startswith(f"redis-unreachable: 127.0.0.1:{dumb} does not answer within 2 s; ")


def test_a_wrong_password_is_named(broker: Valkey) -> None:
    for who in (":secret", "default:secret", "somebody:secret"):
        said = refusal(f"redis://{who}@127.0.0.1:{port_of(broker)}/0")
        assert said.startswith(f"redis-unauthorized: the server at 127.0.0.1:{port_of(broker)} refuses the password")


def test_a_missing_password_is_named(broker: Valkey) -> None:
    said = refusal(f"redis://127.0.0.1:{port_of(broker)}/0")
    assert said.startswith(f"redis-unauthorized: the server at 127.0.0.1:{port_of(broker)} asks for a password; ")


def test_a_server_with_tls_is_told_from_one_without(broker: Valkey, tls: TlsProxy) -> None:
    assert "speaks TLS; write rediss://" in refusal(f"redis://:secret@127.0.0.1:{tls.port}/0")
    assert "speaks no TLS; write redis://" in refusal(f"rediss://:secret@127.0.0.1:{port_of(broker)}/0")


def test_a_certificate_of_an_unknown_authority_is_named(tls: TlsProxy) -> None:
    said = refusal(f"rediss://:secret@127.0.0.1:{tls.port}/0")
    assert said.startswith(f"redis-tls: the certificate of 127.0.0.1:{tls.port} is not trusted: ")
    assert "ssl_ca_certs" in said


def test_a_database_that_the_server_does_not_have_is_named(broker: Valkey) -> None:
    said = refusal(broker.url.removesuffix("/0") + "/99")
    assert said.startswith("bad-setting: AUXIP_REDIS_URL names the database 99")


def test_what_is_no_redis_is_named(web: int) -> None:
    assert refusal(f"redis://:secret@127.0.0.1:{web}/0").startswith("redis-bad-answer: ")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The settings of a command whose Redis is not there."""
    (port,) = free_ports(1)
    (tmp_path / "stations.toml").write_text('[station.one]\nurl = "http://127.0.0.1:1"\n')
    (tmp_path / "sweeps.toml").write_text(
        '[sweep.orbits]\nevery = "1h"\nowner = "a"\ncollection = "aux"\nproduct_types = ["X"]\n'
        'start = "2024-03-25T09:00:00Z"\nend = "2024-03-25T09:25:00Z"\n'
    )
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        "PYTHONPATH": str(ROOT),
        "AUXIP_REDIS_URL": f"redis://default:secret@127.0.0.1:{port}/0",
        "AUXIP_STATIONS_FILE": str(tmp_path / "stations.toml"),
        "AUXIP_SWEEPS_FILE": str(tmp_path / "sweeps.toml"),
        "AUXIP_CATALOG_URL": "http://127.0.0.1:1",
        "AUXIP_S3_ENDPOINT": "http://127.0.0.1:1",
        "AUXIP_S3_ACCESS_KEY_ID": "a",
        "AUXIP_S3_SECRET_ACCESS_KEY": "b",
        "AUXIP_S3_BUCKET": "bucket",
    }


@pytest.mark.long
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_every_command_says_it_in_one_line(arguments: tuple[str, ...], environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "workers.cli", *arguments]
    # Far less than the half minute that a client waits for its server; the machine of a test may be busy.
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=15, check=False)  # noqa: S603

    assert ended.returncode == (2 if arguments[0] == "audit" else 1)
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("auxip: redis-unreachable: nothing listens at 127.0.0.1:")


@pytest.mark.long
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_every_command_says_it_to_a_program_as_json(arguments: tuple[str, ...], environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "workers.cli", *arguments, "--json"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=15, check=False)  # noqa: S603

    (line,) = ended.stdout.splitlines()
    said = json.loads(line)
    assert said["status"] == "failed"
    assert said["error"]["code"] == "redis-unreachable"
    assert said["error"]["reason"].startswith("nothing listens at 127.0.0.1:")


def test_the_embedded_servers_address_is_one_that_redis_cli_takes(broker: Valkey) -> None:
    """`redis://:PASSWORD@HOST` is not: redis-cli takes the empty name before the colon for the user's."""
    assert broker.url.startswith("redis://default:")
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        pytest.skip("neither redis-cli nor valkey-cli is installed")
    ended = subprocess.run(  # noqa: S603 - the system's own program
        [program, "--no-auth-warning", "-u", broker.url, "PING"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert ended.stdout == "PONG\n", ended.stderr
