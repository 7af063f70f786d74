"""Mutants: the product with one promise broken each. What the harness does not see in them it cannot see at all."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent.parent
_PARTS = ("workers", "shared", "local", "tests")
_SECONDS_PER_ROUND = 240


@dataclass(frozen=True)
class Mutant:
    """One change of the product.

    Attributes:
        name: on the command line.
        file: that is changed.
        original: a text that is in the file exactly once.
        changed: what stands in its place.
        kinds: of faults that are likeliest to show it.
        by_defaults: whether it shows only with the product's settings.
        rounds: at most.
    """

    name: str
    file: str
    original: str
    changed: str
    kinds: tuple[str, ...]
    by_defaults: bool = False
    rounds: int = 3

    def apply(self, root: Path) -> None:
        """Change a copy of the product.

        Raises:
            ValueError: the original text is not there exactly once: the mutant is out of date.
        """
        path = root / self.file
        source = path.read_text("utf-8")
        count = source.count(self.original)
        if count != 1:
            raise ValueError(f"mutant {self.name}: {self.file} has its original text {count} times")
        path.write_text(source.replace(self.original, self.changed), "utf-8")


@dataclass(frozen=True)
class Verdict:
    """Whether the harness has seen a mutant, by which checks of the oracle, and after how many rounds."""

    mutant: str
    seen: bool
    checks: list[str]
    rounds: int
    seconds: float


def judge_mutants(name: str, seed: int) -> Iterator[Verdict]:
    """Play rounds on each mutant, or on the one of that name, until one fails, and yield what came of it."""
    for mutant in MUTANTS:
        if name in ("", mutant.name):
            with TemporaryDirectory(prefix="mutant-") as folder:
                yield _verdict(mutant, Path(folder), seed)


def _verdict(mutant: Mutant, root: Path, seed: int) -> Verdict:
    for part in _PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    mutant.apply(root)
    began = time.monotonic()
    argv = [sys.executable, "-m", "tests.faults", "--seed", str(seed), "--rounds", str(mutant.rounds), "--json"]
    argv += ["--kinds", ",".join(mutant.kinds), "--until-one-fails", *(["--defaults"] if mutant.by_defaults else [])]
    played = subprocess.run(  # noqa: S603  # the program is ours
        argv,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        timeout=_SECONDS_PER_ROUND * mutant.rounds,
        check=False,
    )
    totals = json.loads(played.stdout.splitlines()[-1])
    found = totals["lost"] + totals["wrong"] + totals["hung"]
    return Verdict(mutant.name, found > 0, totals["checks"], totals["rounds"], round(time.monotonic() - began, 1))


MUTANTS = (
    Mutant(
        "claims-not-required",
        "shared/ledger/ledger.py",
        "if _claim(record).token == token]",
        "]",
        ("freeze-publication",),
        rounds=6,
    ),
    Mutant(
        "no-fence",
        "shared/ledger/scripts.py",
        "return token ~= '' and redis.call('HGET', lease, 'token') ~= token end",
        "return false end",
        ("freeze-transfer",),
        rounds=6,
    ),
    Mutant(
        "no-reconciler",
        "workers/tasks/runs.py",
        "publish(reconcile(context()), again=True)",
        "publish((), again=True)",
        ("purge-staging", "purge-catalog", "purge-decompress"),
    ),
    Mutant(
        "taken-and-not-recorded",
        "workers/transport.py",
        """redis.call('HSET', KEYS[1], ARGV[1], '[' .. raw .. ',"","' .. KEYS[i] .. '"]')""",
        "",
        ("kill-task",),
    ),
    Mutant(
        "deleted-before-published",
        "shared/steps/publish.py",
        "    item = _expanded_item(shown, record.expansions)\n",
        "    item = _expanded_item(shown, record.expansions)\n"
        "    for asset in item.assets.values():\n"
        "        delete_archive(context, asset)\n",
        ("catalog-no-writes",),
    ),
    Mutant(
        "answers-say-failed",
        "workers/tasks/replies.py",
        "answer = answer_of_error if failed else answer_of_result",
        "answer = answer_of_error",
        ("requests",),
    ),
    Mutant(
        "no-dead-letters",
        "shared/ledger/dead_letters.py",
        "local function park(dead, payloads, bytes, max_letters, max_bytes, payload, kind, code, reason, where)\n",
        "local function park(dead, payloads, bytes, max_letters, max_bytes, payload, kind, code, reason, where)\n"
        "  if true then return '0-0' end\n",
        ("same-items", "malformed", "requests"),
    ),
    Mutant(
        "properties-dropped",
        "shared/steps/publish.py",
        'item.properties["owner"] = run.request.owner',
        'item.properties = {"datetime": item.properties["datetime"], "owner": run.request.owner}',
        ("delay",),
    ),
    Mutant(
        "owner-dropped",
        "shared/steps/publish.py",
        'item.properties["owner"] = run.request.owner',
        'item.properties.pop("owner", None)',
        ("delay",),
    ),
    Mutant(
        "answers-twice",
        "shared/ledger/replies.py",
        "answer(KEYS[2], ARGV[2], ARGV[3], ARGV[4])",
        "answer(KEYS[2], ARGV[2], ARGV[3], ARGV[4])\nanswer(KEYS[2], ARGV[2], ARGV[3], ARGV[4])",
        ("requests",),
    ),
    Mutant(
        "outages-charged",
        "shared/runs/outages.py",
        "    if delay:\n        _record_wait(",
        "    if delay < 0:\n        _record_wait(",
        ("kill-catalog", "kill-store", "station-500", "catalog-500"),
        by_defaults=True,
    ),
)
