"""`auxip up`: the whole system on one machine, until Ctrl-C."""

import time
from contextlib import suppress
from pathlib import Path

import click

from shared.json_types import Json
from workers.cli.printing import print_json

_CHECK_EVERY = 0.5


@click.command()
@click.option(
    "--sweeps",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of the sweeps that beat runs; none by default",
)
@click.option("--json", "as_json", is_flag=True, help="print the URLs and the files as one JSON object")
def up(sweeps: Path | None, as_json: bool) -> None:
    """Run the embedded stack, one worker per queue, a gate, beat and Flower, until Ctrl-C.

    Its credentials are in the environment file that is printed, which only its owner can read.
    """
    from local.stack import Stack
    from workers.cli import fleet

    click.echo("starting", err=True)
    with Stack() as stack:
        file = sweeps.resolve() if sweeps else stack.folder / "sweeps.toml"
        file.touch()
        fleet.adopt(stack, {"AUXIP_SWEEPS_FILE": str(file)})
        children = [*fleet.start_workers(stack), fleet.start_beat(stack), fleet.start_gate(stack)]
        fleet.wait_for_workers(children)
        flower_child, flower = fleet.start_flower(stack)
        children.append(flower_child)
        facts: Json = {
            "station": stack.station_url,
            "catalog": stack.environment()["AUXIP_CATALOG_URL"],
            "s3": stack.environment()["AUXIP_S3_ENDPOINT"],
            "bucket": stack.bucket,
            "collection": stack.collection,
            "flower": flower.url,
            "sweeps_file": str(file),
            "environment_file": str(fleet.env_file(stack, flower)),
            "logs": str(stack.folder),
        }
        print_json(facts) if as_json else _print(facts)
        with suppress(KeyboardInterrupt):  # the way to end it
            while True:
                fleet.check(children)
                time.sleep(_CHECK_EVERY)


def _print(facts: Json) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")
    click.echo(
        f"\nIn another shell:  . {facts['environment_file']}\nand then:          auxip runs\n"
        "The file has the credentials, and puts `auxip` on the PATH. Ctrl-C ends all of it."
    )
