"""Mutated archives: whatever comes in, it ends, within the limits, below the prefix, and by an error of ours.

`./test` runs a bounded number of cases, always the same. `FUZZ_CASES=1000000 FUZZ_SEED=1 ./test
tests/unit/archives/test_fuzz.py --timeout 0` runs others for longer; a failure names the case, which can be run alone.
"""

import io
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shared.archives import ArchiveFailed, FileSource, Inspection, Rules, expand, inspect, is_archive, manifest_for
from shared.archives.rules import Layout
from shared.settings import Settings
from shared.storage.location import Location
from tests.golden.cases import GOLDEN
from tests.unit.archives.conftest import PREFIX, MemoryObjects

SEEDS = sorted(path for path in GOLDEN.glob("*/*") if path.is_file() and is_archive(path.name))
CASES = int(os.environ.get("FUZZ_CASES", "1500"))
FIRST = int(os.environ.get("FUZZ_SEED", "0")) * 10**9
BATCHES = 10
SECONDS = 5.0
SLACK = 2 * 2**20
RULES = Rules(max_members=60, max_bytes=2**20, max_depth=3, max_spool=2**18)
Mutation = Callable[[random.Random, bytearray], None]


def flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    extreme = rng.choice((b"\0", b"\xff", b"\x7f\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"../", b"/", b"PK\1\2"))
    data[at : at + len(extreme)] = extreme


def cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def remove(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 4, 30, 512))]


def repeat(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    piece = data[at : at + rng.choice((1, 30, 46, 512, 2048))]
    data[at:at] = piece * rng.choice((1, 2, 50))


def move(rng: random.Random, data: bytearray) -> None:
    at, to = rng.randrange(len(data)), rng.randrange(len(data))
    data[to : to + 64] = data[at : at + 64]


MUTATIONS: tuple[Mutation, ...] = (flip, flip, overwrite, overwrite, cut, remove, repeat, move)


def mutated(case: int) -> tuple[Path, bytes]:
    rng = random.Random(case)  # noqa: S311 - the same case is the same archive
    seed = rng.choice(SEEDS)
    data = bytearray(seed.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            rng.choice(MUTATIONS)(rng, data)
    return seed, bytes(data)


def look(name: str, data: bytes, rules: Rules) -> Inspection:
    begun = time.monotonic()
    inspection = inspect(FileSource(io.BytesIO(data)), name, rules, PREFIX.key)
    assert time.monotonic() - begun < SECONDS, "it took too long"
    return inspection


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.parametrize("layout", ["flat", "tree"])
def test_a_mutated_archive_ends_within_the_limits_and_below_the_prefix(layout: Layout, batch: int) -> None:
    rules = replace(RULES, layout=layout)
    for case in range(FIRST + batch, FIRST + CASES, BATCHES):
        seed, data = mutated(case)
        inspection = look(seed.name, data, rules)
        assert inspection.size <= RULES.max_bytes + SLACK, f"case {case} of {seed}"
        assert len(inspection.members) <= RULES.max_members, f"case {case} of {seed}"
        for member in inspection.members:
            assert not {"", ".", ".."} & set(member.path.split("/")), f"case {case} of {seed}"
            assert not set(member.path) & set("\0\n\r\\"), f"case {case} of {seed}"


def expanded(store: MemoryObjects, archive: Location) -> bool:
    try:
        expand(store, archive, PREFIX, RULES)
    except ArchiveFailed:
        return False
    return True


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_mutated_archive_is_expanded_whole_or_leaves_nothing_as_was_foreseen(batch: int, settings: Settings) -> None:
    for case in range(FIRST + batch, FIRST + CASES // 5, BATCHES):
        seed, data = mutated(case)
        foreseen = look(seed.name, data, RULES)
        store = MemoryObjects(settings)
        archive = store.hold(f"owner/item/{seed.name}", data)
        refused = not expanded(store, archive)
        assert refused == foreseen.refused, f"case {case} of {seed}: {foreseen.problems}"
        sizes = {path: len(content) for path, content in store.content().items()}
        expected = {} if refused else {member.path: member.size for member in foreseen.members}
        assert sizes == expected, f"case {case} of {seed}"
        assert (store.head(manifest_for(PREFIX)) is None) == refused, f"case {case} of {seed}"
        assert store.get(archive, 2**24) == data
