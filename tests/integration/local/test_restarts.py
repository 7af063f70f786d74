"""Parts of the stack that are killed start again where they were, and the store can be full."""

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store
from redis import Redis

from local import samples
from local.errors import StackError
from local.stack import Stack
from tests.integration.conftest import wait_for


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    with Stack(fsync="always", volumes=1) as stack:
        yield stack


@pytest.fixture
def store(own_stack: Stack) -> S3Store:
    environ = own_stack.environment()
    return S3Store(
        environ["AUXIP_S3_BUCKET"],
        endpoint=environ["AUXIP_S3_ENDPOINT"],
        access_key_id=environ["AUXIP_S3_ACCESS_KEY_ID"],
        secret_access_key=environ["AUXIP_S3_SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def kill_and_start_again(stack: Stack, name: str) -> None:
    child = next(child for child in stack.children if child.name == name)
    child.popen.kill()
    child.popen.wait()
    stack.start_again(name)
    stack.wait()


def test_valkey_comes_back_with_what_it_has_acknowledged(own_stack: Stack) -> None:
    with closing(Redis.from_url(own_stack.environment()["AUXIP_REDIS_URL"])) as redis:
        redis.set("written", "just before")
        kill_and_start_again(own_stack, "valkey")
        assert redis.get("written") == b"just before"


def test_seaweedfs_comes_back_with_its_objects(own_stack: Stack, store: S3Store) -> None:
    store.put("written", b"just before")
    kill_and_start_again(own_stack, "seaweedfs")
    # It takes new objects before it has found the old ones: until then it answers 500, which our clients try again.
    wait_for(lambda: content(store, "written") is not None, "it has found its objects")
    assert content(store, "written") == b"just before"


def content(store: S3Store, key: str) -> bytes | None:
    try:
        return bytes(store.get(key).bytes())
    except BaseError:
        return None


def test_the_station_comes_back_with_its_items(own_stack: Stack) -> None:
    kill_and_start_again(own_stack, "stac")
    answer = httpx.get(
        f"{own_stack.station_url}/collections/{samples.STATION_COLLECTION}",
        headers={"x-api-key": own_stack.station_key},
    )
    assert answer.is_success


def test_a_full_store_refuses_new_objects_and_keeps_and_deletes_old_ones(own_stack: Stack, store: S3Store) -> None:
    store.put("kept", b"old")
    store.put("deleted", b"old")
    own_stack.set_store_full(True)
    with pytest.raises(BaseError, match="500 Internal Server Error"):
        store.put("refused", b"new")
    store.delete("deleted")
    assert bytes(store.get("kept").bytes()) == b"old"
    own_stack.set_store_full(False)
    store.put("taken", b"new")


def test_a_part_that_does_not_exist_cannot_be_started(own_stack: Stack) -> None:
    with pytest.raises(StackError, match="no part 'postgres'"):
        own_stack.start_again("postgres")
