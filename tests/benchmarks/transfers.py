"""The ways of bringing many objects from a station into S3, each measured without its start and its imports."""

import multiprocessing
import os
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import boto3
import requests

from shared.context import Context
from shared.settings import Settings
from shared.stac.item import Asset
from shared.storage.location import Location
from tests.benchmarks.harness import Measured, s5cmd


@dataclass(frozen=True)
class Job:
    """What to bring: `count` times the object at `url`, of this size and MD5, below `prefix`; and how many at once."""

    url: str
    count: int
    size: int
    md5: str
    prefix: Location
    at_once: int

    def target(self, number: int) -> Location:
        return Location(self.prefix.bucket, f"{self.prefix.key}{number:05}")


def project(settings: Settings, job: Job) -> Measured:
    """This project's transfer, verified as in its step, in as many processes as a worker of the queue has.

    As under Celery's prefork pool, they stand before the work comes, and each takes the next object when it is free.
    """
    processes = multiprocessing.get_context("fork")
    begin = processes.Barrier(job.at_once + 1)
    numbers: multiprocessing.SimpleQueue[int | None] = processes.SimpleQueue()
    used: multiprocessing.SimpleQueue[float] = processes.SimpleQueue()
    arguments = (settings, job, numbers, begin, used)
    workers = [processes.Process(target=_work, args=arguments) for _ in range(job.at_once)]
    for worker in workers:
        worker.start()
    begin.wait()
    before = time.perf_counter()
    for number in [*range(job.count), *[None] * job.at_once]:
        numbers.put(number)
    cpu = sum(used.get() for _ in workers)
    wall = time.perf_counter() - before
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit("a transfer failed, see above")
    return {"wall": wall, "cpu": cpu}


def _work(
    settings: Settings,
    job: Job,
    numbers: "multiprocessing.SimpleQueue[int | None]",
    begin: Barrier,
    used: "multiprocessing.SimpleQueue[float]",
) -> None:
    context = Context(settings)
    transfer = context.transfer()
    context.store.head(job.prefix)  # connected, as a process that has done one item is
    asset = Asset.model_validate({"href": job.url, "file:size": job.size, "file:checksum": job.md5})
    begin.wait()
    cpu = time.process_time()
    try:
        while (number := numbers.get()) is not None:
            transfer.fetch(asset, job.target(number), lambda _: None)
    finally:
        used.put(time.process_time() - cpu)
        context.close()


def reference(settings: Settings, job: Job) -> Measured:
    """The reference's way, written anew: one after another, an answer is streamed into an upload, nothing verified."""
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_access_key.get_secret_value(),
    )
    before, cpu = time.perf_counter(), _cpu()
    with requests.Session() as session:
        for number in range(job.count):
            target = job.target(number)
            with session.get(job.url, stream=True, timeout=30) as answer:
                answer.raise_for_status()
                client.upload_fileobj(answer.raw, target.bucket, target.key)
    return {"wall": time.perf_counter() - before, "cpu": _cpu() - cpu}


def command_line(settings: Settings, job: Job) -> Measured:
    """The best command line: `curl` into `s5cmd pipe`, as many at once as this project."""
    environ = {
        "PATH": os.environ["PATH"],
        "S5": s5cmd(),
        "URL": job.url,
        "TO": job.prefix.href,
        "S3_ENDPOINT_URL": settings.s3_endpoint,
        "AWS_REGION": settings.s3_region,
        "AWS_ACCESS_KEY_ID": settings.s3_access_key_id.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_access_key.get_secret_value(),
        "NO_PROXY": "127.0.0.1",
    }
    one = 'curl -sSf "$URL" | "$S5" --log error pipe "$TO$0"'
    names = "\n".join(job.target(number).key.removeprefix(job.prefix.key) for number in range(job.count))
    argv = ["xargs", "-P", str(job.at_once), "-n", "1", "sh", "-c", one]
    before, cpu = time.perf_counter(), _cpu()
    subprocess.run(argv, input=names.encode(), env=environ, check=True)  # noqa: S603
    return {"wall": time.perf_counter() - before, "cpu": _cpu() - cpu}


WAYS: dict[str, Callable[[Settings, Job], Measured]] = {
    "project": project,
    "reference": reference,
    "cli": command_line,
}


def measure(way: str, settings: Settings, job: Job, answer: Connection) -> None:
    """Do it once; answers with seconds, CPU seconds, and MiB of memory of the largest process."""
    answer.send({**WAYS[way](settings, job), "rss": _rss()})


def _rss() -> float:
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
