import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import processes
from local.errors import StackError
from local.processes import Child

Starter = Callable[..., Child]
# Both say that they are ready and then wait for a signal.
POLITE = "import signal; print('ready', flush=True); signal.pause()"
STUBBORN = (
    "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork();"
    "print('ready', os.getpid(), flush=True); signal.pause()"
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    started = []

    def starter(code: str, stdin: str = "") -> Child:
        argv = [sys.executable, "-c", code]
        started.append(processes.start("probe", argv, {}, tmp_path, tmp_path / "probe.log", stdin=stdin))
        return started[-1]

    yield starter
    processes.stop_all(started, 0)


def says(child: Child, text: str, times: int = 1) -> Callable[[], bool]:
    return lambda: child.tail().count(text) >= times


def test_a_child_is_asked_to_end_first(start: Starter) -> None:
    child = start(POLITE)
    processes.wait_until(says(child, "ready"), child, 10)
    child.stop(10)
    assert child.popen.returncode == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd")
def test_a_child_that_does_not_listen_is_killed_with_its_group(start: Starter) -> None:
    child = start(STUBBORN)
    processes.wait_until(says(child, "ready", times=2), child, 10)
    members = [int(line.split()[1]) for line in child.tail().splitlines()]
    ends = [os.pidfd_open(pid) for pid in members]
    child.stop(0.1)
    for end in ends:
        wait_for(end)
        os.close(end)
    assert child.popen.returncode == -signal.SIGKILL


def wait_for(pidfd: int) -> None:
    assert select.select([pidfd], [], [], 10)[0]


def test_stopping_a_child_that_has_ended_is_no_error(start: Starter) -> None:
    child = start("")
    child.popen.wait(10)
    child.stop(0)
    assert child.popen.returncode == 0


def test_several_children_share_their_grace(start: Starter) -> None:
    children = [start(STUBBORN) for _ in range(3)]
    for child in children:
        processes.wait_until(says(child, "ready", times=6), child, 10)
    before = time.monotonic()
    processes.stop_all(children, 0.4)
    assert 0.4 <= time.monotonic() - before < 1.2


def test_a_child_leads_a_session_of_its_own(start: Starter) -> None:
    child = start(POLITE)
    assert os.getsid(child.popen.pid) == child.popen.pid


def test_a_child_reads_its_standard_input(start: Starter) -> None:
    child = start("print(input()[::-1])", stdin="terces")
    child.popen.wait(10)
    assert child.tail() == "secret"


def test_the_end_of_a_child_while_it_starts_shows_its_log(start: Starter) -> None:
    child = start("import sys; sys.exit('the port is taken')")
    with pytest.raises(StackError, match="probe ended with status 1 while starting:\nthe port is taken"):
        processes.wait_until(lambda: False, child, 10)


def test_a_child_that_is_never_ready_shows_its_log(start: Starter) -> None:
    child = start(POLITE)
    processes.wait_until(says(child, "ready"), child, 10)
    with pytest.raises(StackError, match=r"probe was not ready after 0\.1 s:\nready"):
        processes.wait_until(lambda: False, child, 0.1)


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"cannot start probe: .*no-such-program"):
        processes.start("probe", ["/no-such-program"], {}, tmp_path, tmp_path / "probe.log")


def test_free_ports_differ() -> None:
    ports = processes.free_ports(50)
    assert len(set(ports)) == 50
