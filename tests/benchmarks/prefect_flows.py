"""Flows and tasks of Prefect that do nothing, run by an interpreter that has Prefect and nothing of this project.

    python -m tests.benchmarks.prefect_flows FOLDER FLOW:ITEMS ...

writes the file `ready`, waits for the file `go`, runs each in its turn, and writes seconds and CPU to `figures.json`.

`steps`: each item goes through five tasks, in Prefect's default task runner, all items at once. It is the least that
Prefect can be asked for where each step of an item is to be recorded.
`reference`: one search task, then for each item a task that stages it and the flow that expands its archives: that one
is a flow in the reference, whose caller awaits it for one item after the other.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prefect import flow, task

from tests.processes import cpu_of_tree


@task(name="Auxip search")
def search(items: int) -> list[str]:
    """Find so many items."""
    return [f"{number:024x}" for number in range(items)]


@task(name="stage")
def stage(key: str) -> str:
    """Stage an item."""
    return key


@task(name="publish")
def publish(key: str) -> str:
    """Publish an item."""
    return key


@task(name="expand")
def expand(key: str) -> str:
    """Expand the archive of an item."""
    return key


@task(name="publish expanded")
def publish_expanded(key: str) -> str:
    """Publish an expanded item."""
    return key


@task(name="settle")
def settle(key: str) -> str:
    """Say how an item ended."""
    return key


@flow(name="steps")
def steps(items: int) -> None:
    """Five tasks for each item."""
    ended = []
    for key in search(items):
        future = stage.submit(key)
        for step in (publish, expand, publish_expanded, settle):
            future = step.submit(future)
        ended.append(future)
    for future in ended:
        future.result()


@flow(name="Auxip unzip and decompress")
async def unzip_decompress(key: str) -> str:
    """The archives of one item."""
    return key


@flow(name="Auxip staging")
async def reference(items: int) -> None:
    """A task and a flow for each item."""
    staged = [stage.submit(key) for key in search(items)]
    for future in staged:
        await unzip_decompress(future.result())


def main() -> None:
    """Start Prefect's server by first runs, and then do what is asked for as soon as there is a word to go."""
    folder, figures = Path(sys.argv[1]), []
    for run in FLOWS.values():
        run(1)
    (folder / "ready").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    for asked in sys.argv[2:]:
        name, _, number = asked.partition(":")
        begun, cpu = time.perf_counter(), cpu_of_tree(os.getpid())
        FLOWS[name](int(number))
        seconds, used = time.perf_counter() - begun, cpu_of_tree(os.getpid()) - cpu
        figures.append({"flow": name, "items": int(number), "seconds": seconds, "cpu": used})
    (folder / "figures").write_text(json.dumps(figures))
    (folder / "figures").rename(folder / "figures.json")


FLOWS: dict[str, Callable[[int], None]] = {"steps": steps, "reference": lambda items: asyncio.run(reference(items))}

if __name__ == "__main__":
    main()
