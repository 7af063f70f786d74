"""What Celery's own lines of a log are about. Of a step, Celery writes its name and its id, and not its run."""

import logging
from collections.abc import Mapping

from celery import current_task

from shared import logs


def format_lines_of(logger: logging.Logger, form: logs.LogFormat) -> None:
    """Have the handlers of a logger write each line in this form, with what it is about."""
    logs.format_lines_of(logger, form)
    for handler in logger.handlers:
        handler.addFilter(_name_the_run)


def _name_the_run(record: logging.LogRecord) -> bool:
    """Add what Flower shows of a step and, once it is begun, its run to a line about it; every line passes."""
    said = record.args
    if isinstance(said, Mapping) and str(said.get("name", "")).startswith("auxip.step."):
        known = {"about": said.get("args"), "run": current_task.request.root_id if current_task else None}
        record.work = {name: str(value) for name, value in known.items() if value}
    return True
