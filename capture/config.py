"""Pure: the configuration: TOML text to a frozen, validated value, with errors that say where, what and how to mend it.

Every key stands, with its default and effect, in deploy/config.example.toml (a test holds the two together). An
unknown key is an error that names its nearest neighbour. Nothing else in modicum is configured: no environment, no
hidden switches. `capture/effects.py` turns sections into what the governor, policy and budget take, and into words.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from capture.catalogue import check_allowed, classes_of, group_of
from capture.errors import ConfigError
from capture.labels import Copies, Labels
from capture.shortcut import parse_shortcut
from capture.sites import pattern_of
from capture.units import Hours, parse_duration, parse_hours, parse_share, parse_size, show_duration, show_size


def _between(low: Any, high: Any, show: Callable[[Any], str]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        if not low <= value <= high:
            raise ValueError(f'must be between "{show(low)}" and "{show(high)}"')
        return value

    return validate


def _size(low: int, high: int = 1 << 50) -> Any:
    return BeforeValidator(lambda value: _between(low, high, show_size)(parse_size(value)))


def _time(low: timedelta, high: timedelta) -> Any:
    return BeforeValidator(lambda value: _between(low, high, show_duration)(parse_duration(value)))


MS, S, MIN, H, DAYS = (timedelta(milliseconds=ms) for ms in (1, 1000, 60_000, 3_600_000, 86_400_000))

Size = Annotated[int, _size(1)]
Share = Annotated[float, BeforeValidator(parse_share)]
Window = Annotated[Hours, BeforeValidator(parse_hours)]


MIN_LETTERS = 2
"""An allow rule names something."""


class Section(BaseModel):
    """A table of the file: frozen, and without room for keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, strict=True)


class Sendable(StrEnum):
    """What may go over a link."""

    NOTHING = "nothing"
    EVENTS = "events"
    ALL = "all"


class LinkClass(StrEnum):
    """What a network can be declared to be."""

    UNMETERED = "unmetered"
    METERED = "metered"
    ROAMING = "roaming"


class EffortChoice(StrEnum):
    """Which screen encoder: the governor's choice, the quick one, or the thorough one."""

    AUTO = "auto"
    FAST = "fast"
    SMALL = "small"


class Desktop(StrEnum):
    """Whether the desktop's background, where no window is, may be seen."""

    HIDE = "hide"
    SHOW = "show"


class WhenFull(StrEnum):
    """What a full spool does."""

    DROP_LOWEST_VALUE = "drop-lowest-value"
    DROP_OLDEST = "drop-oldest"
    PAUSE = "pause"


def _choice(kind: type[StrEnum]) -> Any:
    allowed = ", ".join(f'"{member}"' for member in kind)

    def parse(value: object) -> StrEnum:
        try:
            return kind(str(value))
        except ValueError:
            raise ValueError(f"write one of {allowed}") from None

    return BeforeValidator(parse)


class Purpose(StrEnum):
    """What recordings may be used for. Others cannot be expressed; the assessment of people is not among them."""

    TRAINING = "computer-use-training"
    EVALUATION = "computer-use-evaluation"
    ACCESSIBILITY = "accessibility-research"


class ConsentSection(Section):
    """[consent]"""

    purposes: tuple[Annotated[Purpose, _choice(Purpose)], ...] = Field(default=(Purpose.TRAINING,), strict=False)
    region: str = ""
    retention: Annotated[timedelta, _time(1 * DAYS, 3650 * DAYS)] = 365 * DAYS


def _application(value: object) -> str:
    if not isinstance(value, str) or sum(character.isalnum() for character in value) < MIN_LETTERS:
        raise ValueError(
            'write the window class of an application, such as "code" or "libreoffice-*"; '
            "a pattern that fits nearly everything would undo the rule that nothing is recorded unless it was named"
        )
    return value


def _allowed_application(value: object) -> str:
    if isinstance(value, str) and value.startswith("@"):
        check_allowed(value)
        if not classes_of([value]):
            raise ValueError("this group has no applications, only sites: name it in scope.sites")
        return value
    return _application(value)


