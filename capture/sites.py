"""Pure: hosts of web sites, and the patterns that name them.

Guarantees: a host is compared in the form in which it stands on the wire (lower case, punycode), so that a look-alike
written in another alphabet is another host; a pattern names a host and everything below it, never a part of a label.
A whole address (scheme, path, query) is never a host: it is refused, not cut.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable

MAX_HOST_CHARACTERS = 253
"""RFC 1035, 2.3.4."""

LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")

SHARED_SUFFIXES = frozenset(
    [
        *("co.uk", "org.uk", "ac.uk", "gov.uk", "com.au", "net.au", "org.au", "co.nz", "co.jp", "co.kr", "co.in"),
        *("com.br", "com.mx", "com.ar", "com.tr", "com.cn", "com.tw", "com.sg", "com.hk", "co.za", "com.pl", "or.at"),
        *("github.io", "gitlab.io", "pages.dev", "netlify.app", "vercel.app", "web.app", "herokuapp.com"),
        *("blogspot.com", "wordpress.com", "azurewebsites.net", "cloudfront.net", "amazonaws.com", "appspot.com"),
    ]
)
"""Below these anybody may have a site: naming one names strangers. (A few of publicsuffix.org's; only the commonest.)"""


def host_of(text: str) -> str | None:
    """Return a host as it is compared, None when the text is not one.

    Args:
        text: a host name, an IPv4 address, or an IPv6 address with or without brackets; no port, no path.
    """
    name = unicodedata.normalize("NFKC", text).strip().lower().rstrip(".")
    if not name or len(name) > MAX_HOST_CHARACTERS:
        return None
    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    labels = [_label(label) for label in re.split("[.\u3002]", name)]  # the ideographic full stop separates, too
    if any(label is None for label in labels):
        return None
    return ".".join(filter(None, labels))


def _label(label: str) -> str | None:
    """Return a label in ASCII (RFC 5891, without its tables: what is no letter or digit of any script is refused)."""
    if not label.isascii():
        if not all(character.isalnum() or unicodedata.combining(character) or character == "-" for character in label):
            return None
        label = "xn--" + label.encode("punycode").decode("ascii")
    return label if LABEL.fullmatch(label) else None


def pattern_of(text: str) -> str:
    """Return a pattern of the configuration as it is compared: a host, which stands for what lies below it as well.

    Args:
        text: "github.com"; "*.github.com" means the same.

    Raises:
        ValueError: it is no host, or one that names nearly everything; the text says what to write.
    """
    host = host_of(text.removeprefix("*."))
    if host is None or "/" in text:
        raise ValueError('write the host of a site, such as "github.com", without "https://" and without a path')
    named = "." in host or ":" in host or host == "localhost"
    if not named or host in SHARED_SUFFIXES:
        raise ValueError(
            f'"{text}" names the sites of everybody below it; write the host of one site, such as "github.com"'
        )
    return host


def names(patterns: Iterable[str], host: str) -> str | None:
    """Return the pattern that names a host, None when none does.

    Args:
        patterns: as `pattern_of` returns them. host: as `host_of` returns it.
    """
    for pattern in patterns:
        if host == pattern or host.endswith(f".{pattern}"):
            return pattern
    return None
