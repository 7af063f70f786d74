"""Queue `catalog`: items written to the catalog and read back."""

from shared.runs.due import Step, StepName
from shared.steps.batch import gather_others, publish_with_others
from shared.steps.publish import publish_expanded
from workers.app import app, context
from workers.base import handing_back, perform
from workers.contract import BoundTask


@app.task(name="auxip.step.publish_and_fetch", bind=True)
def fetch(self: BoundTask, run_id: str, key: str) -> None:
    """Publish one item as it was staged, unless a service has done so, and fetch it as the catalog has it.

    With it, other items of its run are published whose messages are still to come.
    """
    with handing_back():
        gather_others(context(), run_id, key)
    perform(self, Step(StepName.PUBLISH, run_id, key), publish_with_others)


@app.task(name="auxip.step.publish_expanded", bind=True)
def publish_with_content(self: BoundTask, run_id: str, key: str) -> None:
    """Publish one item as it is expanded, then delete its archives."""
    perform(self, Step(StepName.PUBLISH_EXPANDED, run_id, key), publish_expanded)
