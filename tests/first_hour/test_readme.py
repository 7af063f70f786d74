"""Every command of the README and of `docs/`, in their order, against a system that `auxip up` runs.

A block that cannot be run has a comment before it, `<!-- not run: REASON -->`. If a command needs a name that only the
reader knows, the page has a word in capitals, and the test puts a shell function in its place.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import httpx
import pytest

from local import samples
from shared.settings import PREFIX

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
FIRST = [ROOT / "README.md", ROOT / "docs" / "tutorial.md"]
PAGES = FIRST + sorted({*(ROOT / "docs").rglob("*.md")} - {*FIRST})
"""Every page; those that a reader begins with come first, since the others need a run that is there."""
SECONDS = 300
NOT_RUN = 5
"""How many blocks of commands the pages say are not run: one more needs a reason, and this number changed."""

RUN = {"sh", "python"}
READ_ONLY = {"json", "toml", "text", "mermaid", "yaml"}
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)

LINES = f"""
last() {{ {sys.executable} -c "import json, sys; print(json.load(sys.stdin)$1)"; }}
newest_run() {{ auxip runs --newest 1 --json | last '["runs"][0]["run"][:8]'; }}
newest_letter() {{
    until auxip dead list --newest 1 --json | last '["letters"][0]["id"]' 2>/dev/null; do sleep 0.2; done
}}
run_of_letters() {{ auxip dead list --newest 1 --json | last '["letters"][0]["where"]'; }}
open_run() {{ cat open-run; }}
"""
PLACES = [
    (r"\bcancel RUN\b", 'cancel "$(open_run)"'),
    (r"\bretry RUN\b", 'retry "$(run_of_letters)"'),
    (r" RUN\b", ' "$(newest_run)"'),
    (r" LETTER\b", ' "$(newest_letter)"'),
]


@dataclass(frozen=True)
class Block:
    """A block of a page: the page and the line, its language, its text, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None


BLOCKS = [
    Block(
        str(page.relative_to(ROOT)),
        text[: each.start()].count("\n") + 1,
        each["language"],
        each["text"],
        each["reason"],
    )
    for page in PAGES
    for text in [page.read_text("utf-8")]
    for each in FENCE.finditer(text)
]
COMMANDS = [block for block in BLOCKS if block.language in RUN and block.reason is None]


def test_every_block_has_a_language_and_is_run_or_says_why_not() -> None:
    fences = sum(len(re.findall(r"^```", page.read_text("utf-8"), re.MULTILINE)) for page in PAGES)
    assert len(BLOCKS) * 2 == fences
    assert {block.language for block in BLOCKS} <= RUN | READ_ONLY
    assert len([block for block in BLOCKS if block.reason is not None]) == NOT_RUN
    assert len(COMMANDS) >= 14


