"""`modicum scope`: the groups, and verdicts with the rule that made them."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from capture.catalogue import catalogue
from capture.config import Config, parse_config
from capture.errors import CaptureError
from capture.scope_cli import mount

CONFIG = """\
[scope]
allow = ["@office", "@browser", "@mail"]
deny = ["gedit"]
sites = ["@work-sites", "@mail"]
deny_sites = ["trello.com"]
"""


def ask(*words: str) -> str:
    app = typer.Typer()

    def load(_: Path | None) -> Config:
        return parse_config(CONFIG)

    mount(app, load)
    done = CliRunner().invoke(app, ["scope", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_every_group_is_listed_with_what_it_can_have() -> None:
    text = ask("ls")
    for name in catalogue():
        assert f"@{name}" in text
    assert "never, whatever the configuration says" in text
    assert "*keepassxc*" in text


def test_a_group_lists_its_members() -> None:
    assert "libreoffice*" in ask("ls", "@office")
    assert "atlassian.net" in ask("ls", "work-sites")
    with pytest.raises(CaptureError, match="there is no group @offices"):
        ask("ls", "offices")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mousepad"], "mousepad: recorded, since mousepad is allowed by scope.allow"),
        (["gedit"], "gedit: not recorded, since gedit is denied by scope.deny"),
        (["Code"], "code: not recorded, since code is not in scope.allow"),
        (["thunderbird"], "structure and timing only"),
        (["keepassxc"], "never recorded: a password manager"),
        (["firefox"], "which site it shows is not known"),
        (["firefox", "--site", "wikipedia.org"], "wikipedia.org is allowed by scope.sites"),
        (["firefox", "--site", "trello.com"], "trello.com is denied by scope.deny_sites"),
        (["firefox", "--site", "paypal.com"], "paypal.com is never recorded: banks"),
        (["firefox", "--site", "mail.google.com"], "structure and timing only"),
        (["firefox", "--site", "wikipedia.org", "--title", "x - Private Browsing"], "in private browsing"),
    ],
)
def test_a_window_is_explained(words: list[str], said: str) -> None:
    assert said in ask("explain", *words)


def test_a_path_is_no_site() -> None:
    with pytest.raises(CaptureError, match="is no host"):
        ask("explain", "firefox", "--site", "https://wikipedia.org/x")
