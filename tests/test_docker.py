"""The compose file and the images, as far as they can be checked without an engine.

Names must be those of the program: settings that exist, commands that the command line knows.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from liveshelf.cli.app import app
from liveshelf.collect.config import CollectConfig
from liveshelf.settings import PREFIX, WELL_KNOWN, Settings

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("liveshelf:")]
ONE_SHOT = {"topics"}
WATCHING = ["prometheus", "alertmanager", "grafana"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
RULES = [
    rule
    for group in yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "dashboards" / "liveshelf.json").read_text())
METRIC = re.compile(r"\bliveshelf[_:][a-z0-9_:]+")


def known_command(words: list[str]) -> bool:
    """Whether the command line has this command, words of groups included, and takes these options."""
    command: Any = get_command(app)
    rest = list(words)
    while rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        if word not in getattr(command, "commands", {}):
            return False
        command = command.commands[word]
    options = {name for parameter in command.params for name in parameter.opts}
    return all(word in options for word in rest if word.startswith("-"))


def known_setting(name: str) -> bool:
    """Whether an environment variable sets something."""
    if name in WELL_KNOWN:
        return True
    model: Any = Settings
    for part in name.removeprefix(PREFIX).lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields):
            return False
        model = model.model_fields[part].annotation
    return name.startswith(PREFIX)


def expressions() -> dict[str, list[str]]:
    """What is asked of Prometheus, by who asks: the dashboard's panels and variables, and the rules."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    variables = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"]]
    return {"dashboard": panels + variables, "rules": [rule["expr"] for rule in RULES]}


