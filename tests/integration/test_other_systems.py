"""Other systems enqueue work with what the README tells them, and nothing of ours."""

import base64
import json
import re
import uuid
from pathlib import Path

from shared.context import Context
from tests.integration.conftest import Caller, of_type, wait_for
from tests.integration.test_runs import SECONDS

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_python_example_of_the_readme_stages_items(caller: Caller, context: Context) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    url = context.settings.redis_url.get_secret_value()
    example = example.replace("redis://:PASSWORD@HOST:6379/0", url).replace('"aux"', f'"{caller.collection}"')
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102 - the text is ours

    assert names["status"] is True
    collection = names["collection"]
    assert isinstance(collection, dict)
    assert collection["features"]
    app = names["app"]
    app.backend.client.close()  # type: ignore[attr-defined]  # whatever the example has made
    app.close()  # type: ignore[attr-defined]


def test_a_message_of_the_readmes_form_is_a_run_and_its_result_can_be_read(caller: Caller, context: Context) -> None:
    redis, task_id = context.ledger.redis, str(uuid.uuid4())
    arguments = {
        "env": caller.env,
        "cql2_filter": of_type("OPER_MPL_ORBSCT"),
        "catalog_collection_identifier": caller.collection,
    }
    links = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    message = {
        "headers": {"task": "auxip.staging", "id": task_id},
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "body": base64.b64encode(json.dumps([[], arguments, links]).encode()).decode(),
        "properties": {
            "delivery_tag": task_id,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "runs"},
        },
    }
    redis.lpush("runs", json.dumps(message))

    wait_for(lambda: redis.exists(f"celery-task-meta-{task_id}") == 1, "the result is there", SECONDS)
    result = json.loads(str(redis.get(f"celery-task-meta-{task_id}")))
    assert result["status"] == "SUCCESS"
    assert result["result"][0] is True
    assert len(result["result"][1]["features"]) == 2
