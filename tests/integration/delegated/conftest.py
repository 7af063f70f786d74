"""A staging service of each test, and a context whose settings name it."""

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from local.stack import Stack
from shared.context import Context
from shared.settings import load_settings
from shared.storage.control import Control
from tests.integration.delegated.service import KEY, Service

OWNER = "steps"


@pytest.fixture(scope="session")
def services_context(stack: Stack) -> Iterator[Context]:
    """What the service itself works with."""
    with closing(Context(load_settings())) as opened:
        opened.catalog_of(OWNER), opened.station()  # now, and not by two of its threads at once
        yield opened


@pytest.fixture
def service(services_context: Context) -> Iterator[Service]:
    with Service(services_context, OWNER, services_context.settings.s3_bucket) as started:
        yield started


@pytest.fixture
def context(service: Service) -> Iterator[Context]:
    changes = {
        "staging_backend": "ogc",
        "staging_url": service.url,
        "staging_api_key": SecretStr(KEY),
        "staging_poll": 0.01,
    }
    with closing(Context(load_settings().model_copy(update=changes))) as opened:
        yield opened


@pytest.fixture
def other_bucket(stack: Stack) -> str:
    """A bucket that is not ours, which our credentials may use."""
    name = f"delegated-{uuid.uuid4().hex[:8]}"
    with closing(Control(load_settings())) as control:
        control.client.create_bucket(Bucket=name)
    return name