def documented(metric: str) -> bool:
    """Whether docs/metrics.md lists a metric; tests/integration/test_alerting.py holds that list to what roles show."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    listed = {name.replace("{source}", "[a-z]+") for name in re.findall(r"`(liveshelf[_:][a-z0-9_:{}]+)`", text)}
    return any(re.fullmatch(name, re.sub("stage_seconds_(count|sum)$", "stage_seconds", metric)) for name in listed)


def stages(text: str) -> list[str]:
    """The base images of a Dockerfile."""
    return re.findall(r"^FROM (\S+)", text, flags=re.M)


def test_checks_can_fail() -> None:
    assert known_setting("LIVESHELF_TOPICS__PARTITIONS")
    assert not known_setting("LIVESHELF_TOPICS__PARTITION")
    assert not known_setting("PARTITIONS")
    assert known_command(["topics", "create"])
    assert not known_command(["topics", "make"])
    assert known_command(["health", "--role", "worker"]) and not known_command(["health", "--rule", "worker"])


@pytest.mark.parametrize("name", SERVICES)
def test_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in ONE_SHOT:
        assert check == {"disable": True}
        return
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    if name in OURS:
        assert check["test"][1] == "liveshelf"
        assert known_command(check["test"][2:])


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert str(port).startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_fixed(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image
    assert tag not in {"", "latest"}


@pytest.mark.parametrize("name", SERVICES)
def test_long_running_services_come_back(name: str) -> None:
    assert SERVICES[name].get("restart") == (None if name in ONE_SHOT else "unless-stopped")


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    assert known_command(SERVICES[name]["command"])


@pytest.mark.parametrize("name", OURS)
def test_environment_sets_what_there_is_to_set(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert set(WELL_KNOWN) <= set(environment)
    assert [variable for variable in environment if not known_setting(variable)] == []


@pytest.mark.parametrize("name", [*OURS, *WATCHING])
def test_containers_have_no_rights_to_spare(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_workers_wait_for_what_they_need() -> None:
    for name in ("worker", "worker-gpu"):
        conditions = {on: how["condition"] for on, how in SERVICES[name]["depends_on"].items()}
        assert conditions == {
            "kafka": "service_healthy",
            "redis": "service_healthy",
            "topics": "service_completed_successfully",
        }


def test_volumes_are_declared_and_used() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])
    assert all((DOCKER / name).is_dir() for name in used if name.startswith("./"))


def test_pages_listen_where_they_are_published_and_not_without_a_key() -> None:
    for name, keys in (("collector", ("WRITE", "PAGE", "READ")), ("dashboard", ())):
        environment, group = SERVICES[name]["environment"], name.upper().removesuffix("OR")
        default = Settings.model_fields[group.lower()].get_default(call_default_factory=True)
        [port] = SERVICES[name]["ports"]
        assert port.rpartition(":")[2] == str(default.port) and environment[f"LIVESHELF_{group}__HOST"] == "0.0.0.0"
        assert all(environment[f"LIVESHELF_COLLECT__{key}_KEY"] == f"${{COLLECT_{key}_KEY:-}}" for key in keys)
    with pytest.raises(ValueError, match="WRITE_KEY"):
        CollectConfig(host="0.0.0.0", write_key="", page_key="", read_key="")


def test_redis_never_evicts() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"
    assert "--maxmemory" in options


def test_kafka_is_the_version_that_is_tested() -> None:
    lock = tomllib.loads((ROOT / "liveshelf" / "stack" / "kafka.lock").read_text())
    (version,) = {found["version"] for found in lock["dependencies"] if found["artifactId"] == "kafka_2.13"}
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


@pytest.mark.parametrize("name", ["worker", "worker-gpu", "evaluator", "trainer"])
def test_a_role_is_named_after_its_container(name: str) -> None:
    shell, flag, script, *rest = (part.replace("$$", "$") for part in SERVICES[name]["entrypoint"])
    assert script.endswith('exec liveshelf "$@"') and rest == ["liveshelf"]
    seen = subprocess.run(
        [shell, flag, script.replace('exec liveshelf "$@"', "exec env")],
        env={"HOSTNAME": "c0ffee", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    settings = "LEARNING" if name == "trainer" else name.partition("-")[0].upper()
    assert f"LIVESHELF_{settings}__INSTANCE=c0ffee" in seen.stdout.splitlines()


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_libraries_are_installed_before_the_code_is_copied(file: Path) -> None:
    text = file.read_text()
    assert text.index("--requirement requirements.txt") < text.index("COPY . .")
    script = re.search(r"python3 -c '(.*?)' > requirements\.txt", text, flags=re.S)
    assert script is not None
    code = script[1].replace("\\\n", "")
    listed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert any(line.startswith("faust-streaming") for line in listed.stdout.splitlines())


def test_gpu_is_opt_in() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"worker-gpu"}


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_dockerfile(file: Path) -> None:
    text = file.read_text()
    assert len(stages(text)) == 2
    assert all(":" in base and not base.endswith(":latest") for base in stages(text))
    final = text[text.rindex("\nFROM ") :]
    (user,) = re.findall(r"^USER (\d+):\d+$", final, flags=re.M)
    assert int(user) > 0
    assert final.index("\nUSER ") < final.index("\nENTRYPOINT ")
    assert 'ENTRYPOINT ["liveshelf"]' in final
    (command,) = re.findall(r'^CMD \["([a-z-]+)"\]', final, flags=re.M)
    assert known_command([command])
    assert 'CMD ["liveshelf", "health"]' in final


def test_built_dockerfiles_are_there() -> None:
    built = {
        ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]
        for service in SERVICES.values()
        if "build" in service
    }
    assert {path.resolve() for path in built} == {path.resolve() for path in DOCKERFILES}


def test_build_context_holds_what_is_installed() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {"pyproject.toml", "README.md", "LICENSE", "models", "streams", "liveshelf"} <= kept


@pytest.mark.parametrize("who", ["dashboard", "rules"])
def test_only_what_is_exported_is_asked_for(who: str) -> None:
    asked = {metric for expression in expressions()[who] for metric in METRIC.findall(expression)}
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    assert {metric for metric in asked if ":" in metric} <= recorded
    assert len(asked) > 10 and [metric for metric in asked if not documented(metric)] == []
    assert not documented("liveshelf_worker_event_total") and documented("liveshelf_worker_top_vector_total")


def test_every_recorded_series_is_listed() -> None:
    assert [rule["record"] for rule in RULES if "record" in rule and not documented(rule["record"])] == []


def test_every_alert_of_prometheus_says_what_to_do_and_is_listed() -> None:
    listed = (ROOT / "docs" / "alerts.md").read_text()
    for rule in (rule for rule in RULES if "alert" in rule):
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f"`{rule['alert']}`" in listed


def test_prometheus_looks_where_roles_listen_and_alerts_go_where_alertmanager_is() -> None:
    asked = {}
    for job in PROMETHEUS["scrape_configs"]:
        for found in job["dns_sd_configs"]:
            asked |= dict.fromkeys(found["names"], found["port"])
    reporting = [name for name in OURS if name not in {*ONE_SHOT, "dashboard", "collector"}]
    listening = {name: SERVICES[name]["environment"]["LIVESHELF_METRICS__PORT"] for name in reporting}
    assert asked == listening | {"collector": CollectConfig().port}
    assert all("ports" not in SERVICES[name] for name in reporting), "roles' pages are not published"
    [address] = PROMETHEUS["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert address == "alertmanager:9093"
    assert SERVICES["evaluator"]["environment"]["LIVESHELF_ALERTS__ALERTMANAGER_URL"] == f"http://{address}"


def test_the_token_is_the_same_on_both_sides(tmp_path: Path) -> None:
    tokens = {SERVICES[name]["environment"]["LIVESHELF_METRICS__TOKEN"] for name in OURS}
    assert tokens == {SERVICES["prometheus"]["environment"]["METRICS_TOKEN"]}
    shell, flag, script, *rest = (part.replace("$$", "$") for part in SERVICES["prometheus"]["entrypoint"])
    file = tmp_path / "token"
    [path] = {job["authorization"]["credentials_file"] for job in PROMETHEUS["scrape_configs"]}
    assert path in script and SERVICES["prometheus"]["tmpfs"] == [str(Path(path).parent)]
    script = script.replace(path, str(file)).replace("exec prometheus", "exec echo")
    env = {"METRICS_TOKEN": "a b$c", "PATH": os.environ["PATH"]}
    said = subprocess.run([shell, flag, script, *rest, "--x"], env=env, capture_output=True, text=True, check=True)
    assert (file.read_text(), file.stat().st_mode & 0o077, said.stdout) == ("a b$c", 0, "--x\n")


def test_grafana_finds_its_data_and_its_dashboard() -> None:
    folder = DOCKER / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if panel["type"] != "row"}
    assert used == {source["uid"]} and source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((folder / "dashboards" / "liveshelf.yaml").read_text())["providers"]
    mounted = [volume for volume in SERVICES["grafana"]["volumes"] if volume.startswith("./grafana/dashboards:")]
    assert mounted == [f"./grafana/dashboards:{provider['options']['path']}:ro"]
    assert SERVICES["evaluator"]["environment"]["LIVESHELF_ALERTS__LINK"].endswith(f"/d/{DASHBOARD['uid']}")
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_dashboard_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
