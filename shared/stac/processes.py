"""A staging service: OGC API - Processes (OGC 18-062r2), whose process `staging` copies items and publishes them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.errors import Rejected, Retryable
from shared.http.api import JsonApi, http_client
from shared.http.auth import api_key_hook
from shared.http.probes import Fault, Finding, probe_api
from shared.json_types import Json
from shared.settings import Settings
from shared.stac.item import Item
from shared.validation import first_problem

_NAME = "staging"
_NO_JOB = "auxip-probe"
_EXECUTION = "/processes/staging/execution"
_TIMEOUT = 30.0
_MAX_ANSWER_BYTES = 2**20
_LONGEST_MESSAGE = 300


class JobState(StrEnum):
    """Where a job stands; the last three are final (OGC 18-062r2, table 17)."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"


def _percent(value: object) -> int:
    """What a service says of its progress is for people: whatever it is, no job fails for it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= 100 else 100 * (value > 100)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return text[:_LONGEST_MESSAGE].encode("utf-8", "replace").decode("utf-8")


class StatusInfo(BaseModel):
    """What a service tells of a job; `progress` is a percentage from 0 to 100."""

    model_config = ConfigDict(frozen=True)

    job_id: str = Field(alias="jobID", pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$")
    status: JobState
    progress: Annotated[int, BeforeValidator(_percent)] = 0
    message: Annotated[str, BeforeValidator(_text)] = ""


class StagingService:
    """The staging service of the settings.

    Every request raises what `JsonApi` does, with the name `staging` in its codes; `staging-bad-answer` is also a
    statusInfo that is none.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.staging_url is None:
            raise Rejected("bad-setting", "AUXIP_STAGING_URL is not set: there is no staging service")
        client = http_client(_TIMEOUT, api_key_hook(settings.staging_api_key, settings.staging_url))
        self.api = JsonApi(
            _NAME,
            settings.staging_url,
            client,
            _MAX_ANSWER_BYTES,
            "AUXIP_STAGING_API_KEY",
            settings.backoff_base,
            repeatable=False,
        )

    def probe(self, suspected: Fault) -> Finding | None:
        """Return what is wrong with the service, or None; it is asked for a job that it does not know."""
        guarded = ("GET", _path(_NO_JOB) if suspected is Fault.REFUSED else "/processes/staging", None)
        return probe_api(self.api, suspected, guarded)

    def execute(self, collection: str, item: Item, asset_names: Sequence[str]) -> StatusInfo:
        """Ask for these assets of an item to be staged; an item that the catalog has is not staged a second time.

        The answer is 201 also where the job has failed already: only its `status` counts.

        Args:
            collection: of the catalog.
            item: as the station gave it. One for each job: a job that fails deletes every file that it has written.
            asset_names: keys of its assets.
        """
        items: Json = {"value": {"type": "FeatureCollection", "features": [item.to_json()]}}
        inputs: Json = {"collection": collection, "asset_names": list(asset_names), "items": items}
        return _status_info(self.api.call("POST", _EXECUTION, {"inputs": inputs}).body)

    def job(self, job_id: str) -> StatusInfo | None:
        """Return what becomes of a job, or None where the service does not know it (any more)."""
        answer = self.api.call("GET", _path(job_id), expected=(404,))
        if answer.status == 404:
            return None
        info = _status_info(answer.body)
        if info.job_id != job_id:
            raise Retryable("staging-bad-answer", f"asked for the job {job_id}, the staging service tells of another")
        return info

    def dismiss(self, job_id: str) -> None:
        """Have a job forgotten. A transfer that is under way may go on all the same."""
        self.api.call("DELETE", _path(job_id), expected=(404,))


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _status_info(body: Json) -> StatusInfo:
    try:
        return StatusInfo.model_validate(body)
    except ValidationError as error:
        reason = f"the staging service's statusInfo is malformed: {first_problem(error)}"
        raise Retryable("staging-bad-answer", reason) from None
