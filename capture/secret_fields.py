"""Pure: which fields hold secrets: those that say so, and those that once did.

Guarantees: a field that was one stays one, also when the application shows its content in the clear and calls it an ordinary
field, or makes another object of it at the same place of the same window. Does not guarantee to know a field that never said
that it is for a secret.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

ROLE = "password text"
MAX_REMEMBERED = 256


class Field(Protocol):
    """What is known of the object in focus (capture/sources/a11y.py, Found)."""

    @property
    def app(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def bounds(self) -> tuple[int, int, int, int] | None: ...


class SecretFields:
    """Remembers fields. State: where they were seen; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def holds(self, field: Field, window: int) -> bool:
        """Tell whether a field is for a secret, or once was.

        Args:
            field: in focus. window: the id of its window.
        """
        keys: list[tuple[object, ...]] = [(window, field.app, field.path)]
        if field.bounds is not None:
            keys.append((window, field.app, field.bounds))
        if field.role != ROLE and not any(key in self._seen for key in keys):
            return False
        for key in keys:
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return True
