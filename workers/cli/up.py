"""`auxip up`: the whole system on one machine, until Ctrl-C."""

import json
import time
from contextlib import suppress
from pathlib import Path

import click

from shared.json_types import Json
from workers.cli.printing import print_json

_CHECK_EVERY = 0.5

_EXAMPLE = """# Written by `auxip up`. AUXIP_SWEEPS_FILE names the file of your own deployment.
[sweep.example]
every = "1m"
owner = "demo"
collection = "{collection}"
product_types = {product_types}
start = "{start}"
end = "{end}"
"""


@click.command()
@click.option(
    "--sweeps",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of the sweeps that beat runs; an example by default",
)
@click.option("--json", "as_json", is_flag=True, help="print the URLs and the credentials as one JSON object")
def up(sweeps: Path | None, as_json: bool) -> None:
    """Run the embedded stack, one worker per queue, a gate, beat and Flower, until Ctrl-C."""
    from local.stack import Stack
    from workers.cli import fleet

    click.echo("starting", err=True)
    with Stack() as stack:
        file = sweeps.resolve() if sweeps else _example(stack.folder, stack.collection)
        fleet.adopt(stack, {"AUXIP_SWEEPS_FILE": str(file)})
        workers = fleet.start_workers(stack)
        flower_child, flower = fleet.start_flower(stack)
        children = [*workers, flower_child, fleet.start_beat(stack), fleet.start_gate(stack)]
        fleet.wait_for_workers(children)
        facts: Json = {
            **stack.environment(),
            "station": stack.station_url,
            "station_api_key": stack.station_key,
            "flower": flower.url,
            "flower_user": flower.user,
            "flower_password": flower.password,
            "environment_file": str(fleet.env_file(stack)),
            "logs": str(stack.folder),
        }
        print_json(facts) if as_json else _print(facts)
        with suppress(KeyboardInterrupt):  # the way to end it
            while True:
                fleet.check(children)
                time.sleep(_CHECK_EVERY)


def _example(folder: Path, collection: str) -> Path:
    from local import samples

    path = folder / "sweeps.toml"
    text = _EXAMPLE.format(
        collection=collection,
        product_types=json.dumps(list(samples.DEMO_PRODUCT_TYPES)),
        start=samples.DEMO_START.isoformat(),
        end=samples.DEMO_END.isoformat(),
    )
    path.write_text(text, "utf-8")
    return path


def _print(facts: Json) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")
    click.echo(
        f"\nIn another shell:  . {facts['environment_file']}\nand then:          auxip runs\nCtrl-C ends all of it."
    )
