"""Settings of the whole program. Each package defines its own; this module reads them from their sources.

The first source wins: arguments; ``LIVESHELF_*`` in the environment; the well-known ``KAFKA_BOOTSTRAP_SERVERS`` and
``REDIS_URL``; the file (``$LIVESHELF_CONFIG``, else ``liveshelf.toml`` in the working directory); and, for the
addresses of Kafka and Redis, a stack that runs in the stack's folder.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from evaluator.config import DashboardConfig, EvaluatorConfig
from evaluator.gate.config import GateConfig
from evaluator.monitoring.alerts.config import AlertsConfig
from evaluator.retraining.config import ExamplesConfig, LearningConfig, LoopConfig, TriggerConfig
from evaluator.rollout.config import RolloutConfig
from liveshelf.collect.config import CollectConfig
from liveshelf.stack_record import StackRecord
from streams.config import Config, Seconds, StreamsConfig
from streams.telemetry.masking import masked, masked_servers

PREFIX = "LIVESHELF_"
WELL_KNOWN = {"KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"), "REDIS_URL": ("redis", "url")}


class BadSettingsError(ValueError):
    """A setting cannot be used; the message is one paragraph for the user: which, why, and where it came from."""


class StackConfig(Config):
    """The local stack: used by ``up``, ``demo`` and the tests, not by workers."""

    folder: Path = Path(".liveshelf")
    kafka_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    redis_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    kafka_heap_mb: Annotated[int, Field(ge=128, le=1_000_000)] = 512
    redis_memory_mb: Annotated[int, Field(ge=16, le=10_000_000)] = 512
    workers: Annotated[int, Field(ge=1, le=1_000)] = 1
    stop_timeout_s: Seconds = 10.0

    @field_validator("folder")
    @classmethod
    def _possible(cls, folder: Path) -> Path:
        if "\0" in str(folder):
            raise ValueError("a folder's name has no NUL in it")
        return folder


class _WellKnown(PydanticBaseSettingsSource):
    """The two variables that hosting services set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        return {group: {key: os.environ[name]} for name, (group, key) in WELL_KNOWN.items() if os.environ.get(name)}


