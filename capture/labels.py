"""Pure: what is recorded of an interface's object: its role and place always, its label as the policy says.

Guarantees: only labels that an application's maker wrote are recorded (of buttons, menu items, options, tabs, boxes, links …),
never what a text field, a document or a terminal contains; with `digest` not even those, but a keyed digest that tells equal
ones from different ones on this device alone.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum

from capture.sources.a11y import Found
from codec.model import Scalar

DIGEST_BYTES = 16

LABELLED = frozenset(
    [
        *("menu item", "check menu item", "radio menu item", "menu", "menu bar", "list item", "page tab", "tree item"),
        *("push button", "toggle button", "check box", "radio button", "switch", "combo box", "slider", "spin button"),
        *("link", "icon", "tool bar", "table cell", "table row", "column header", "row header", "table column header"),
        *("dialog", "alert", "file chooser", "color chooser", "font chooser", "push button menu", "split button"),
    ]
)
"""Roles whose name is a label. (An entry's would be harmless too, but some programs put the text itself there.)"""


class Labels(StrEnum):
    """What is recorded of labels."""

    TEXT = "text"
    DIGEST = "digest"


class Copies(StrEnum):
    """What is recorded of the clipboard."""

    OFF = "off"
    TYPES = "types"
    DIGEST = "digest"


def digest(key: bytes, text: str | bytes) -> bytes:
    """Return the keyed digest of a label, or of a clipboard's content.

    Args:
        key: the device's own secret.
    """
    data = text.encode() if isinstance(text, str) else text
    return hmac.new(key, data, hashlib.sha256).digest()[:DIGEST_BYTES]


def fields_of(found: Found, labels: Labels, key: bytes) -> dict[str, Scalar]:
    """Return the fields of a row that describe an object (docs/format.md)."""
    fields: dict[str, Scalar] = {"role": found.role}
    if found.name and found.role in LABELLED:
        if labels is Labels.TEXT:
            fields["name"] = found.name
        else:
            fields["digest"] = digest(key, found.name)
    if found.index is not None:
        fields["index"] = found.index
    if found.count is not None:
        fields["count"] = found.count
    if found.bounds is not None:
        fields |= dict(zip("xywh", found.bounds, strict=True))
    return fields
