"""Prefect as a contestant: a process of an interpreter that has it, with a server of its own for as long as it runs."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from local import processes
from tests.benchmarks.figures import Measured

_READY = 120.0
_DONE = 1800.0
_GRACE = 1.0
_SERVER = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",  # a server on the loopback address, which ends with its client
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(round(_READY)),
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def interpreter(given: str | None) -> str | None:
    """Return the interpreter that has Prefect: the one that was given, or this one; None where there is none."""
    return given or (sys.executable if find_spec("prefect") else None)


class Prefect:
    """A context manager that starts Prefect, which waits for the word to run its flows; see `prefect_flows`."""

    def __init__(self, python: str, folder: Path, asked: Sequence[tuple[str, int]]) -> None:
        """Describe it.

        Args:
            python: the interpreter.
            folder: for all files of the benchmark.
            asked: flows, and how many items each is to be run with.
        """
        self._python = python
        self._folder = folder / "prefect"
        self._asked = [f"{flow}:{items}" for flow, items in asked]

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._folder.mkdir()
            kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
            argv: list[str | Path] = [self._python, "-m", "tests.benchmarks.prefect_flows", self._folder, *self._asked]
            environ = {**kept, **_SERVER, "PREFECT_HOME": str(self._folder)}
            self._child = processes.start("prefect", argv, environ, Path.cwd(), self._folder / "prefect.log")
            undo.callback(lambda: self._child.stop(_GRACE))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def wait(self) -> None:
        """Wait until it could begin.

        Raises:
            StackError: it cannot.
        """
        processes.wait_until((self._folder / "ready").exists, self._child, _READY)

    def run(self) -> list[tuple[str, Measured]]:
        """Let it run, and return each flow's name and what it took.

        Raises:
            StackError: a flow has failed.
        """
        figures = self._folder / "figures.json"
        (self._folder / "go").touch()
        processes.wait_until(figures.exists, self._child, _DONE)
        self._child.stop(_GRACE)  # with its server: whoever is measured next has the machine alone
        told = json.loads(figures.read_text())
        return [(one["flow"], Measured(one["items"], one["seconds"], one["cpu"])) for one in told]
