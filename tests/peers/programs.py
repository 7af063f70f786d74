"""The environments of the peers: `.peers/NAME`, made from `requirements/peer-NAME.txt`."""

import fcntl
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
_POSTGIS = Path("/usr/share/postgresql/15/extension/postgis.control")


def has_postgresql() -> bool:
    """Return whether Debian's PostgreSQL 15 with PostGIS is installed."""
    return (POSTGRESQL / "postgres").exists() and _POSTGIS.exists()


def programs(name: str) -> Path:
    """Return the folder of the programs of a peer; `./test` and `.ci/run` have made its environment before."""
    (ROOT / ".peers").mkdir(exist_ok=True)
    with (ROOT / ".peers" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        script = f"set -eu; . scripts/environment.sh; ensure_peer {name}"
        subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, check=True)
    return ROOT / ".peers" / name / "bin"
