"""Pure: what people agreed to, carried into every export: purposes, consents, regions and the earliest expiry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.actions import Action, Origin
    from codec.model import Meta


@dataclass(slots=True)
class Terms:
    """The terms of everything that went into one export.

    Attributes:
        purpose: what the export is for, one that every chunk in it permits.
        purposes: what all of it permits. consents: SHA-256 of the notices, hex. regions: where it may be kept.
        expires_s: wall seconds since 1970 after which it must be deleted: the earliest of its chunks; 0 = never.
        lossy: steps that lost something before the export.
    """

    purpose: str
    purposes: set[str] | None = None
    consents: set[str] = field(default_factory=set)
    regions: set[str] = field(default_factory=set)
    expires_s: int = 0
    lossy: set[str] = field(default_factory=set)

    def add(self, source: Meta | Origin) -> None:
        """Take in a chunk's terms, or those of an action's origin."""
        purposes = set(source.purposes)
        self.purposes = purposes if self.purposes is None else self.purposes & purposes
        self.consents.add(source.consent.hex())
        self.regions.add(source.region)
        self.expires_s = min(filter(None, (self.expires_s, source.expires_s)), default=0)
        self.lossy.update(source.lossy)

    def to_answer(self) -> dict[str, Any]:
        """Return them as plain values for JSON."""
        return {
            "purpose": self.purpose,
            "purposes": sorted(self.purposes or ()),
            "consents": sorted(self.consents),
            "regions": sorted(self.regions),
            "expires_s": self.expires_s,
            "lossy": sorted(self.lossy),
        }

    def to_texts(self) -> dict[str, str]:
        """Return them as texts, for formats whose metadata is no more."""
        return {
            name: ",".join(value) if isinstance(value, list) else str(value) for name, value in self.to_answer().items()
        }


def terms_of(actions: Iterable[Action], purpose: str) -> Terms:
    """Return the terms of some actions."""
    terms = Terms(purpose)
    for action in actions:
        terms.add(action.origin)
    return terms