@dataclass(frozen=True)
class System:
    """What `auxip up` has said, the variables of its file, and a folder to run commands in."""

    facts: dict[str, str]
    values: dict[str, str]
    folder: Path

    def shell(self, text: str) -> "subprocess.CompletedProcess[str]":
        """Run a text as somebody does who has read the file."""
        script = f". {shlex.quote(self.facts['environment_file'])}\n{LINES}\nset -eu\n{text}"
        return subprocess.run(  # noqa: S603 - the text is ours
            ["/bin/sh", "-c", script],
            cwd=self.folder,
            env=without_settings(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def without_settings() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"PYTHONPATH": str(ROOT), "PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    argv = [sys.executable, "-m", "workers.cli", "up", "--json"]
    with subprocess.Popen(argv, env=without_settings(), stdout=subprocess.PIPE, text=True) as up:  # noqa: S603
        try:
            assert up.stdout is not None
            facts = json.loads(up.stdout.readline())
            yield System(facts, values_of(Path(facts["environment_file"])), tmp_path_factory.mktemp("reader"))
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(60)


def values_of(file: Path) -> dict[str, str]:
    lines = [shlex.split(line)[1].partition("=") for line in file.read_text().splitlines()]
    return {name: value for name, _, value in lines if name != "PATH"}


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: f"{block.page}-line-{block.line}")
def test_the_commands_of_a_block_do_what_they_say(system: System, block: Block) -> None:
    if block.language == "python":
        run_python(system, block.text)
        return
    text = block.text
    if "redis-cli" in text and shutil.which("redis-cli", path="/usr/local/bin:/usr/bin:/bin") is None:
        pytest.skip("redis-cli is not installed")
    for word, function in PLACES:
        text = re.sub(word, function, text)
    with prepared(system, block.text):
        ended = system.shell(text)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def run_python(system: System, text: str) -> None:
    address = system.values["AUXIP_REDIS_URL"]
    file = system.folder / "caller.py"
    assert "redis://default:PASSWORD@HOST:6379/0" in text
    client = system.folder / "auxip_workers"  # as `pip install ./workers/client` puts it into an environment
    client.mkdir(exist_ok=True)
    if not (client / "client").exists():
        (client / "client").symlink_to(ROOT / "workers" / "client")
    begin = f"import sys\nsys.path.insert(0, {str(system.folder)!r})\n"
    text = text.replace("redis://default:PASSWORD@HOST:6379/0", address)
    file.write_text(f"{begin}{text}assert status and len(items)\n")
    ended = subprocess.run(  # noqa: S603 - the text is ours
        [sys.executable, "-I", str(file)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stderr


@contextmanager
def prepared(system: System, text: str) -> Iterator[None]:
    """Give a reader what the commands are about: an archive, items that have failed, a run that goes on."""
    if "x.zip" in text:
        offer_archive(system)
    if "LETTER" in text:
        window = f"--start {samples.DEMO_START.isoformat()} --end {samples.DEMO_END.isoformat()}"
        assert system.shell(f"auxip stage {window} --product-type {samples.FAULTY_PRODUCT_TYPE}").returncode == 1
    if "cancel RUN" in text:
        with going_on(system):
            yield
    else:
        yield


def offer_archive(system: System) -> None:
    archive = system.folder / "x.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.xml", "<a/>")
    store = boto3.client(
        "s3",
        endpoint_url=system.values["AUXIP_S3_ENDPOINT"],
        aws_access_key_id=system.values["AUXIP_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=system.values["AUXIP_S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    store.put_object(Bucket="aux", Key="auxip/x.zip", Body=archive.read_bytes())
    store.close()


@contextmanager
def going_on(system: System) -> Iterator[None]:
    """Have a run wait for its products, and write its id into the file `open-run`."""
    faults, key = f"{system.facts['station']}/faults", {"x-api-key": system.values["STATION_API_KEY"]}
    products = [str(each.uuid) for each in samples.catalogue() if each.product_type == "OPER_MPL_ORBSCT"]
    httpx.put(faults, headers=key, json=[{"path": "|".join(products), "delay": 60}]).raise_for_status()
    script = """
import json, os, uuid
from celery import Celery
app = Celery(broker=os.environ["AUXIP_REDIS_URL"])
run = str(uuid.uuid4())
filter = {"op": "=", "args": [{"property": "product:type"}, "OPER_MPL_ORBSCT"]}
kwargs = {"env": {"owner_id": "auxip"}, "cql2_filter": filter, "catalog_collection_identifier": "aux"}
app.send_task("auxip.staging", queue="runs", task_id=run, kwargs=kwargs)
open("open-run", "w").write(run)
"""
    argv = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"
    begun = system.shell(f"{argv}\nuntil auxip show $(open_run); do sleep 0.2; done")
    assert begun.returncode == 0, begun.stderr
    yield
    httpx.put(faults, headers=key, json=[]).raise_for_status()


# What a new operator meets first


def test_no_credential_is_on_the_screen(system: System) -> None:
    secrets = {system.values[name] for name in system.values if name.endswith(("_KEY", "_PASSWORD", "_KEY_ID"))}
    secrets.add(system.values["AUXIP_REDIS_URL"].partition("default:")[2].partition("@")[0])
    assert len(secrets) == 6
    assert not [secret for secret in secrets if secret in json.dumps(system.facts)]
    assert Path(system.facts["environment_file"]).stat().st_mode & 0o777 == 0o600


def test_the_command_is_found_in_a_shell_that_has_read_the_file(system: System) -> None:
    ended = system.shell("command -v auxip; auxip runs")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{system.facts['logs']}/bin/auxip\n")


def test_flower_shows_every_list_from_its_first_moment_on(system: System) -> None:
    from workers.queues import QUEUES

    access = (system.values["FLOWER_USER"], system.values["FLOWER_PASSWORD"])
    answer = httpx.get(f"{system.values['FLOWER_URL']}/api/queues/length", auth=access, timeout=30).raise_for_status()
    shown = {each["name"] for each in answer.json()["active_queues"]}
    assert shown == {name for queue in QUEUES for name in queue.lists}
