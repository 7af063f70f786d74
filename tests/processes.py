"""What a process has started, as /proc tells it; tests that use it run on Linux."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have started."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    """Those of the processes that still run; one that nobody has waited for is dead."""
    return {pid for pid in pids if _state(pid) not in ("", "Z")}


def cpu_of_tree(pid: int) -> float:
    """The seconds of CPU that a process has used, with all that it has started; of those that ended, its own count."""
    return sum(int(field) for each in (pid, *descendants(pid)) for field in _stat(each)[11:15]) / _TICKS


def _parent(entry: Path) -> int:
    fields = _stat(int(entry.name))
    return int(fields[1]) if fields else -1


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> list[str]:
    """State, parent, ...: what follows the command's name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def listening(pids: set[int]) -> set[str]:
    """The local addresses at which the processes listen, as /proc/net/tcp spells them."""
    inodes = {target for pid in pids for target in sockets(pid)}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}


def sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target.removeprefix("socket:[").removesuffix("]"))
    except OSError:
        return found
    return found
