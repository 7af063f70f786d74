"""The workers, gates, beat and Flower of one machine, as children of an embedded stack."""

import os
import secrets
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from local.processes import Child, free_ports, wait_until
from local.stack import Stack
from shared.errors import Rejected
from shared.settings import PREFIX
from workers.queues import QUEUES, Queue

_PINGS = 60
_FLOWER_SECONDS = 60.0


@dataclass(frozen=True)
class Flower:
    """Where Flower is and who may see it."""

    url: str
    user: str
    password: str


def adopt(stack: Stack, extra: dict[str, str] | None = None) -> None:
    """Make this process a client of the stack: settings of another deployment must not be mixed into it."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update({**stack.environment(), **(extra or {})})


def start_workers(stack: Stack) -> list[Child]:
    """Start one worker for each queue."""
    return [start_worker(stack, queue) for queue in QUEUES]


def start_worker(stack: Stack, queue: Queue, extra: dict[str, str] | None = None) -> Child:
    """Start a worker of one queue; `extra` is added to its environment."""
    options = [
        "worker",
        "--queues",
        ",".join(queue.lists),
        "--pool",
        queue.pool,
        "--concurrency",
        str(queue.concurrency),
        "--hostname",
        f"{queue.name}@%h",
        "--without-mingle",
        "--without-gossip",
        "--loglevel",
        "INFO",
    ]
    return _celery(stack, f"worker-{queue.name}", options, extra)


def start_beat(stack: Stack, name: str = "beat", extra: dict[str, str] | None = None) -> Child:
    """Start beat, which sends the sweeps of the settings' file; `extra` is added to its environment."""
    return _celery(stack, name, ["beat", "--loglevel", "INFO"], extra)


def start_gate(stack: Stack, name: str = "gate", extra: dict[str, str] | None = None) -> Child:
    """Start a gate, which lets requests of other systems in; `extra` is added to its environment."""
    argv = [sys.executable, "-m", "workers.cli", "gate"]
    return stack.start_process(name, argv, {**os.environ, **(extra or {})})


def start_flower(stack: Stack) -> tuple[Child, Flower]:
    """Start Flower on a free port, with credentials made now, and wait until it answers.

    Start it after the workers: it asks them once for the lists that they read, and shows no other.
    """
    (port,) = free_ports(1)
    flower = Flower(f"http://127.0.0.1:{port}", "auxip", secrets.token_urlsafe(16))
    options = ["flower", "--address=127.0.0.1", f"--port={port}"]
    # From the environment: a command line is there for every user to read.
    access = {"FLOWER_BASIC_AUTH": f"{flower.user}:{flower.password}"}
    child = _celery(stack, "flower", options, access)
    wait_until(lambda: _answers(flower.url), child, _FLOWER_SECONDS)
    return child, flower


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthcheck").is_success
    except httpx.TransportError:
        return False


def wait_for_workers(children: list[Child]) -> None:
    """Wait until a worker of each queue answers."""
    from workers.app import app

    for _ in range(_PINGS):
        check(children)
        if len(app.control.ping(timeout=1, limit=len(QUEUES)) or ()) >= len(QUEUES):
            return
    raise Rejected("workers-silent", f"the workers did not answer within {_PINGS} s; their logs are with the stack's")


def check(children: list[Child]) -> None:
    """Make sure that every child is alive.

    Raises:
        Rejected: `process-ended`, with the last lines of its log.
    """
    for child in children:
        status = child.popen.poll()
        if status is not None:
            raise Rejected("process-ended", f"{child.name} ended with status {status}:\n{child.tail()}")


def env_file(stack: Stack, flower: Flower) -> Path:
    """Write what another shell needs to a file that only its owner reads; returns its path.

    It has this process's settings, the credentials of the station and of Flower, and `auxip` on the PATH.
    """
    path = stack.folder / "auxip.env"
    path.touch(mode=0o600)
    values = {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIX)} | {
        "STATION_URL": stack.station_url,
        "STATION_API_KEY": stack.station_key,
        "FLOWER_URL": flower.url,
        "FLOWER_USER": flower.user,
        "FLOWER_PASSWORD": flower.password,
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    folder = shlex.quote(str(_command(stack).parent))
    path.write_text("\n".join([*lines, f'export PATH={folder}:"$PATH"']) + "\n", "utf-8")
    return path


def _command(stack: Stack) -> Path:
    """Write the command `auxip` into a folder that has nothing else: a shell keeps its own `python` beside it."""
    command = stack.folder / "bin" / "auxip"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m workers.cli "$@"\n', "utf-8")
    command.chmod(0o700)
    return command


def _celery(stack: Stack, name: str, arguments: list[str], extra: dict[str, str] | None = None) -> Child:
    argv = [sys.executable, "-m", "celery", "--app", "workers.app:app", "--quiet", *arguments]
    return stack.start_process(name, argv, {**os.environ, **(extra or {})})
