"""The ways of expanding one archive, each measured in a process of its own, without its start and its imports."""

import os
import resource
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import boto3
import obstore

from shared.archives import Rules, expand, prefix_for
from shared.archives.contents import Contents
from shared.archives.reading import ArchiveReader
from shared.settings import Settings
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from tests.benchmarks.corpora import Content
from tests.benchmarks.harness import s5cmd

_PART = 8 * 2**20
_AT_ONCE = 64
_MEMORY = b"".join(Content().blocks(_PART))


def project(settings: Settings, archive: Location, _sizes: list[int]) -> None:
    """This project."""
    expand(ObjectStore(settings), archive, prefix_for(archive), Rules.from_settings(settings))


def null(settings: Settings, archive: Location, _sizes: list[int]) -> None:
    """This project's reading and expanding, and nothing written."""
    store, rules = ObjectStore(settings), Rules.from_settings(settings)
    stored = store.head(archive)
    assert stored is not None
    with ArchiveReader(store, archive, stored, rules.memory * 3 // 8) as reader:
        for file in Contents(reader, archive.key, "", rules, "flat").files():
            for _ in file.chunks:
                pass


def reference(settings: Settings, archive: Location, _sizes: list[int]) -> None:
    """The reference's algorithm, written anew: download, extract to disk, nested ones too, upload one by one."""
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_access_key.get_secret_value(),
    )
    prefix = prefix_for(archive)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, Path(archive.key).name), Path(folder, "content")
        client.download_file(archive.bucket, archive.key, str(source))
        _extract(source, target)
        for path in sorted(target.rglob("*")):
            if path.is_file():
                client.upload_file(str(path), prefix.bucket, prefix.key + path.name)


def _extract(source: Path, target: Path) -> None:
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            archive.extractall(target)  # noqa: S202 - our own archive
    else:
        with tarfile.open(source) as archive:
            archive.extractall(target, filter="data")  # our own archive
    source.unlink()
    for nested in [path for path in target.rglob("*") if path.suffix in (".tar", ".tgz", ".gz")]:
        _extract(nested, nested.parent / "nested")


def command_line(settings: Settings, archive: Location, _sizes: list[int]) -> None:
    """The best command line: s5cmd down, unzip or tar, s5cmd up."""
    prefix = prefix_for(archive)
    with tempfile.TemporaryDirectory() as folder:
        name = Path(archive.key).name
        script = (
            'set -e; "$S5" cp "$FROM" "$NAME" >log; mkdir out; '
            + ('unzip -q "$NAME" -d out; ' if name.endswith(".zip") else 'tar -xzf "$NAME" -C out; ')
            + 'find out -name "*.tar.gz" | while read -r n; do tar -xzf "$n" -C out; rm "$n"; done; '
            + '"$S5" cp "out/*" "$TO" >log'
        )
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "S5": s5cmd(),
            "S3_ENDPOINT_URL": settings.s3_endpoint,
            "AWS_REGION": settings.s3_region,
            "AWS_ACCESS_KEY_ID": settings.s3_access_key_id.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": settings.s3_secret_access_key.get_secret_value(),
            "NO_PROXY": "127.0.0.1",
            "FROM": archive.href,
            "TO": prefix.href,
            "NAME": name,
        }
        subprocess.run(["/bin/sh", "-c", script], cwd=folder, env=environ, check=True)  # noqa: S603


def store(settings: Settings, archive: Location, sizes: list[int]) -> None:
    """The raw store: objects of the same sizes and of the same kind of bytes from memory, without a digest of ours.

    The kind matters: SeaweedFS compresses what it can, and then takes half as much CPU again as for noise.
    """
    objects = ObjectStore(settings)
    target = objects._bucket(archive)
    prefix = prefix_for(archive).key

    def put(number: int, size: int) -> None:
        if size <= _PART:
            obstore.put(target, f"{prefix}{number}", _MEMORY[:size], use_multipart=False)
            return
        with obstore.open_writer(target, f"{prefix}{number}", buffer_size=_PART, max_concurrency=4) as writer:
            for start in range(0, size, _PART):
                writer.write(_MEMORY[: min(_PART, size - start)])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for future in [pool.submit(put, number, size) for number, size in enumerate(sizes) if size <= _PART]:
            future.result()
    for number, size in enumerate(sizes):
        if size > _PART:
            put(number, size)


WAYS: dict[str, Callable[[Settings, Location, list[int]], None]] = {
    "project": project,
    "reference": reference,
    "cli": command_line,
    "null": null,
    "store": store,
}


def measure(way: str, settings: Settings, archive: Location, sizes: list[int], answer: Connection) -> None:
    """Do it once, in a process that has done nothing yet; answers with seconds, CPU seconds and MiB of memory."""
    before, cpu = time.perf_counter(), _cpu()
    WAYS[way](settings, archive, sizes)
    wall = time.perf_counter() - before
    rss = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    answer.send({"wall": wall, "cpu": _cpu() - cpu, "rss": rss})


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
