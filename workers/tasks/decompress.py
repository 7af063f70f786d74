"""Queue `decompress`: archives expanded in place."""

from functools import partial

from shared.archives import expanded_name
from shared.runs.due import Step, StepName
from shared.runs.outages import plain_task_waiting_for_systems
from shared.runs.systems import needs_of_asset
from shared.steps.expand import expand_asset, process_asset
from workers.app import app, context
from workers.base import GuardedTask, perform
from workers.contract import BoundTask, ProcessAssetMessage, takes
from workers.identity import require_own_id


@app.task(name="auxip.process_asset", bind=True, base=GuardedTask, ignore_result=False)
@takes(ProcessAssetMessage)
def process(self: BoundTask, message: ProcessAssetMessage) -> str:
    """Replace one archive in S3 by its content; returns the href of the new prefix."""
    expanded_name(message.asset_name)  # a name that is no archive's is refused before anything is touched
    owner = message.env.owner_id if message.env else context().settings.default_owner
    require_own_id(context(), self)
    with plain_task_waiting_for_systems(context(), str(self.request.id), needs_of_asset(context(), owner)):
        return process_asset(context(), owner, message.asset_href, message.choice)


@app.task(name="auxip.step.expand_asset", bind=True)
def expand(self: BoundTask, run_id: str, key: str, name: str) -> None:
    """Expand one archive of one item; the archive stays until the expanded item is published."""
    perform(self, Step(StepName.EXPAND, run_id, key, name), partial(expand_asset, name=name))
