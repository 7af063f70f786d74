"""`auxip expand`: one archive, expanded in S3 through the queue, or only looked at."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from shared.archives import ArchiveFailed, FileSource, Inspection, Manifest, Problem, Rules, inspect, load_manifest
from shared.archives.rules import WantedLayout
from shared.errors import AuxipError, ItemFailed, Rejected, UnsupportedArchive
from shared.settings import load_archive_settings, load_settings
from shared.storage.location import Location
from workers.cli.connecting import checked_settings
from workers.cli.printing import print_json

if TYPE_CHECKING:
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
@click.option("--dry-run", is_flag=True, help="read it all, write nothing, list every member and every problem")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def expand(
    href: str | None, file: Path | None, owner: str | None, layout: WantedLayout | None, dry_run: bool, as_json: bool
) -> None:
    """Replace one archive in S3 by its content. HREF is s3://BUCKET/KEY, below the prefix of its owner.

    The workers do it. An archive that an item of the catalog references is left alone.

    The status is 0 if it is expanded, or would be, and 3 if it is refused.
    """
    if (href is None) == (file is None) or (file is not None and not dry_run):
        raise click.UsageError("give HREF, or --local FILE with --dry-run")
    name = href or str(file)
    try:
        if dry_run:
            _show_inspection(name, _inspected(href, file, layout), as_json)
        else:
            _show_manifest(_expanded(name, owner, layout), as_json)
    except (ItemFailed, UnsupportedArchive) as error:
        if not isinstance(error, ArchiveFailed | UnsupportedArchive) and error.code != "prefix-taken":
            raise  # nothing is refused: the archive is missing, or the store does not answer
        _show_refusal(name, error, as_json)


def _inspected(href: str | None, file: Path | None, layout: WantedLayout | None) -> Inspection:
    if href is not None:
        from shared.context import Context
        from shared.steps.expand import inspect_asset

        return inspect_asset(Context(load_settings()), href, layout)
    assert file is not None  # noqa: S101 - one of both is given
    rules = Rules.from_settings(load_archive_settings())
    with file.open("rb") as opened:
        return inspect(FileSource(opened), file.name, rules if layout is None else replace(rules, layout=layout))


def _expanded(href: str, owner: str | None, layout: WantedLayout | None) -> Manifest:
    checked_settings()
    from workers.app import app, context
    from workers.cli.enqueue import enqueue, workers_answer

    key = Location.parse(href).key
    message: Json = {"asset_href": href, "asset_name": key.rpartition("/")[2]}
    if layout is not None:
        message["layout"] = layout
    if owner is not None:
        message["env"] = {"owner_id": owner}
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
    click.echo(f"{manifest.archive} is expanded: {len(manifest.members)} objects below {manifest.prefix}")


def _show_inspection(name: str, inspection: Inspection, as_json: bool) -> None:
    if as_json:
        print_json({"archive": name, **inspection.model_dump(mode="json")})
    else:
        _print_members([(member.path, member.size) for member in inspection.members])
        _print_problems("let pass", inspection.noticed)
        _print_problems("refused" if inspection.on_unsafe == "fail" else "left out", inspection.problems)
        verdict = f"would be refused: {inspection.code}" if inspection.refused else "would be expanded"
        click.echo(f"{name} {verdict}; {len(inspection.members)} members, {inspection.size} bytes")
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
