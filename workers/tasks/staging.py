"""Queue `staging`: bytes from the station into S3."""

from shared.runs.due import Step, StepName
from shared.steps.stage import stage_item
from workers.app import app
from workers.base import perform
from workers.contract import BoundTask


@app.task(name="auxip.step.stage_item", bind=True)
def stage(self: BoundTask, run_id: str, key: str) -> None:
    """Stage the assets of one item."""
    perform(self, Step(StepName.STAGE, run_id, key), stage_item)
