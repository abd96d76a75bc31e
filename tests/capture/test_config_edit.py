"""Single values of a configuration change; everything else stays as the person wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.config import parse_config
from capture.config_edit import set_values
from capture.errors import ConfigError

EXAMPLE = (Path(__file__).resolve().parents[2] / "deploy" / "config.example.toml").read_text()
VALUES: dict[tuple[str, str], str | int | bool] = {
    ("broker", "host"): "b.example.org",
    ("broker", "port"): 8883,
    ("broker", "tls"): True,
    ("broker", "ca"): '/home/"ann"/ca.pem',
    ("archive", "public_key"): "/keys/archive.pub",
}


def test_in_the_example_only_the_lines_of_the_values_change() -> None:
    after = set_values(EXAMPLE, VALUES)
    before_lines, after_lines = EXAMPLE.splitlines(), after.splitlines()
    assert len(before_lines) == len(after_lines)
    assert sum(one != two for one, two in zip(before_lines, after_lines, strict=True)) == len(VALUES)
    config = parse_config(after)
    assert (config.broker.host, config.broker.port, config.broker.tls) == ("b.example.org", 8883, True)
    assert config.broker.ca == '/home/"ann"/ca.pem'
    assert set_values(after, VALUES) == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[broker]\n",
        "# words\n[broker]  # here\nport = 1 # a port\n\n[scope]\nallow = []\n",
        "[scope]\nallow = []\n",
    ],
)
def test_missing_tables_and_keys_are_added(text: str) -> None:
    after = set_values(text, VALUES)
    assert parse_config(after).broker.port == 8883
    assert parse_config(after).archive.public_key == "/keys/archive.pub"
    for line in text.splitlines():
        assert line in after or line.startswith("port")
    if "# a port" in text:
        assert "port = 8883 # a port" in after


@pytest.mark.parametrize(
    "text",
    [
        'broker = { host = "x" }\n',
        '[broker]\nhost = """x\ny"""\n',
        'broker.host = "x"\n',
        "not toml",
    ],
)
def test_what_cannot_be_changed_safely_is_an_error_that_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError):
        set_values(text, {("broker", "host"): "b"})
