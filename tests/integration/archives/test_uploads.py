"""What a killed worker leaves of a multipart upload is found and aborted, and nothing younger is."""

import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest
from pydantic import SecretStr

from local.stack import Stack
from shared.archives import Rules, expand, prefix_for
from shared.context import Context
from shared.errors import Refused, Retryable
from shared.settings import Settings, load_settings
from shared.storage.control import Control, Upload
from shared.storage.keys import Place
from shared.storage.location import Location
from tests.golden.make import tgz_of
from tests.integration.conftest import Caller
from workers.app import app

LEAVING = """
import os, signal, sys
from shared.settings import Settings, load_settings
from shared.storage.location import Location
from shared.storage.objects import ObjectStore

with ObjectStore(load_settings()).open_writer(Location.parse(sys.argv[1])) as writer:
    for _ in range(40):
        writer.write(bytes(2**20))
    os.kill(os.getpid(), signal.SIGKILL)
"""
PLACE = Place(Stack.bucket, "")
LARGE = bytes(range(256)) * 2**17


def leave(name: str) -> Location:
    """Begin a multipart upload as a worker does, and be killed in the middle of it."""
    location = Location(load_settings().s3_bucket, f"left/{name}")
    killed = subprocess.run([sys.executable, "-c", LEAVING, location.href], check=False)  # noqa: S603
    assert killed.returncode == -signal.SIGKILL
    return location


def unfinished() -> set[str]:
    with closing(Control(load_settings())) as control:
        return {upload.key for upload in control.unfinished(PLACE)}


def abort_uploads(settings: Settings, place: Place, older_than: timedelta) -> list[Upload]:
    with closing(Control(settings)) as control:
        return control.abort_uploads(place, older_than)


@pytest.mark.long
@pytest.mark.parametrize("name", ["plain.dat", "ä b+c&d=e%20#?.dat", "~(x)'*!.dat"])
def test_an_old_upload_is_aborted_and_a_young_one_is_not(context: Context, name: str) -> None:
    location = leave(name)
    assert location.key in unfinished()

    assert location.key not in {upload.key for upload in abort_uploads(context.settings, PLACE, timedelta(hours=1))}
    assert location.key in unfinished()
    assert location.key in {upload.key for upload in abort_uploads(context.settings, PLACE, timedelta(seconds=-5))}
    assert location.key not in unfinished()


def test_only_what_is_below_our_prefix_is_aborted(context: Context) -> None:
    location = leave("of-somebody-else.dat")
    ours = Place(PLACE.bucket, "ours/")

    assert abort_uploads(context.settings, ours, timedelta(seconds=-5)) == []
    assert location.key in unfinished()
    abort_uploads(context.settings, PLACE, timedelta(seconds=-5))


def test_a_member_that_is_cut_off_leaves_no_upload(context: Context) -> None:
    archive = Location(context.settings.s3_bucket, "cut-off/x.tgz")
    sound = tgz_of({"large.dat": LARGE})
    context.store.put(archive, sound[: len(sound) // 2])

    with pytest.raises(Exception, match="archive-damaged"):
        expand(context.store, archive, prefix_for(archive), Rules())

    assert not {key for key in unfinished() if key.startswith("cut-off/")}


def test_wrong_credentials_are_refused(context: Context) -> None:
    with pytest.raises(Refused, match="s3-denied"):
        abort_uploads(context.settings.model_copy(update={"s3_secret_access_key": SecretStr("x")}), PLACE, timedelta())


def test_a_store_that_is_away_is_asked_again_later(context: Context) -> None:
    with pytest.raises(Retryable, match="s3-unavailable"):
        abort_uploads(context.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}), PLACE, timedelta())


def test_the_task_leaves_what_is_younger_than_the_setting(caller: Caller) -> None:
    location = leave("young.dat")

    assert location.key not in app.send_task("auxip.clean_up").get(60)
    assert location.key in unfinished()


def test_beat_sends_the_task_once_a_day(stack: Stack) -> None:
    entry = app.conf.beat_schedule["clean up"]
    assert (entry["task"], entry["schedule"]) == ("auxip.clean_up", timedelta(days=1))
