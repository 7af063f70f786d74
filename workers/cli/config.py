"""`auxip config`: the settings that are in force, and where each comes from; no secret is shown."""

import os
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from shared.json_types import Json
from shared.settings import PREFIX, Settings, load_settings, secrets_folder
from workers.cli.printing import print_json
from workers.cli.tables import Column, print_table

_HIDDEN = "**"
_DEFAULT = "default"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def config(as_json: bool) -> None:
    """Show every setting that is in force, and where it comes from: those that are set first, then the defaults.

    A variable of the environment counts before a file of AUXIP_SECRETS_DIR, and that before the default.
    """
    settings = load_settings()
    rows = [(_variable(name), _shown(settings, name), _source(name)) for name in Settings.model_fields]
    rows.sort(key=lambda row: (row[2] == _DEFAULT, row[0]))
    if as_json:
        listed: list[Json] = [{"name": name, "value": value, "from": source} for name, value, source in rows]
        print_json({"settings": [*listed]})
        return
    columns = (Column("setting", whole=True), Column("value"), Column("from"))
    print_table(columns, [("dim" if row[2] == _DEFAULT else "", row) for row in rows])


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if name == "redis_url":
        return _without_password(value.get_secret_value())
    if isinstance(value, SecretStr):
        return _HIDDEN
    return "" if value is None else str(value)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    name, has_name, place = parts.netloc.rpartition("@")
    user = name.partition(":")[0]
    return parts._replace(netloc=f"{user}:{_HIDDEN}@{place}" if has_name else place).geturl()


def _source(name: str) -> str:
    """Return where pydantic-settings has a value from; an empty variable counts as none."""
    if any(variable.upper() == _variable(name) and value for variable, value in os.environ.items()):
        return "environment"
    folder = secrets_folder()
    file = None if folder is None else folder / _variable(name).lower()
    return str(file) if file is not None and file.is_file() else _DEFAULT
