"""The help of the command line: every command in one group, and examples that can be typed."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from workers.cli.examples import EXAMPLES, GROUPS
from workers.cli.main import COMMANDS, auxip

LINES = [(command, line) for command, lines in EXAMPLES.items() for line in lines]


def test_every_command_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


def test_the_help_has_the_groups_with_their_commands_and_examples() -> None:
    shown = CliRunner().invoke(auxip, ["--help"]).output
    assert [line[:-1] for line in shown.splitlines() if line[:-1] in GROUPS] == list(GROUPS)
    listed = re.findall(r"^  (\w+) {2,}\S", shown.partition(f"{next(iter(GROUPS))}:")[2], re.MULTILINE)
    assert listed == [name for names in GROUPS.values() for name in names]
    assert all(f"  {line}\n" in shown for line in EXAMPLES[""])


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name])
def test_the_help_of_a_command_has_its_examples(command: str) -> None:
    shown = CliRunner().invoke(auxip, [command, "--help"]).output
    assert all(f"  {line}\n" in shown for line in EXAMPLES[command])


@pytest.mark.parametrize(("command", "line"), LINES)
def test_an_example_is_one_that_the_command_takes(
    command: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("filter.json", "x.zip", "sweeps.toml"):
        (tmp_path / file).touch()
    name, *arguments = shlex.split(line)
    assert name == "auxip"
    assert arguments[0] in (command, *COMMANDS)
    parse(auxip, arguments)


def parse(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """Read arguments as a command does, and those of its commands; raises what click says of wrong ones."""
    context = command.make_context(command.name or "auxip", list(arguments), parent=parent)
    if isinstance(command, click.Group) and context._protected_args:  # click gives no other way to read, and not run
        rest = [*context._protected_args, *context.args]
        _, found, further = command.resolve_command(context, rest)
        assert found is not None
        parse(found, further, context)
