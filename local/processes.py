"""Child processes that end with us, also when we are killed with SIGKILL.

On Linux the kernel kills a child as soon as the thread that started it is gone, so start children from a thread
that lives as long as they shall: the main one. Elsewhere a child is killed when this interpreter exits.
"""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from local.errors import StackError

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
_TAIL_LINES = 15


@dataclass(frozen=True)
class Child:
    """A process that we started.

    Attributes:
        name: what it is called in errors and in the name of its log.
        popen: the process; it leads a session and a process group of its own.
        log: the file that receives its standard output and error.
    """

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def stop(self, grace: float) -> None:
        """Ask it to end (SIGTERM), wait for `grace` seconds, then kill what is left of its group (SIGKILL)."""
        stop_all([self], grace)

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def _kill_group(self) -> None:
        atexit.unregister(self._kill_group)
        with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


def stop_all(children: Iterable[Child], grace: float) -> None:
    """Stop several children at once.

    Args:
        children: those to stop; one that has ended already is fine.
        grace: seconds that all of them together have between SIGTERM and SIGKILL.
    """
    stopping = list(children)
    deadline = time.monotonic() + grace
    with ExitStack() as kill:  # runs for each child even if Ctrl-C ends the waiting
        for child in stopping:
            kill.callback(child._kill_group)
            child.popen.terminate()
        for child in stopping:
            with suppress(subprocess.TimeoutExpired):
                child.popen.wait(max(0.0, deadline - time.monotonic()))


def start(
    name: str,
    argv: Sequence[str | Path],
    environ: Mapping[str, str],
    folder: Path,
    log: Path,
    stdin: str = "",
) -> Child:
    """Start a child that ends with the calling thread.

    Args:
        name: what it is called in errors.
        argv: the command line; other users can read it, so it never holds a secret.
        environ: the child's whole environment.
        folder: its working directory.
        log: the file that its standard output and error are appended to.
        stdin: what it reads on standard input, at most what a pipe holds (64 KiB): the place for secrets.

    Raises:
        StackError: the program cannot be run.
    """
    try:
        with log.open("ab") as output:
            popen = subprocess.Popen(  # noqa: S603  # the programs are ours
                [os.fspath(part) for part in argv],
                env=dict(environ),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal reaches us only, and we stop the children in order
                preexec_fn=_tie_to_parent(),
            )
    except OSError as error:
        raise StackError(f"cannot start {name}: {error}") from error
    child = Child(name, popen, log)
    if sys.platform != "linux":
        atexit.register(child._kill_group)
    _feed(popen, stdin)
    return child


def wait_until(ready: Callable[[], bool], child: Child, timeout: float) -> None:
    """Wait until a child does its work.

    Args:
        ready: tells whether it does; called again and again, so it answers fast.
        child: the process that is waited for.
        timeout: seconds to wait.

    Raises:
        StackError: the child has ended or the time is over; holds the end of its log.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        with suppress(subprocess.TimeoutExpired):
            code = child.popen.wait(_POLL_SECONDS)
            raise StackError(f"{child.name} ended with status {code} while starting:\n{child.tail()}")
        if time.monotonic() > deadline:
            raise StackError(f"{child.name} was not ready after {timeout:g} s:\n{child.tail()}")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nothing listens on, each one different.

    Another program may take one before it is used; the child that then cannot bind says so in its log.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def is_free(port: int) -> bool:
    """Tell whether a port of the loopback address can be bound."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _tie_to_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork, where loading is safe

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return tie


def _feed(popen: subprocess.Popen[bytes], text: str) -> None:
    assert popen.stdin is not None  # noqa: S101  # we asked for a pipe
    with suppress(BrokenPipeError), popen.stdin:  # a child that is gone already is found by wait_until
        popen.stdin.write(text.encode())