def _denied_application(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError('write the window class of an application, such as "code", or a group, such as "@chat"')
    group_of(value)
    return value


def _site(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('write the host of a site, such as "github.com", or a group, such as "@work-sites"')
    return value if group_of(value) else pattern_of(value)


def _allowed_site(value: object) -> str:
    if isinstance(value, str):
        check_allowed(value)
    return _site(value)


def _content(value: object) -> str:
    if isinstance(value, str) and not value.startswith("@"):
        try:
            return pattern_of(value)
        except ValueError:
            return _application(value)
    return _allowed_site(value)


AllowedApplication = Annotated[str, BeforeValidator(_allowed_application)]
DeniedApplication = Annotated[str, BeforeValidator(_denied_application)]
AllowedSite = Annotated[str, BeforeValidator(_allowed_site)]
Site = Annotated[str, BeforeValidator(_site)]
Content = Annotated[str, BeforeValidator(_content)]


class ScopeSection(Section):
    """[scope]"""

    allow: tuple[AllowedApplication, ...] = Field(default=(), strict=False)
    deny: tuple[DeniedApplication, ...] = Field(default=(), strict=False)
    sites: tuple[AllowedSite, ...] = Field(default=(), strict=False)
    deny_sites: tuple[Site, ...] = Field(default=(), strict=False)
    content: tuple[Content, ...] = Field(default=(), strict=False)
    desktop: Annotated[Desktop, _choice(Desktop)] = Desktop.HIDE


class CaptureSection(Section):
    """[capture]"""

    pointer_interval: Annotated[timedelta, _time(0 * MS, 1 * S)] = 0 * MS
    damage_hold: Annotated[timedelta, _time(50 * MS, 10 * S)] = 500 * MS
    chunk_age: Annotated[timedelta, _time(10 * S, 1 * H)] = 5 * MIN
    chunk_size: Annotated[int, _size(64_000, 6_000_000)] = 4_000_000
    hold_back: Annotated[timedelta, _time(0 * S, 7 * DAYS)] = 10 * MIN


class ScreensSection(Section):
    """[screens]"""

    enabled: bool = True
    min_interval: Annotated[timedelta, _time(1 * S, 1 * H)] = 2 * S
    effort: Annotated[EffortChoice, _choice(EffortChoice)] = EffortChoice.AUTO


class SemanticsSection(Section):
    """[semantics]"""

    enabled: bool = True
    labels: Annotated[Labels, _choice(Labels)] = Labels.TEXT
    clipboard: Annotated[Copies, _choice(Copies)] = Copies.TYPES


class LinkSection(Section):
    """[budget.metered] and its like: further limits of one class of links."""

    day: Annotated[int | None, _size(0)] = None
    month: Annotated[int | None, _size(0)] = None
    send: Annotated[Sendable | None, _choice(Sendable)] = None


class BudgetSection(Section):
    """[budget]"""

    day: Annotated[int | None, _size(0)] = None
    month: Annotated[int | None, _size(0)] = 1_500_000_000
    billing_day: int = Field(default=1, ge=1, le=31)
    time_zone: str = "local"
    kbit_s: int | None = Field(default=None, ge=8, le=10_000_000)
    windows: tuple[Window, ...] = Field(default=(), strict=False)
    unmetered: LinkSection = LinkSection()
    metered: LinkSection = LinkSection()
    roaming: LinkSection = LinkSection()
    networks: Mapping[str, Annotated[LinkClass, _choice(LinkClass)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.time_zone != "local":
            try:
                ZoneInfo(self.time_zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(
                    f'time_zone = "{self.time_zone}": no such zone; write "local" or a name like "Europe/Berlin"'
                ) from None
        return self


class EnergySection(Section):
    """[energy]"""

    cpu_mains: Share = 0.08
    cpu_battery: Share = 0.02
    screens_floor: Share = 0.30
    floor: Share = 0.10
    wakeups_s: float = Field(default=12.0, ge=0.5, le=1000, strict=False)
    memory: Annotated[int, _size(50_000_000)] = 700_000_000

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("cpu_mains", "cpu_battery"):
            if getattr(self, key) < 0.001:
                raise ValueError(f'{key} must be between "0.1 %" and "100 %"')
        if self.floor > self.screens_floor:
            raise ValueError("floor is above screens_floor: screenshots stop before everything does; swap the two")
        return self


class SpoolSection(Section):
    """[spool]"""

    directory: str = ""
    limit: Annotated[int, _size(10_000_000)] = 2_000_000_000
    age: Annotated[timedelta, _time(1 * H, 365 * DAYS)] = 30 * DAYS
    when_full: Annotated[WhenFull, _choice(WhenFull)] = WhenFull.DROP_LOWEST_VALUE


class ReviewSection(Section):
    """[review]"""

    keep: Annotated[timedelta, _time(0 * S, 30 * DAYS)] = 2 * DAYS
    limit: Annotated[int, _size(0)] = 500_000_000


def _shortcut(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('write a shortcut such as "ctrl+alt+p" in quotes, or "" for none')
    parse_shortcut(value)
    return value


class ControlSection(Section):
    """[control]"""

    pause_shortcut: Annotated[str, BeforeValidator(_shortcut)] = "super+shift+p"


LOOPBACK = re.compile(r"localhost|::1|127(\.\d{1,3}){3}")
"""Only this machine may be spoken to in clear."""


class BrokerSection(Section):
    """[broker]"""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    username: str = ""
    password_file: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.tls and not LOOPBACK.fullmatch(self.host):
            raise ValueError(
                f'host = "{self.host}" is another machine: it is spoken to by TLS only; write tls = true, and its TLS port'
            )
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key belong together: give both or neither")
        if (self.cert or self.ca) and not self.tls:
            raise ValueError("ca, cert and key have no effect without tls = true")
        if self.password_file and not self.username:
            raise ValueError("password_file has no effect without username")
        return self


class ArchiveSection(Section):
    """[archive]"""

    public_key: str = ""
    answers: str = ""
    reader: str = ""


class LogLevel(StrEnum):
    """From which level on something is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSection(Section):
    """[log]"""

    level: Annotated[LogLevel, _choice(LogLevel)] = LogLevel.INFO
    file: str = ""


class MetricsSection(Section):
    """[metrics]"""

    listen: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.listen and not re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\]):\d{1,5}", self.listen):
            raise ValueError(
                f'listen = "{self.listen}": write "127.0.0.1:9466" or another port of this machine\'s own; '
                "what somebody does at their computer is not for the network"
            )
        return self


class Config(Section):
    """The whole file. All sections and keys may be left away."""

    consent: ConsentSection = ConsentSection()
    scope: ScopeSection = ScopeSection()
    capture: CaptureSection = CaptureSection()
    screens: ScreensSection = ScreensSection()
    semantics: SemanticsSection = SemanticsSection()
    budget: BudgetSection = BudgetSection()
    energy: EnergySection = EnergySection()
    spool: SpoolSection = SpoolSection()
    review: ReviewSection = ReviewSection()
    control: ControlSection = ControlSection()
    broker: BrokerSection = BrokerSection()
    archive: ArchiveSection = ArchiveSection()
    log: LogSection = LogSection()
    metrics: MetricsSection = MetricsSection()


def parse_config(text: str, *, source: str = "the configuration") -> Config:
    """Return the configuration that a TOML text makes.

    Args:
        text: TOML. source: what to call it in errors, usually the file's path.

    Raises:
        ConfigError: it is no TOML, or a key or value is wrong; every mistake has a line of its own in the text.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        lines = [_explain(text, table, dict(problem)) for problem in error.errors()]
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines)) from error


def _explain(text: str, table: dict[str, Any], problem: dict[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    if "[key]" in path:
        path.remove("[key]")
    line = line_of(text, path)
    where = f"line {line}: " if line else ""
    key = ".".join(path) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"{where}{key}: there is no such key{_nearest(path)}"
    value = problem.get("input")
    said = "" if isinstance(value, dict | Section) else f" = {_as_written(value)}"
    advice = str(problem["msg"]).removeprefix("Value error, ")
    advice = ADVICE.get(str(problem["type"]), advice)
    return f"{where}{key}{said}: {advice}"


ADVICE = {
    "bool_type": "write true or false",
    "int_type": "write a whole number, without quotes",
    "string_type": "write a text in quotes",
    "tuple_type": 'write a list, such as ["one", "two"]',
    "float_type": "write a number, without quotes",
    "model_type": "write a table, such as [budget]",
}
"""pydantic's kinds of errors whose own words mean nothing to who writes a TOML file."""


def _as_written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _nearest(path: list[str]) -> str:
    known = keys_of(Config)
    section, name = ".".join(path[:-1]), path[-1]
    siblings = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == section]
    elsewhere = [key for key in known if key.rpartition(".")[2] == name]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    close = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; here are allowed: {', '.join(sorted(siblings))}" if siblings else ""


def keys_of(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted names of all tables and keys below a model, in the order of their definition."""
    found = []
    for name, field in model.model_fields.items():
        found.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found.extend(keys_of(field.annotation, f"{prefix}{name}."))
    return found


def line_of(text: str, path: list[str]) -> int | None:
    """Return the number (from 1) of the line that sets a key, or opens a table; None when it cannot be told."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if header:
            table = _parts(header[1])
            if table == path:
                return number
            continue
        assignment = re.match(r"""\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=""", line)
        if assignment:
            full = table + _parts(assignment[1])
            # An item of a list, and a key of an inline table, stand in the line of the whole.
            if full == path[: len(full)]:
                return number
    return None


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(r"""\s*("[^"]*"|'[^']*'|[\w-]+)\s*\.?""", dotted)]
