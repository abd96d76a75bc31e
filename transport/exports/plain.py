"""Pure: an action as plain values, for JSON lines, MCAP and WebDataset. Loses nothing but the pixels; digests become hex."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.actions import Action, Element, Shot
    from codec.model import Scalar


def to_plain(action: Action) -> dict[str, Any]:
    """Return an action without what it does not have: fields that are empty or unknown are left away."""
    plain = {
        "kind": str(action.kind),
        "t_ms": action.t_ms,
        "wall_ns": action.wall_ns,
        "duration_ms": action.duration_ms,
        "application": action.application,
        "title": action.title,
        "site": action.site,
        "x": action.x,
        "y": action.y,
        "to": None if action.to is None else list(action.to),
        "button": action.button,
        "scroll": list(action.scroll) if any(action.scroll) else None,
        "keys": dict(action.keys),
        "name": action.name,
        "element": None if action.element is None else _element(action.element),
        "committed": action.committed,
        "checked": action.checked,
        "cause": action.cause,
        "fields": plain_fields(action.fields),
        "before": plain_shot(action.before),
        "after": plain_shot(action.after),
    }
    kept = {name: value for name, value in plain.items() if value is not None and value not in ("", {}, [])}
    return kept | {"origin": _origin(action)}


def _element(element: Element) -> dict[str, Any]:
    plain = {
        "role": element.role,
        "name": element.name,
        "digest": element.digest.hex(),
        "index": element.index,
        "count": element.count,
        "bounds": None if element.bounds is None else list(element.bounds),
    }
    return {name: value for name, value in plain.items() if value is not None and value != ""}


def plain_shot(shot: Shot | None) -> dict[str, Any] | None:
    """Return which frame a shot is; None: none."""
    return None if shot is None else {"t_ms": shot.t_ms, "exact": shot.exact}


def _origin(action: Action) -> dict[str, Any]:
    origin = action.origin
    return {
        "device": origin.device,
        "epoch": f"{origin.epoch:08x}",
        "seq": origin.seq,
        "purposes": list(origin.purposes),
        "consent": origin.consent.hex(),
        "expires_s": origin.expires_s,
        "region": origin.region,
        "agent": origin.agent,
        "lossy": list(origin.lossy),
    }


def plain_fields(fields: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return a row's fields with digests as hex."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
