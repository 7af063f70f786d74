"""A file of a station in a folder: only whole and verified, and never over another one."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import AuxipError, ItemFailed, Rejected, Retryable
from shared.stac.item import Asset
from shared.stations.config import S3ListConfig
from shared.stations.s3_list import S3ListStation
from shared.storage.files import save_asset
from tests.stations.bucket import Bucket
from tests.stations.serving import Service, serving
from tests.unit.making import settings_of

CONTENT = b"orbit" * 1000
SETTINGS = settings_of(backoff_base=0.01, backoff_max=0.05)


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket()
    bucket.add("x.EOF", CONTENT)
    return bucket


@pytest.fixture
def service(bucket: Bucket) -> Iterator[Service]:
    with serving(bucket) as service:
        yield service


@pytest.fixture
def station(service: Service) -> Iterator[S3ListStation]:
    opened = S3ListStation("one", S3ListConfig.model_validate({"url": service.url}), SETTINGS)
    yield opened
    opened.close()


def asset(service: Service, content: bytes = CONTENT, function: str = "md5", prefix: str = "d50110") -> Asset:
    digest = hashlib.new(function, content, usedforsecurity=False).hexdigest()
    stated = {"href": f"{service.url}/x.EOF", "file:size": len(content), "file:checksum": prefix + digest}
    return Asset.model_validate(stated)


@pytest.mark.parametrize(("function", "prefix"), [("md5", "d50110"), ("md5", ""), ("sha256", "1220")])
def test_the_file_is_saved_under_its_name(
    service: Service, station: S3ListStation, tmp_path: Path, function: str, prefix: str
) -> None:
    path = save_asset(station.api, "x.EOF", asset(service, CONTENT, function, prefix), tmp_path, SETTINGS)
    assert path == tmp_path / "x.EOF"
    assert path.read_bytes() == CONTENT
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("served", "code"), [(CONTENT[:-1], "size-mismatch"), (CONTENT[:-1] + b"x", "checksum-mismatch")]
)
def test_wrong_bytes_leave_nothing(
    bucket: Bucket, service: Service, station: S3ListStation, tmp_path: Path, served: bytes, code: str
) -> None:
    bucket.objects["x.EOF"] = served
    with pytest.raises(Retryable, match=code):
        save_asset(station.api, "x.EOF", asset(service), tmp_path, SETTINGS)
    assert [*tmp_path.iterdir()] == []


def test_the_same_file_is_not_downloaded_again(service: Service, station: S3ListStation, tmp_path: Path) -> None:
    for _ in range(2):
        save_asset(station.api, "x.EOF", asset(service), tmp_path, SETTINGS)
    assert len(service.asked) == 1


@pytest.mark.parametrize("stated", [True, False])
def test_another_file_of_the_name_stays(service: Service, station: S3ListStation, tmp_path: Path, stated: bool) -> None:
    (tmp_path / "x.EOF").write_bytes(b"mine")
    wanted = asset(service) if stated else Asset(href=f"{service.url}/x.EOF")
    with pytest.raises(Rejected, match="file-exists"):
        save_asset(station.api, "x.EOF", wanted, tmp_path, SETTINGS)
    assert (tmp_path / "x.EOF").read_bytes() == b"mine"
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("name", ["../x.EOF", "a/b", "", "..", "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused(
    service: Service, station: S3ListStation, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ItemFailed, match="unsafe-asset-name"):
        save_asset(station.api, name, asset(service), tmp_path, SETTINGS)


@pytest.mark.parametrize("href", ["s3://bucket/x.EOF", "x.EOF", "file:///etc/passwd"])
def test_only_what_http_gives_is_saved(station: S3ListStation, service: Service, tmp_path: Path, href: str) -> None:
    with pytest.raises(ItemFailed, match="unsupported-href"):
        save_asset(station.api, "x.EOF", Asset(href=href), tmp_path, SETTINGS)
    assert service.asked == []


def test_a_size_of_0_beside_a_checksum_is_unknown(service: Service, station: S3ListStation, tmp_path: Path) -> None:
    wanted = asset(service).model_copy(update={"size": 0})
    assert save_asset(station.api, "x.EOF", wanted, tmp_path, SETTINGS).read_bytes() == CONTENT


def test_a_link_in_the_place_of_the_file_is_not_followed(
    service: Service, station: S3ListStation, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "x.EOF").symlink_to(elsewhere)
    with pytest.raises(AuxipError, match="file-exists"):
        save_asset(station.api, "x.EOF", asset(service), tmp_path, SETTINGS)
    assert not elsewhere.exists()


def test_a_folder_that_is_none_is_told(service: Service, station: S3ListStation, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="bad-folder"):
        save_asset(station.api, "x.EOF", asset(service), tmp_path / "none", SETTINGS)
