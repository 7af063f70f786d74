"""The command `auxip`, as a person or a script runs it."""

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

import httpx
import pytest

from local import samples
from local.processes import Child
from local.stack import Stack
from shared.answer import Answer, Status
from shared.context import Context
from shared.models import PublicTask, RunRequest
from shared.selection import Given
from shared.settings import PREFIX
from shared.storage.location import Location
from tests.integration.conftest import Caller, closed_run, of_type, wait_for
from tests.integration.test_runs import SECONDS, result_of
from tests.processes import alive, descendants, listening
from workers.queues import QUEUES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

AUXIP = [sys.executable, "-m", "workers.cli"]
WINDOW = ["--start", samples.DEMO_START.isoformat(), "--end", samples.DEMO_END.isoformat()]


def auxip(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with the settings of this process."""
    return subprocess.run([*AUXIP, *arguments], capture_output=True, text=True, timeout=90, check=False)  # noqa: S603


def last_object(text: str) -> dict[str, object]:
    parsed = json.loads(text.strip().splitlines()[-1])
    assert isinstance(parsed, dict)
    return parsed


def counts_in(said: dict[str, object]) -> dict[str, int]:
    counts = said["counts"]
    assert isinstance(counts, dict)
    return counts


def stage(caller: Caller, *arguments: str) -> "subprocess.CompletedProcess[str]":
    owner = str(caller.env["owner_id"])
    return auxip("stage", *arguments, "--collection", caller.collection, "--owner", owner)


@pytest.mark.long
def test_stage_follows_a_window_to_its_end_and_says_how_each_item_ended(caller: Caller) -> None:
    ended = stage(caller, *WINDOW, "--product-type", "OPER_MPL_ORBPRE", "--json")

    assert ended.returncode == 0, ended.stderr
    said = last_object(ended.stdout)
    answer = Answer.model_validate(said)
    assert (answer.status, answer.failed) == (Status.SUCCESSFUL, ())
    assert answer.counts is not None
    assert len(answer.items or ()) == answer.counts.items > 0
    (selected,) = answer.selected
    assert (selected.product_type, selected.policy) == ("OPER_MPL_ORBPRE", "ValCover")
    assert selected.selected == answer.counts.items


@pytest.mark.long
def test_stage_names_a_product_type_that_the_station_has_not(caller: Caller) -> None:
    ended = stage(caller, *WINDOW, "--product-type", "OPER_MPL_ORBPER")
    assert ended.returncode == 0, ended.stderr
    assert "nothing of OPER_MPL_ORBPER: the station offers no such item" in ended.stdout


@pytest.mark.long
def test_stage_takes_a_file_with_a_cql2_filter_and_a_station(caller: Caller, tmp_path: Path) -> None:
    file = tmp_path / "filter.json"
    file.write_text(json.dumps({"filter": of_type("OPER_MPL_ORBPRE"), "limit": 2}))
    ended = stage(caller, "--filter", str(file), "--json", "--station", "local")

    assert ended.returncode == 0, ended.stderr
    said = last_object(ended.stdout)
    items = said["items"]
    assert isinstance(items, list)
    assert [item["station"] for item in items] == ["local"] * 2


@pytest.mark.long
def test_stage_without_a_terminal_writes_plain_lines(caller: Caller) -> None:
    ended = stage(caller, *WINDOW, "--product-type", "OPER_MPL_ORBPRE")

    assert "\x1b" not in ended.stdout + ended.stderr
    assert "4/4 items, " in ended.stderr.splitlines()[-1]


@pytest.mark.long
def test_stage_on_a_terminal_shows_a_bar(caller: Caller) -> None:
    primary, secondary = pty.openpty()
    arguments = ["stage", *WINDOW, "--product-type", "OPER_MPL_ORBPRE", "--collection", caller.collection]
    with subprocess.Popen([*AUXIP, *arguments], stderr=secondary, stdout=subprocess.PIPE) as command:  # noqa: S603
        os.close(secondary)
        shown = b"".join(_chunks(primary))
        command.communicate(timeout=SECONDS)
    os.close(primary)

    assert command.returncode == 0
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}".encode() in shown
    assert b"4/4 items" in shown


def _chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says EIO when the other side is closed
            return
        if not chunk:
            return
        yield chunk


@pytest.mark.long
@pytest.mark.parametrize(("option", "status"), [([], 0), (["--error-if-empty"], 1)])
def test_stage_says_that_nothing_was_found_and_fails_where_it_is_told_to(
    caller: Caller, option: list[str], status: int
) -> None:
    ended = stage(caller, *WINDOW, "--product-type", "NO_SUCH_TYPE", *option)

    assert ended.returncode == status, ended.stderr
    assert " nothing found: 0 items" in ended.stdout


@pytest.mark.long
def test_stage_says_when_items_failed_and_exits_with_1(caller: Caller) -> None:
    ended = stage(caller, *WINDOW, "--product-type", samples.FAULTY_PRODUCT_TYPE)

    assert ended.returncode == 1
    assert "checksum-mismatch" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["stage"], 2, "give --product-type (and --start and --end"),
        (["stage", "--start", "2024-01-02", "--end", "2024-01-01", "--product-type", "X"], 2, "auxip: bad-window: "),
        (["stage", "--start", "soon", "--end", "2024-01-01", "--product-type", "X"], 2, "auxip: bad-datetime: "),
        (["stage", *WINDOW, "--product-type", "X", "--owner", "../x"], 2, "auxip: bad-request: env.owner_id"),
        (["show", "no-such-run"], 1, "auxip: unknown-run: "),
    ],
)
def test_wrong_usage_is_told_in_one_line_and_sends_nothing(
    context: Context, arguments: list[str], status: int, said: str
) -> None:
    before = len(context.ledger.runs(10_000))
    ended = auxip(*arguments)

    assert ended.returncode == status
    assert said in ended.stderr.splitlines()[-1]
    assert len(context.ledger.runs(10_000)) == before


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["stage"], 2, "bad-usage"),
        (["stage", "--start", "yesterday", "--end", "2024-01-01", "--product-type", "X"], 2, "bad-datetime"),
        (["stage", "--no-such-option"], 2, "bad-usage"),
        (["no-such-command"], 2, "bad-usage"),
        (["show", "no-such-run"], 1, "unknown-run"),
        (["dead", "show", "no-such-letter"], 1, "unknown-letter"),
        (["sweep", "no-such-sweep"], 1, "unknown-sweep"),
        (["audit", "no-such-collection"], 2, "unknown-collection"),
        (["expand", "s3://aux/auxip/no-such-archive.zip", "--dry-run"], 1, "archive-missing"),
    ],
)
def test_a_program_that_asks_for_json_gets_an_error_as_json(
    stack: Stack, arguments: list[str], status: int, code: str
) -> None:
    ended = auxip(*arguments, "--json")

    assert ended.returncode == status
    (line,) = ended.stdout.splitlines()
    said = json.loads(line)
    assert (said["status"], said["error"]["code"]) == ("failed", code)
    assert said["error"]["reason"]
    assert code in ended.stderr or code == "bad-usage"


def test_a_setting_that_only_celery_reads_is_an_error_as_json_too(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUXIP_OWNERS_FILE", "/no/such/file.toml")
    ended = auxip("stage", *WINDOW, "--product-type", "X", "--json")

    assert ended.returncode == 1
    assert json.loads(ended.stdout)["error"]["code"] == "bad-setting"


def test_a_filter_file_that_holds_no_filter_is_refused(tmp_path: Path, stack: Stack) -> None:
    file = tmp_path / "filter.json"
    file.write_text("{not json")
    ended = auxip("stage", "--filter", str(file))

    assert ended.returncode == 2
    assert ended.stderr.startswith("auxip: bad-filter: ")


@pytest.mark.long
def test_runs_and_show_read_the_ledger(caller: Caller) -> None:
    result = caller.stage(of_type("OPER_MPL_ORBSCT"))
    _, items = result_of(result.get(SECONDS))

    listed = last_object(auxip("runs", "--json").stdout)["runs"]
    assert isinstance(listed, list)
    assert result.id in [run["run"] for run in listed if isinstance(run, dict)]
    shown = last_object(auxip("show", result.id[:13], "--json").stdout)
    assert {one.id for one in Answer.model_validate(shown).items or ()} == {item.id for item in items}


@pytest.mark.long
def test_the_tables_name_runs_items_and_the_report(caller: Caller) -> None:
    result = caller.stage(of_type("OPER_MPL_ORBSCT"))
    _, items = result_of(result.get(SECONDS))

    assert result.id[:8] in auxip("runs").stdout
    shown = auxip("show", result.id).stdout
    assert all(item.id in shown for item in items)
    assert f"report: s3://aux/runs/{result.id}/report.json" in shown


@pytest.mark.long
def test_what_would_be_staged_is_shown_and_nothing_is_sent(context: Context, caller: Caller) -> None:
    before = len(context.ledger.runs(10_000))
    dry = stage(caller, "--dry-run", *WINDOW, "--product-type", "OPER_AUX_ECMWFD_PDMC", "--json")
    listed = last_object(dry.stdout)["found"]
    empty = stage(caller, "--dry-run", *WINDOW, "--product-type", "NO_SUCH_TYPE", "--error-if-empty")

    assert len(context.ledger.runs(10_000)) == before
    assert (empty.returncode, empty.stdout) == (1, "nothing found\n")
    stage(caller, *WINDOW, "--product-type", "OPER_AUX_ECMWFD_PDMC")
    (run,) = context.ledger.runs(1)
    assert isinstance(listed, list)
    assert [one["item"] for one in listed if isinstance(one, dict)] == [
        one.item_id for one in context.ledger.items(run.id)
    ]


@pytest.mark.long
def test_the_hrefs_of_a_run_are_those_of_the_catalog(context: Context, caller: Caller) -> None:
    result = caller.stage(of_type("OPER_MPL_ORBSCT"))
    _, items = result_of(result.get(SECONDS))

    hrefs = auxip("show", result.id, "--hrefs").stdout.splitlines()
    assert hrefs == [asset.href for item in items for asset in item.assets.values()]
    assert all(context.store.head(Location.parse(href)) is not None for href in hrefs)


@pytest.mark.long
def test_a_run_with_failed_items_is_found_by_its_state_and_done_again(context: Context, caller: Caller) -> None:
    stage(caller, *WINDOW, "--product-type", samples.FAULTY_PRODUCT_TYPE)
    (run,) = context.ledger.runs(1, wanted=lambda run: run.request.collection == caller.collection)

    listed = last_object(auxip("runs", "--state", "failed", "--since", "1h", "--json").stdout)["runs"]
    assert run.id in str(listed)
    assert run.id not in str(last_object(auxip("runs", "--state", "successful", "--json").stdout)["runs"])
    assert "checksum-mismatch" in auxip("show", run.id, "--failed").stdout
    again = last_object(auxip("retry", run.id[:8], "--json").stdout)["replayed"]
    assert isinstance(again, list)
    assert len(again) == run.counts.failed
    assert next(context.dead_letters.letters("item", where=run.id), None) is None


def test_runs_are_found_by_their_state_their_age_and_their_label(apart: Context) -> None:
    def opened(name: str, label: str) -> None:
        selection = Given(item_id="x")
        apart.ledger.open_run(name, RunRequest(owner="o", collection="aux", selection=selection, label=label))

    opened("first", "sweep orbits")
    opened("second", "")
    between = time.time()
    opened("third", "sweep orbits")

    def found(**options: Any) -> list[str]:
        return [run.id for run in apart.ledger.runs(10, **options)]

    assert found() == ["third", "second", "first"]
    assert found(since=between) == ["third"]
    assert found(wanted=lambda run: "orbits" in run.request.label) == ["third", "first"]


def test_the_contract_describes_a_request_and_every_public_task() -> None:
    schema = last_object(auxip("contract").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {*get_args(PublicTask), "Answer"} <= {*cast("dict[str, object]", schema["$defs"])}


@contextmanager
def running(*command: str, environ: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(  # noqa: S603 - our own program
        [*AUXIP, *command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


SWEEPS = f"""
[sweep.orbits]
every = "1s"
owner = "operations"
collection = "aux"
product_types = ["OPER_MPL_ORBPRE"]
start = "{samples.DEMO_START.isoformat()}"
end = "{samples.DEMO_END.isoformat()}"
"""


@pytest.mark.long
def test_up_runs_a_worker_per_queue_beat_and_flower_until_ctrl_c(tmp_path: Path) -> None:
    file = tmp_path / "sweeps.toml"
    file.write_text(SWEEPS)
    with running("up", "--json", "--sweeps", str(file), environ=without_settings()) as up:
        assert up.stdout is not None
        facts = json.loads(up.stdout.readline())
        started = descendants(up.pid)

        values = exported(Path(facts["environment_file"]))
        access = (values["FLOWER_USER"], values["FLOWER_PASSWORD"])
        wait_for(lambda: _workers_in_flower(facts["flower"], access) == len(QUEUES), "Flower shows a worker per queue")
        assert httpx.get(f"{facts['flower']}/api/workers").status_code == 401
        settings = {name: value for name, value in values.items() if name.startswith(PREFIX)}
        assert not _secrets_in_flower(facts["flower"], access, settings)
        wait_for(lambda: _sweeps(without_settings() | settings) > 0, "beat's sweep has been done")

        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 0
    assert not alive(started)
    assert not Path(facts["logs"]).exists()


def exported(file: Path) -> dict[str, str]:
    """The variables of a file that shells read."""
    lines = [shlex.split(line)[1].partition("=") for line in file.read_text().splitlines()]
    return {name: value for name, _, value in lines}


def _workers_in_flower(url: str, access: tuple[str, str]) -> int:
    try:
        answer = httpx.get(f"{url}/api/workers", params={"refresh": "1"}, auth=access, timeout=10)
    except httpx.TransportError:
        return 0
    return len(answer.json()) if answer.is_success else 0


def _secrets_in_flower(url: str, access: tuple[str, str], settings: dict[str, str]) -> list[str]:
    pages = [httpx.get(f"{url}{path}", auth=access, timeout=10).text for path in ("/", "/broker", "/tasks", "/workers")]
    workers = httpx.get(f"{url}/api/workers", auth=access, timeout=10)
    pages += [
        workers.text,
        *(httpx.get(f"{url}/worker/{name}", auth=access, timeout=10).text for name in workers.json()),
    ]
    password = settings["AUXIP_REDIS_URL"].split(":")[2].split("@")[0]
    secrets = [password, *(value for name, value in settings.items() if name.endswith("_KEY"))]
    return [secret for secret in secrets if any(secret in page for page in pages)]


def _sweeps(environ: dict[str, str]) -> int:
    ended = subprocess.run(  # noqa: S603 - our own program
        [*AUXIP, "runs", "--json"], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    runs = last_object(ended.stdout)["runs"]
    assert isinstance(runs, list)
    return len([run for run in runs if run["label"] == "sweep orbits" and run["status"] == "successful"])


@pytest.mark.long
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_demo_leaves_nothing_behind_when_it_is_ended_in_the_middle(by: signal.Signals) -> None:
    with running("demo", "--json", environ=without_settings()) as demo:
        assert demo.stderr is not None
        while "working" not in (line := demo.stderr.readline()):
            assert line, "the demo ended by itself"
        started = descendants(demo.pid)
        assert len(started) > len(QUEUES) + 3
        assert listening(started)
        demo.send_signal(by)
        demo.wait(30)
        wait_for(lambda: not alive(started), "every process has ended", seconds=20)
    assert not listening(started)


def kill_children(worker: Child) -> int:
    """Kill the pool processes of a worker; returns how many there were."""
    children = descendants(worker.popen.pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    return len(children)


@pytest.mark.long
@pytest.mark.parametrize("queue", ["staging", "decompress"])
def test_killed_worker_processes_lose_no_item(
    caller: Caller, context: Context, stack: Stack, workers: Sequence[Child], queue: str
) -> None:
    stack.set_station_faults([{"path": "Products", "delay": 0.3}])
    worker = next(child for child in workers if child.name == f"worker-{queue}")
    result = caller.stage(of_type("AX___OSF_AX", "OPER_AUX_ECMWFD_PDMC", "OL_1_CAL_AX", "OPER_MPL_ORBPRE"))
    wait_for(lambda: _claimed(context, result.id) >= 3, "the run is in the middle")
    assert kill_children(worker) > 0

    status, items = result_of(result.get(SECONDS))
    run = closed_run(context, result.id)
    assert status
    assert run.counts.staged == run.counts.items == len(items)


def _claimed(context: Context, run_id: str) -> int:
    try:
        return sum(record.claimed is not None for record in context.ledger.items(run_id))
    except LookupError:
        return 0
