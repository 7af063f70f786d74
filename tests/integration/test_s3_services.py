"""Other S3 services than the embedded one: the whole of what we ask of a store, as each of them takes it."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.context import Context
from shared.errors import Retryable
from shared.http.probes import Fault
from shared.storage.digests import PART_BYTES
from shared.storage.keys import Place
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from tests import s3_front
from tests.s3_front import Front, Rule
from tests.tls import TlsProxy

LARGE = bytes(range(256)) * (2 * PART_BYTES // 256 + 1)


def used_whole(store: ObjectStore, bucket: str) -> None:
    """Use a store as the workers do: write, replace, read, list, copy, upload in parts, delete."""
    folder = f"services-{uuid.uuid4().hex}"
    small, large, copy = (Location(bucket, f"{folder}/{name}") for name in ("a b+ä.dat", "large.bin", "copy.bin"))
    written = store.put(small, b"one")
    store.replace(small, b"two", written.etag)
    with pytest.raises(Retryable, match="s3-changed"):
        store.replace(small, b"three", written.etag)
    store.replace(large, LARGE, None)
    with store.open_writer(copy) as writer:
        writer.write(LARGE)
    store.verify(copy, writer.written)
    stored = store.head(large)
    assert stored is not None
    store.control.copy(large, stored, copy)
    assert store.get(copy, len(LARGE)) == LARGE

    resumed = Location(bucket, f"{folder}/resumed.bin")
    upload = store.control.begin_upload(resumed, "application/octet-stream")
    etag = store.control.upload_part(resumed, upload, 1, LARGE[:PART_BYTES])
    assert store.control.whole_parts(resumed, upload) == [etag]
    assert [one.key for one in store.control.unfinished(Place(bucket, f"{folder}/"))] == [resumed.key]
    store.control.abort(resumed, upload)

    assert {one.key for one in store.list(Location(bucket, f"{folder}/"))} == {small.key, large.key, copy.key}
    assert not store.control.delete(small, written.etag)
    store.control.delete_all([small, large])
    store.delete(copy)
    assert list(store.list(Location(bucket, f"{folder}/"))) == []


@contextmanager
def store_behind(context: Context, *rules: Rule, **settings: object) -> Iterator[tuple[ObjectStore, Front]]:
    with s3_front.before(context.settings.s3_endpoint, *rules) as front:
        store = ObjectStore(context.settings.model_copy(update={"s3_endpoint": front.url, **settings}))
        yield store, front
        store.control.close()


def test_a_service_without_checksum_trailers_is_used_whole(context: Context) -> None:
    with store_behind(context, s3_front.no_checksum_trailers) as (store, _):
        used_whole(store, context.settings.s3_bucket)


def test_a_service_that_wants_an_md5_of_a_list_to_delete_is_used_whole(context: Context) -> None:
    with store_behind(context, s3_front.deletes_with_md5) as (store, _):
        used_whole(store, context.settings.s3_bucket)


@pytest.mark.long
def test_a_service_without_conditions_on_deletes_and_completions_is_used_whole(context: Context) -> None:
    with store_behind(context, s3_front.no_conditions) as (store, _):
        used_whole(store, context.settings.s3_bucket)


def test_requests_are_signed_for_the_region_of_the_setting(context: Context) -> None:
    with store_behind(context, s3_front.only_region("eu-central-1"), s3_region="eu-central-1") as (store, _):
        used_whole(store, context.settings.s3_bucket)
    with store_behind(context, s3_front.only_region("eu-central-1")) as (store, _), pytest.raises(Retryable):
        store.put(Location(context.settings.s3_bucket, "a"), b"one")


def test_a_service_that_takes_virtual_hosts_only_is_used_whole(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = context.settings.s3_bucket
    with s3_front.before(context.settings.s3_endpoint, s3_front.only_virtual_hosts(bucket)) as front:
        monkeypatch.setenv("http_proxy", front.url)  # which finds the hosts that no name server knows
        settings = {"s3_endpoint": "http://s3.test", "s3_addressing": "virtual"}
        store = ObjectStore(context.settings.model_copy(update=settings))
        used_whole(store, bucket)
        store.control.close()
    assert {asked.host for asked in front.service.asked} == {f"{bucket}.s3.test"}


@pytest.mark.long
def test_buckets_are_in_the_path_unless_the_setting_says_otherwise(context: Context) -> None:
    with store_behind(context) as (store, front):
        used_whole(store, context.settings.s3_bucket)
    assert {urlsplit(front.url).netloc} == {asked.host for asked in front.service.asked}


@pytest.mark.long
def test_a_service_with_a_certificate_of_a_private_authority_is_used_whole(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = TlsProxy(tmp_path, urlsplit(context.settings.s3_endpoint).port or 0)
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.ca))
    store = ObjectStore(context.settings.model_copy(update={"s3_endpoint": f"https://127.0.0.1:{proxy.port}"}))
    try:
        used_whole(store, context.settings.s3_bucket)
    finally:
        store.control.close()
        proxy.close()


def test_a_catalog_and_a_station_with_such_a_certificate_are_asked(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = TlsProxy(tmp_path, urlsplit(context.settings.catalog_url).port or 0)
    stations = tmp_path / "stations.toml"
    stations.write_text(f'[station.tls]\nurl = "https://127.0.0.1:{proxy.port}"\nallow_private = true\n')
    url = urlsplit(context.settings.catalog_url)._replace(scheme="https", netloc=f"127.0.0.1:{proxy.port}").geturl()
    settings = context.settings.model_copy(update={"catalog_url": url, "stations_file": stations})

    def faults() -> list[Fault]:
        with closing(Context(settings)) as anew:
            found = [
                anew.station().probe(Fault.UNAVAILABLE),
                anew.catalog_of("demo").probe(Fault.UNAVAILABLE, "aux"),
            ]
            return [finding.fault for finding in found if finding is not None]

    try:
        assert faults() == [Fault.UNAVAILABLE, Fault.UNAVAILABLE]
        monkeypatch.setenv("SSL_CERT_FILE", str(proxy.ca))
        assert faults() == []
    finally:
        proxy.close()
