"""Pure: change single values in a configuration's text, and leave everything else in it, comments too, as the person wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from capture.config import line_of, parse_config
from capture.errors import ConfigError

Value = str | int | bool


def set_values(text: str, values: Mapping[tuple[str, str], Value], *, source: str = "the configuration") -> str:
    """Return the text with these values.

    Args:
        text: TOML; may be empty. values: (table, key) to value. source: what to call it in errors.

    Raises:
        ConfigError: it is no valid configuration before or after, or a value stands in a way that is not changed safely.
    """
    parse_config(text, source=source)
    for (table, key), value in values.items():
        text = _set(text, table, key, value, source)
    parse_config(text, source=source)
    return text


def _set(text: str, table: str, key: str, value: Value, source: str) -> str:
    lines = text.splitlines()
    assignment = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    number = line_of(text, [table, key])
    if number is not None:
        old = lines[number - 1]
        if not re.fullmatch(rf'\s*{key}\s*=\s*("(?:[^"\\]|\\.)*"|\'[^\']*\'|true|false|\d+)\s*(#.*)?', old):
            raise ConfigError(
                f"{source}, line {number}: {old.strip()!r} cannot be changed safely: write {assignment} there"
            )
        comment = re.search(r"\s+#[^\"']*$", old)
        lines[number - 1] = assignment + (comment[0] if comment else "")
    elif (opened := line_of(text, [table])) is not None and re.match(r"\s*\[", lines[opened - 1]):
        lines.insert(opened, assignment)
    else:
        lines += ["", f"[{table}]", assignment] if lines else [f"[{table}]", assignment]
    return "\n".join(lines) + "\n"
