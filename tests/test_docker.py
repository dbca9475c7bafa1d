"""The compose file and the images, as far as they can be checked without an engine.

Names must be those of the program: settings that exist, commands that the command line knows.
"""

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

from liveshelf.cli import app
from liveshelf.settings import PREFIX, WELL_KNOWN, Settings

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("liveshelf:")]
ONE_SHOT = {"topics"}


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


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights_to_spare(name: str) -> None:
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
    assert used == set(COMPOSE["volumes"])


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


@pytest.mark.parametrize("name", ["worker", "worker-gpu", "evaluator"])
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
    role = name.partition("-")[0].upper()
    assert f"LIVESHELF_{role}__INSTANCE=c0ffee" in seen.stdout.splitlines()


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
