"""PostgreSQL with PostGIS, as Debian packages them, for one test session."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from local import processes
from local.processes import LOOPBACK, Child
from tests.peers.programs import POSTGRESQL

_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_USER = "postgres"
_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
}


class PostgreSQL:
    """A context manager that runs a server on the loopback address, with its data in a folder that is deleted.

    PostgreSQL refuses to run as root, so root runs it as the user of Debian's package.

    Attributes:
        folder: of the data, and of the logs of whoever uses the server.
        port: that it listens on.
    """

    def __enter__(self) -> Self:
        # The name is that of the embedded stack's folders: the next stack removes what SIGKILL has left.
        self.folder = Path(tempfile.mkdtemp(prefix=f"auxip-{os.getpid()}-peers-"))
        self.folder.chmod(0o755)
        try:
            self._data = self._make_data()
            (self.port,) = processes.free_ports(1)
            self._child = self._start()
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_child"):
            self.stop()
        shutil.rmtree(self.folder)

    @property
    def child(self) -> Child:
        """The server's first process."""
        return self._child

    def environment(self, database: str) -> dict[str, str]:
        """The variables by which clients find a database."""
        access = {"PGHOST": LOOPBACK, "PGPORT": str(self.port), "PGUSER": _USER, "PGPASSWORD": "unused"}
        return {**access, "PGDATABASE": database, "PATH": os.environ["PATH"]}

    def make_database(self, name: str) -> None:
        """Make an empty database with PostGIS."""
        self.sql("postgres", f"CREATE DATABASE {name}")
        self.sql(name, "CREATE EXTENSION postgis")

    def sql(self, database: str, statement: str) -> list[str]:
        """Run a statement, and return its rows as lines, with `|` between the columns."""
        argv = [str(POSTGRESQL / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]
        done = subprocess.run(argv, env=self.environment(database), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def stop(self) -> None:
        """End it as an administrator does who does not wait for its clients."""
        self._child.popen.send_signal(signal.SIGINT)
        try:
            self._child.popen.wait(_STOP_SECONDS)
        finally:
            self._child.stop(0)

    def start_again(self) -> None:
        """Start it on its data and its port, and wait until it answers."""
        self._child = self._start()
        self._wait()

    def cpu_seconds(self) -> float:
        """Seconds of CPU that its processes have used, those that have ended as well."""
        return cpu_seconds(self._child.popen.pid)

    def _make_data(self) -> Path:
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(data, user.pw_uid, user.pw_gid)
        options = ["-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "-U", _USER, "--no-sync"]
        argv = [*_as_server(), POSTGRESQL / "initdb", "-D", data, *options]
        subprocess.run(argv, cwd="/", env={"PATH": os.environ["PATH"]}, check=True, capture_output=True)
        return data

    def _start(self) -> Child:
        options = [f"--{name}={value}" for name, value in {**_OPTIONS, "port": str(self.port)}.items()]
        # It is asked to end when this process does; a SIGKILL would leave its shared memory.
        argv = [*_as_server(), "--pdeathsig", "INT", POSTGRESQL / "postgres", "-D", self._data, *options]
        environ = {"PATH": os.environ["PATH"]}
        return processes.start("postgresql", argv, environ, Path("/"), self.folder / "postgresql.log")

    def _wait(self) -> None:
        argv = [str(POSTGRESQL / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        processes.wait_until(lambda: subprocess.run(argv, check=False).returncode == 0, self._child, _READY_SECONDS)


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process and its children have used, those that have ended as well."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return 0.0
    own = sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


def _as_server() -> list[str | Path]:
    """The beginning of a command line that runs it as the user that may."""
    if os.getuid() != 0:
        return ["setpriv"]
    return ["setpriv", "--reuid", _USER, "--regid", _USER, "--clear-groups"]
