"""The application as it is, with the services of `free_services`: `tests.benchmarks.free_app:app`.

Every task, setting and signal is that of `workers.app`; the two marks cost some microseconds of an item's first step.
"""

import os
import time
from pathlib import Path
from unittest.mock import patch

from celery import Task
from celery.signals import after_task_publish, task_prerun

import workers.app
from tests.benchmarks.free_services import FreeContext, expand
from tests.benchmarks.shelves import FOLDER, Marks
from workers.app import app as app

_FIRST_STEP = "auxip.step.stage_item"
_marks = Marks(Path(os.environ[FOLDER]))

patch.object(workers.app, "Context", FreeContext).start()
patch("shared.steps.expand.expand", expand).start()


@after_task_publish.connect(sender=_FIRST_STEP, weak=False)
def _fed(**_: object) -> None:
    _marks.set_fed(time.time())


@task_prerun.connect(weak=False)
def _begun(task: "Task[..., object]", **_: object) -> None:
    if task.name == _FIRST_STEP:
        _marks.set_begun(time.time())
