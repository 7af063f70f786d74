"""Other systems enqueue work as the page "Call it from your system" says, and with nothing of ours."""

import json
import re
from pathlib import Path

import pytest

from local.stack import Stack
from shared.context import Context
from tests.integration.conftest import Caller, wait_for
from tests.integration.test_runs import SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "call.md").read_text("utf-8")


def test_the_python_example_of_the_page_stages_items(caller: Caller, context: Context) -> None:
    (example,) = (each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Celery" in each)
    url = context.settings.redis_url.get_secret_value()
    example = example.replace("redis://default:PASSWORD@HOST:6379/0", url).replace('"aux"', f'"{caller.collection}"')
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102 - the text is ours

    assert names["status"] is True
    collection = names["collection"]
    assert isinstance(collection, dict)
    assert collection["features"]
    app = names["app"]
    app.backend.client.close()  # type: ignore[attr-defined]  # whatever the example has made
    app.close()  # type: ignore[attr-defined]


@pytest.mark.long
def test_the_request_of_the_page_is_a_run_and_is_answered(caller: Caller, stack: Stack, context: Context) -> None:
    from workers.cli.fleet import start_gate

    (example,) = re.findall(r"LPUSH auxip:intake '(.*?)'\n", PAGE, re.DOTALL)
    (reply_list,) = re.findall(r"BRPOP (\S+) ", PAGE)
    request = json.loads(example)
    request["arguments"]["catalog_collection_identifier"] = caller.collection
    redis = context.ledger.redis
    redis.lpush("auxip:intake", json.dumps(request))
    gate = start_gate(stack)
    wait_for(lambda: redis.llen(reply_list) == 1, "it is answered", SECONDS)
    gate.stop(10)

    answer = json.loads(str(redis.lindex(reply_list, 0)))
    assert (answer["id"], answer["status"]) == (request["id"], "successful")
    assert answer["result"][0] is True
    assert answer["result"][1]["features"]
    assert context.ledger.run(request["id"]).state == "successful"
