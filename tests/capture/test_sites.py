"""Hosts and the patterns that name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.sites import host_of, names, pattern_of


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("GitHub.com", "github.com"),
        ("github.com.", "github.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("straße.de", "xn--strae-oqa.de"),
        ("例え。jp", "xn--r8jz45g.jp"),
        ("localhost", "localhost"),
    ],
)
def test_hosts_are_compared_as_they_stand_on_the_wire(text: str, host: str) -> None:
    assert host_of(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b.org",
        "https://example.org",
        "example.org/path",
        "example.org:80",
        "user@example.org",
        "a..b",
        "-a.org",
        "a.org?x",
        "a" * 64 + ".org",
        "x." * 130 + "org",
        "ex\N{ZERO WIDTH JOINER}ample.org",
        "ex\N{FULLWIDTH SOLIDUS}ample.org",
    ],
)
def test_what_is_no_host_is_unknown(text: str) -> None:
    assert host_of(text) is None


@pytest.mark.parametrize(
    "text", ["com", "*", "co.uk", "*.github.io", "https://github.com", "github.com/login", "", "*.com", "a b"]
)
def test_patterns_that_name_everybody_or_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        pattern_of(text)


def test_a_pattern_names_a_host_and_all_below_it() -> None:
    pattern = pattern_of("*.GitHub.com")
    assert names([pattern], "github.com")
    assert names([pattern], "gist.github.com")
    assert not names([pattern], "notgithub.com")
    assert not names([pattern], "github.com.evil.example")
    assert names([pattern_of("localhost")], "localhost")


@given(st.text(max_size=30))
def test_a_host_is_its_own_host_and_never_holds_a_path(text: str) -> None:
    host = host_of(text)
    if host is not None:
        assert host_of(host) == host
        assert not set(host) & set("/?#@% \\")