class _RunningStack(PydanticBaseSettingsSource):
    """A stack that runs in the folder which the earlier sources name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        group = self.current_state.get("stack")
        given = group.get("folder") if isinstance(group, Mapping) else getattr(group, "folder", None)
        record = StackRecord.read_live(Path(str(given or StackConfig().folder)))
        if record is None:
            return {}
        return {"kafka": {"bootstrap_servers": record.bootstrap_servers}, "redis": {"url": record.redis_url}}


class Settings(BaseSettings, StreamsConfig):
    """All settings. `load` makes them and explains what is wrong; ``docs/settings.md`` lists them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    stack: StackConfig = StackConfig()
    evaluator: EvaluatorConfig = EvaluatorConfig()
    alerts: AlertsConfig = AlertsConfig()
    dashboard: DashboardConfig = DashboardConfig()
    collect: CollectConfig = CollectConfig()
    examples: ExamplesConfig = ExamplesConfig()
    triggers: TriggerConfig = TriggerConfig()
    learning: LearningConfig = LearningConfig()
    gate: GateConfig = GateConfig()
    rollout: RolloutConfig = RolloutConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  - not read: the file is TOML
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, first wins."""
        file = InitSettingsSource(settings_cls, _read(config_file()))
        return init_settings, env_settings, _WellKnown(settings_cls), file, _RunningStack(settings_cls)

    def streams(self) -> StreamsConfig:
        """The settings of the package ``streams``."""
        return StreamsConfig(**{name: getattr(self, name) for name in StreamsConfig.model_fields})

    def loop(self) -> LoopConfig:
        """The settings of the trainer."""
        return LoopConfig(
            self.streams(),
            self.learning,
            self.examples,
            self.triggers,
            self.gate,
            self.rollout,
            self.evaluator.window_s + self.evaluator.grace_s,
        )

    def at(self, bootstrap_servers: str, redis_url: str) -> "Settings":
        """The same settings with other addresses of Kafka and Redis.

        Examples
        --------
        >>> Settings().at("broker:9092", "redis://cache/0").kafka.bootstrap_servers
        'broker:9092'
        """
        kafka = self.kafka.model_copy(update={"bootstrap_servers": bootstrap_servers})
        redis = self.redis.model_copy(update={"url": SecretStr(redis_url)})
        return self.model_copy(update={"kafka": kafka, "redis": redis})

    def own_kafka(self) -> str | None:
        """The bootstrap servers if they were set; with None the local stack starts its own."""
        return self.kafka.bootstrap_servers if "bootstrap_servers" in self.kafka.model_fields_set else None

    def own_redis(self) -> str | None:
        """The URL if it was set; with None the local stack starts its own."""
        return self.redis.url.get_secret_value() if "url" in self.redis.model_fields_set else None

    def dump(self) -> str:
        """TOML with masked secrets, as ``liveshelf config`` prints it."""
        return "\n".join(_toml(self))


def config_file() -> Path:
    """The settings file: ``$LIVESHELF_CONFIG``, else ``liveshelf.toml`` in the working directory; it may be missing."""
    return Path(os.environ.get(f"{PREFIX}CONFIG") or "liveshelf.toml")


def load(**arguments: Any) -> Settings:
    """Read the settings; every command calls this first.

    Parameters
    ----------
    **arguments
        Groups as nested mappings, ``stack={"workers": 2}``: these win over all other sources.

    Raises
    ------
    BadSettingsError
        When a setting cannot be used; the message names it and the source of its value.
    """
    file = config_file()
    if os.environ.get(f"{PREFIX}CONFIG") and not file.is_file():
        raise BadSettingsError(f"The settings file {file} that {PREFIX}CONFIG names is not there.")
    try:
        _refuse_unknown(os.environ)
        return Settings(**arguments)
    except RecursionError as error:
        raise BadSettingsError(f"The settings, in {file} or the environment, are nested too deep.") from error
    except SettingsError as error:
        raise BadSettingsError(_unreadable(error)) from error
    except ValidationError as error:
        raise BadSettingsError(_explain(error, arguments, file)) from error


def _read(file: Path) -> dict[str, Any]:
    """The values in a settings file; empty if it is missing."""
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise BadSettingsError(f"The settings file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadSettingsError(
            f"The settings file {file} is not UTF-8, as TOML is: {error}. Save it as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettingsError(f"The settings file {file} is not TOML: {error}.") from error


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """Refuse unknown group names. Validation finds a typo inside a group; one in its name would be ignored silently."""
    for name in environ:
        group, nested, _ = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and nested and group.lower() not in Settings.model_fields:
            near = get_close_matches(group.lower(), Settings.model_fields, n=1)
            hint = f" Did you mean {PREFIX}{near[0].upper()}__…?" if near else ""
            raise BadSettingsError(
                f"{name} in the environment sets nothing: there is no group '{group.lower()}'.{hint}"
            )


def _unreadable(error: SettingsError) -> str:
    """The message for a value that is not JSON; pydantic-settings names only the group."""
    quoted = str(error).split('"')
    group = quoted[1].upper() if len(quoted) > 1 else ""
    names = sorted(name for name in os.environ if name.upper().startswith(f"{PREFIX}{group}"))
    return f"Lists and mappings in the environment are written as JSON; this is not: one of {', '.join(names)}."


def _explain(error: ValidationError, arguments: Mapping[str, Any], file: Path) -> str:
    problems = []
    for problem in error.errors(include_url=False):
        path = tuple(str(part) for part in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        why = problem["msg"].removeprefix("Value error, ")
        reason = "there is no such setting" if unknown else why[:1].lower() + why[1:]
        problems.append(f"{'.'.join(path)} ({_origin(path, arguments, file)}): {reason}")
    return masked(f"The settings cannot be used. {'; '.join(problems)}.")


def _origin(path: tuple[str, ...], arguments: Mapping[str, Any], file: Path) -> str:
    """The source of the value at ``path``: the first one in order that has it."""
    if _has(arguments, path):
        return "given as an argument"
    environ = {name.upper() for name in os.environ}
    for length in range(len(path), 0, -1):
        name = PREFIX + "__".join(path[:length]).upper()
        if name in environ:
            return f"from {name} in the environment"
    group = PREFIX + "__".join(path).upper()
    if any(name.startswith(f"{group}__") for name in environ):
        return f"from {group}__… in the environment"
    for name, known in WELL_KNOWN.items():
        if known == path and os.environ.get(name):
            return f"from {name} in the environment"
    if _has(_read(file), path):
        return f"from {file}"
    return "from the running stack"


def _has(values: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if isinstance(values, BaseModel):
            values = values.model_dump()
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        else:
            return isinstance(values, list | tuple) and part.isdigit()
    return True


def _toml(settings: Settings) -> Iterator[str]:
    groups = settings.model_dump(mode="json")
    groups["redis"]["url"] = settings.redis.url.get_secret_value()
    groups["kafka"]["bootstrap_servers"] = masked_servers(settings.kafka.bootstrap_servers)
    for group, values in groups.items():
        yield f"[{group}]"
        for name, value in values.items():
            yield f"# {name} is not set" if value is None else f"{name} = {_toml_value(value)}"
        yield ""


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(masked(value) if isinstance(value, str) else value, ensure_ascii=False)
