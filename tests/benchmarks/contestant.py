"""One contestant of the benchmark of the orchestration: a Valkey and workers of its own, measured while they work."""

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self, cast

from celery import Celery
from pydantic import JsonValue
from redis import Redis

from local import processes
from local.processes import LOOPBACK, Child
from local.valkey import Valkey
from shared.settings import PREFIX
from tests.benchmarks.figures import Measured, Peaks, Sample, peaks, total_size
from tests.benchmarks.shelves import FOLDER
from tests.processes import cpu_of_tree
from workers.queues import QUEUES, Queue

LEDGER = "auxip:*"
PROCESSES = 2
"""Of each worker: what it does here never waits, so more would only take turns."""

_READY = 60.0
_LONGEST = 7200.0
_SAMPLE_SECONDS = 0.25
_SHARE = 20
_QUIET = 0.4
_GRACE = 0.5
_POLL = 0.02


class Contestant:
    """A context manager that runs a server and one worker for each queue; it is ready when `wait` has returned.

    Attributes:
        url: of the server; holds its password.
        redis: a client of the server.
    """

    def __init__(self, name: str, app: str, folder: Path) -> None:
        """Describe it.

        Args:
            name: of its folder.
            app: what `celery -A` is given.
            folder: for all files of the benchmark.
        """
        self._name = name
        self._app = app
        self._shared = folder
        self._folder = folder / name

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._folder.mkdir()
            self._valkey = Valkey(self._folder, processes.free_ports(1)[0], secrets.token_urlsafe(24), "everysec")
            undo.callback(lambda: self._valkey.child.stop(1.0))
            self._valkey.wait(_READY)
            self.url = self._valkey.url
            self.redis = Redis.from_url(self.url, decode_responses=True)
            undo.callback(self.redis.close)
            self._workers = [self._start(queue) for queue in QUEUES]
            undo.callback(lambda: processes.stop_all(self._workers, _GRACE))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def wait(self) -> None:
        """Wait until every worker answers."""
        client = Celery(broker=self.url, broker_transport="kombu.transport.redis:Transport", set_as_current=False)
        deadline = time.monotonic() + _READY
        while len(client.control.ping(timeout=0.5, limit=len(QUEUES)) or ()) < len(QUEUES):
            self._check_until(deadline)
        client.close()

    def environment(self) -> dict[str, str]:
        """The settings of its workers: those of a deployment, with services that nobody listens at."""
        stations = self._folder / "stations.toml"
        stations.write_text(f'[station.free]\nurl = "http://{LOOPBACK}"\nallow_private = true\n')
        return {
            f"{PREFIX}REDIS_URL": self.url,
            f"{PREFIX}STATIONS_FILE": str(stations),
            f"{PREFIX}CATALOG_URL": f"http://{LOOPBACK}",
            f"{PREFIX}S3_ENDPOINT": f"http://{LOOPBACK}",
            f"{PREFIX}S3_ACCESS_KEY_ID": "none",
            f"{PREFIX}S3_SECRET_ACCESS_KEY": "none",
            f"{PREFIX}S3_BUCKET": "bench",
            f"{PREFIX}MAX_ITEMS": "1000000",
            FOLDER: str(self._shared),
        }

    def is_quiet(self) -> bool:
        """Whether no message waits on a queue or is in a worker's hands."""
        with self.redis.pipeline(transaction=True) as pipe:
            for name in (name for queue in QUEUES for name in queue.lists):
                pipe.llen(name)
            pipe.hlen("unacked")
            return not any(cast("list[int]", pipe.execute()))

    def wait_until_quiet(self) -> float:
        """Wait until no message is left; returns when that began, as of `time.perf_counter()`.

        A stock worker takes a message in two requests, and between them it is nowhere; so what looks quiet has to stay
        quiet for a while.
        """
        deadline, since = time.monotonic() + _LONGEST, None
        while since is None or time.perf_counter() - since < _QUIET:
            now = time.perf_counter()
            since = (since or now) if self.is_quiet() else None
            self._check_until(deadline)
            time.sleep(_POLL)
        return since

    def wait_for_result(self, task_id: str) -> JsonValue:
        """Wait until a task has a result, and return it.

        Raises:
            SystemExit: it has failed, or it never ends.
        """
        deadline = time.monotonic() + _LONGEST
        while not (told := self.redis.get(f"celery-task-meta-{task_id}")):
            self._check_until(deadline)
            time.sleep(_POLL)
        meta = json.loads(str(told))
        if meta["status"] != "SUCCESS":
            raise SystemExit(f"{self._name}: a task has failed: {meta['result']}")
        return cast("JsonValue", meta["result"])

    def forget(self) -> None:
        """Delete what a run has left behind, so that the next one finds what the first one found."""
        with self.redis.pipeline(transaction=False) as pipe:
            for pattern in (LEDGER, "celery-*"):
                for key in self.redis.scan_iter(match=pattern, count=1000):
                    pipe.unlink(key)
            pipe.execute()

    def cpu(self) -> float:
        """Seconds of CPU that the server and the workers have used since they were started, with all their children."""
        return sum(cpu_of_tree(child.popen.pid) for child in (self._valkey.child, *self._workers))

    @contextmanager
    def watched(self) -> Iterator["Watch"]:
        """Measure the memory of the server during the block."""
        watch = Watch(self.redis)
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            watch.over.set()
            thread.join()

    def _check_until(self, deadline: float) -> None:
        """Make sure that there is time left, as of `time.monotonic()`, and that every worker is alive."""
        if time.monotonic() > deadline:
            raise SystemExit(f"{self._name}: its workers do not come to an end")
        for worker in self._workers:
            if worker.popen.poll() is not None:
                raise SystemExit(f"{self._name}: {worker.name} has ended:\n{worker.tail()}")

    def _start(self, queue: Queue) -> Child:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        options = ["--queues", ",".join(queue.lists), "--pool", "prefork", "--concurrency", str(PROCESSES)]
        options += ["--hostname", f"{queue.name}@%h", "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
        argv = [sys.executable, "-m", "celery", "-A", self._app, "worker", *options]
        log = self._folder / f"worker-{queue.name}.log"
        return processes.start(f"worker-{queue.name}", argv, {**environ, **self.environment()}, Path.cwd(), log)


class Watch:
    """Samples of a server's memory, as many as cost no more than a twentieth of the time."""

    def __init__(self, redis: "Redis") -> None:
        self.over = threading.Event()
        self._redis = redis
        self._idle = self._sample()
        self._samples = [self._idle]

    def run(self) -> None:
        """Take samples until it is over."""
        spent = 0.0
        while not self.over.wait(max(_SAMPLE_SECONDS, _SHARE * spent)):
            begun = time.perf_counter()
            self._samples.append(self._sample())
            spent = time.perf_counter() - begun

    def peaks(self) -> Peaks:
        """Return the peaks; the last sample is taken now."""
        return peaks(self._idle, [*self._samples, self._sample()])

    def _sample(self) -> Sample:
        used = int(cast("dict[str, int]", self._redis.info("memory"))["used_memory"])
        return Sample(used, total_size(self._redis.scan_iter(match=LEDGER, count=1000), self._sizes))

    def _sizes(self, keys: list[str]) -> list[int]:
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.memory_usage(key, samples=0)
            return [size or 0 for size in cast("Sequence[int | None]", pipe.execute())]


class Stopwatch:
    """Seconds and CPU since it was made, of a contestant and of this process."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._cpu = contestant.cpu()
        self._own = time.process_time()
        self.begun_at = time.time()
        self.begun = time.perf_counter()

    def read(self, items: int, ended: float) -> Measured:
        """Return what was used until `ended`, as of `time.perf_counter()`."""
        own = time.process_time() - self._own
        return Measured(items, ended - self.begun, self._contestant.cpu() - self._cpu, own)
