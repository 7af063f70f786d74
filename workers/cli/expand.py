"""`auxip expand`: one archive, expanded in S3 through the queue, or only looked at."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from shared.archives import ArchiveFailed, FileSource, Inspection, Manifest, Problem, Rules, inspect, load_manifest
from shared.archives.rules import Choice, WantedLayout
from shared.errors import AuxipError, ItemFailed, Rejected, UnsupportedArchive
from shared.settings import load_archive_settings, load_settings
from shared.storage.location import Location
from workers.cli.connecting import checked_settings
from workers.cli.printing import print_json
from workers.contract import ProcessAssetMessage, decode

if TYPE_CHECKING:
    from pydantic import JsonValue

    from shared.json_types import Json

_REFUSED = 3


@click.command()
@click.argument("href", required=False)
@click.option(
    "--local",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="look at a file on disk instead; needs --dry-run, and no server",
)
@click.option("--owner", help="whose archive it is; else that of AUXIP_DEFAULT_OWNER")
@click.option(
    "--layout", type=click.Choice(get_args(WantedLayout)), help="flat, tree, or auto; else that of the settings"
)
@click.option(
    "--member",
    "members",
    multiple=True,
    help="expand only the members that match, such as '*.xml' or 'folder/**', and keep the archive; several times",
)
@click.option("--strip", default=0, show_default=True, help="leading folders to remove from the paths of members")
@click.option("--dbl", is_flag=True, help="expand .DBL files in the archive as well, those that are a tar or a tgz")
@click.option("--dry-run", is_flag=True, help="read it all, write nothing, list every member and every problem")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def expand(
    href: str | None,
    file: Path | None,
    owner: str | None,
    layout: WantedLayout | None,
    members: tuple[str, ...],
    strip: int,
    dbl: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Replace one archive in S3 by its content. HREF is s3://BUCKET/KEY, below the prefix of its owner.

    The workers do it. An archive that an item of the catalog references is left alone, and one of which only some
    members are expanded stays.

    The status is 0 if it is expanded, or would be, and 3 if it is refused.
    """
    if (href is None) == (file is None) or (file is not None and not dry_run):
        raise click.UsageError("give HREF, or --local FILE with --dry-run")
    name = href or str(file)
    message = _message(name, owner, layout=layout, members=[*members] or None, strip=strip or None, dbl=dbl or None)
    choice = decode(ProcessAssetMessage, **message).choice
    try:
        if dry_run:
            _show_inspection(name, _inspected(href, file, choice), as_json)
        else:
            _show_manifest(_expanded(message), as_json)
    except (ItemFailed, UnsupportedArchive) as error:
        if not isinstance(error, ArchiveFailed | UnsupportedArchive) and error.code != "prefix-taken":
            raise  # nothing is refused: the archive is missing, or the store does not answer
        _show_refusal(name, error, as_json)


def _message(name: str, owner: str | None, **chosen: "JsonValue") -> "Json":
    message: Json = {"asset_href": name, "asset_name": name.rpartition("/")[2]}
    message |= {key: value for key, value in chosen.items() if value is not None}
    return message if owner is None else {**message, "env": {"owner_id": owner}}


def _inspected(href: str | None, file: Path | None, choice: Choice) -> Inspection:
    if href is not None:
        from shared.context import Context
        from shared.steps.expand import inspect_asset

        return inspect_asset(Context(load_settings()), href, choice)
    assert file is not None  # noqa: S101 - one of both is given
    with file.open("rb") as opened:
        return inspect(FileSource(opened), file.name, Rules.from_settings(load_archive_settings()).with_choice(choice))


def _expanded(message: "Json") -> Manifest:
    checked_settings()
    from workers.app import app, context
    from workers.cli.enqueue import enqueue, workers_answer

    Location.parse(str(message["asset_href"]))
    task_id = enqueue("auxip.process_asset", message)
    if not workers_answer():
        click.echo("no worker answers on the broker: the archive waits for one (`auxip up`)", err=True)
    prefix = app.AsyncResult(task_id).get()
    manifest = load_manifest(context().store, Location.parse(prefix))
    if manifest is None:
        raise Rejected("unknown-prefix", f"{prefix} has no manifest any more")
    return manifest


def _show_manifest(manifest: Manifest, as_json: bool) -> None:
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    _print_members([(member.path, member.size) for member in manifest.members])
    _print_problems("let pass", manifest.problems)
    _print_problems("left out", manifest.left_out)
    stay = f"; {manifest.not_chosen} files stay in the archive" if manifest.not_chosen else ""
    click.echo(f"{manifest.archive} is expanded: {len(manifest.members)} objects below {manifest.prefix}{stay}")


def _show_inspection(name: str, inspection: Inspection, as_json: bool) -> None:
    if as_json:
        print_json({"archive": name, **inspection.model_dump(mode="json")})
    else:
        _print_members([(member.path, member.size) for member in inspection.members])
        _print_problems("let pass", inspection.noticed)
        _print_problems("refused" if inspection.on_unsafe == "fail" else "left out", inspection.problems)
        stay = f"; {inspection.not_chosen} files stay in the archive" if inspection.not_chosen else ""
        verdict = f"would be refused: {inspection.code}" if inspection.refused else "would be expanded"
        click.echo(f"{name} {verdict}; {len(inspection.members)} members, {inspection.size} bytes{stay}")
    if inspection.refused:
        raise SystemExit(_REFUSED)


def _show_refusal(name: str, refusal: AuxipError, as_json: bool) -> None:
    if as_json:
        problems = refusal.problems if isinstance(refusal, ArchiveFailed) else ()
        listed: list[Json] = [{"kind": each.kind, "path": each.path, "detail": each.detail} for each in problems]
        print_json(
            {"archive": name, "refused": True, "code": refusal.code, "reason": refusal.reason, "problems": [*listed]}
        )
    else:
        click.echo(f"auxip: {refusal}", err=True)
    raise SystemExit(_REFUSED)


def _print_members(members: list[tuple[str, int]]) -> None:
    for path, size in members:
        click.echo(f"{size:>14} {path}")


def _print_problems(what: str, problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        click.echo(f"{what:>14} {problem}")
