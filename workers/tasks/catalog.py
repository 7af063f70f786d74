"""Queue `catalog`: items written to the catalog and read back."""

from shared.steps.due import Step, StepName
from shared.steps.publish import publish_expanded, publish_item
from workers.app import app
from workers.base import BoundTask, perform


@app.task(name="auxip.step.publish_item", bind=True)
def publish(self: BoundTask, run_id: str, key: str) -> None:
    """Publish one item as it was staged."""
    perform(self, Step(StepName.PUBLISH, run_id, key), publish_item)


@app.task(name="auxip.step.publish_expanded", bind=True)
def publish_with_content(self: BoundTask, run_id: str, key: str) -> None:
    """Publish one item as it is expanded, then delete its archives."""
    perform(self, Step(StepName.PUBLISH_EXPANDED, run_id, key), publish_expanded)
