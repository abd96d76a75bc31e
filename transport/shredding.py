"""Shell: crypto-shredding: destroys the private keys that open one device's chunks, and says what nobody can read any more.

Guarantees: no key is destroyed that another device's chunks are sealed for; what is sealed for a destroyed key can be opened by
nobody, copies of the archive included. Does not reach copies of the vault. The chunks stay until they expire or are erased.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from codec.chunk import PEEKED_BYTES, peek_header
from codec.model import ChunkId
from transport.errors import Missing, TransportError
from transport.registry import Registry
from transport.vault import Vault


class Archive(Protocol):
    """Where the chunks lie (transport/archive.py)."""

    def iterate(self, device: str | None = None) -> Iterator[ChunkId]: ...
    def head(self, chunk_id: ChunkId, size_bytes: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What shredding a device comes to.

    Attributes:
        device: whose. keys: ids of those that will be destroyed.
        lost, lost_bytes: its chunks in the archive that are sealed for these.
        gone: its chunks that are sealed for a key that is in this vault no more. elsewhere: … for another key of this vault.
    """

    device: str
    keys: tuple[bytes, ...]
    lost: int
    lost_bytes: int
    gone: int
    elsewhere: int

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {"keys": [key_id.hex() for key_id in self.keys]}


def plan(archive: Archive, registry: Registry, vault: Vault, device: str) -> Plan:
    """Look what shredding a device would destroy; changes nothing.

    Raises:
        TransportError: the device is not enrolled, or shares a key with another one.
    """
    record = registry.get(device)
    if record is None:
        raise TransportError(f"device {device} is not enrolled: `modicum keys ls` shows who is")
    keys = tuple(entry.key.key_id for entry in record.sealing if vault.has(entry.key.key_id))
    _refuse_shared(registry, device, keys)
    lost = lost_bytes = gone = elsewhere = 0
    for chunk_id in archive.iterate(device):
        try:
            header = peek_header(archive.head(chunk_id, PEEKED_BYTES))
        except Missing:  # erased a moment ago
            continue
        if header is None:
            continue
        if header.key_id in keys:
            lost += 1
            lost_bytes += header.chunk_bytes
        elif vault.has(header.key_id):
            elsewhere += 1
        else:
            gone += 1
    return Plan(device, keys, lost, lost_bytes, gone, elsewhere)


def carry_out(plan: Plan, vault: Vault) -> int:
    """Destroy the keys; return how many there were."""
    return sum(vault.destroy(key_id) for key_id in plan.keys)


def describe(plan: Plan) -> str:
    """Return a plan as lines for a person."""
    lines = [
        f"{plan.device} has {len(plan.keys)} keys in the vault: {', '.join(key.hex() for key in plan.keys) or 'none'}"
    ]
    lines.append(f"{plan.lost:,} of its chunks in the archive ({plan.lost_bytes:,} bytes) can be read by these alone")
    if plan.gone:
        lines.append(f"{plan.gone:,} more are sealed for keys that this vault does not have")
    if plan.elsewhere:
        lines.append(f"{plan.elsewhere:,} more are sealed for another key of this vault, and stay readable: erase them")
    return "\n".join(lines)


def _refuse_shared(registry: Registry, device: str, keys: tuple[bytes, ...]) -> None:
    for name in registry.devices():
        other = registry.get(name) if name != device else None
        shared = {entry.key.key_id for entry in other.sealing} & set(keys) if other is not None else set()
        if shared:
            raise TransportError(
                f"{device} and {name} seal for the same key {min(shared).hex()}: destroying it would take both; erase "
                f"{device} instead (`modicum archive erase`), and give each a key of its own (`modicum keys rotate`)"
            )
