"""Shell: the budget's durable ledger: what `transport/budget.py` decides, on disk before anything acts on it.

One file: a snapshot of the budget, then a log of reservations and settlements in slots of 64 bytes, each with its
serial number and CRC, in space that was allocated beforehand. Guarantees:

- A lease that `reserve` returned is on the disk (fdatasync) before it returns; after a crash between any two steps it
  counts as spent, unless its settlement is on the disk too.
- A slot is written inside one disk sector; the one that was being written at a crash is found incomplete and ignored:
  nothing had acted on it.
- Any other damage (a flipped bit, a lost or reordered slot, a file cut short) is noticed. Then nothing is spent until
  the billing period ends (the day, where no limit runs longer), `usage().notes` says so, and the damaged file is kept
  as `ledger.damaged-N` beside.
- A disk that does not take a record refuses the reservation; nothing is counted on memory's word alone.

Not guaranteed: anything when the owner deletes the file or restores an old copy.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgpack

from transport.budget import Budget
from transport.budget_state import from_state, to_state
from transport.fs import Files, Handle, Open, read_file, replace_file, write_all
from transport.limits import COUNTED_LINKS, Lease, Limits, Link, Moment, Refusal, Standing, Usage

MAGIC: Final = b"modledg1"
HEAD: Final = struct.Struct("<8sII")  # magic, length and CRC of the snapshot
SLOT: Final = struct.Struct("<BBBxIIqqqqqI")
"""kind, link, flags, serial, lease id, wall ns, monotonic ns, bytes, events' bytes, screens' bytes, CRC."""
SLOT_BYTES: Final = 64
SLOTS: Final = 4096
"""256 KB: a few days of one chunk a minute; then the file is written anew."""
MAX_SNAPSHOT_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = MAX_SNAPSHOT_BYTES + HEAD.size + (SLOTS + 1) * SLOT_BYTES
RETRY_NS: Final = 60_000_000_000
"""A disk that refused a record is asked again after so long."""

SYNCED: Final = 1


class Kind(IntEnum):
    """What a slot records."""

    RESERVE = 1
    SETTLE = 2


class Damaged(Exception):
    """The file is not what was written. Its text says in what; nothing outside this module sees it."""


class Ledger:
    """The one owner of the ledger file. Not for several threads at once.

    State: the budget's core, the open file, the next slot, and whether the file must be written anew before it is
    trusted again (after a failed write).
    """

    def __init__(
        self,
        files: Files,
        path: Path,
        limits: Limits,
        *,
        wall_ns: int,
        mono_ns: int,
        boot: bytes = bytes(8),
        synced: Callable[[], bool] = lambda: False,
    ) -> None:
        """Open the ledger, or begin one; what was outstanding is written off as spent.

        Args:
            files: the file system. path: the ledger file; its folder exists, and its caller holds the folder's lock.
            limits: the budget; may differ from the last time.
            wall_ns: wall clock. mono_ns: CLOCK_BOOTTIME, or what comes nearest.
            boot: 8 bytes that name the boot (`transport.limits.boot_name`).
            synced: tells whether the system vouches for its wall clock now.

        Raises:
            OSError: the file is there and cannot be read.
        """
        self._files, self._path, self._limits = files, path, limits
        self._boot, self._synced = boot, synced
        self._handle: Handle | None = None
        self._next_slot = 0
        self._first_slot_at = 0
        self._must_rewrite = False
        moment = self._moment(wall_ns, mono_ns)
        self.written_off_bytes = 0
        try:
            budget = self._load()
        except FileNotFoundError:
            budget = Budget(limits)
            budget.observe(moment)
        except Damaged as damage:
            budget = Budget(limits)
            budget.observe(moment)
            kept = self._keep_damaged()
            budget.lock_period(
                f"the budget's ledger was damaged ({damage}), so nothing is sent until this period ends; "
                f"the damaged file is kept as {kept}"
            )
        else:
            budget.observe(moment)
            self.written_off_bytes = budget.write_off()
        self._budget = budget
        with contextlib.suppress(
            OSError
        ):  # a full disk: what it holds stands for no less; nothing is granted before it is written
            self._rewrite()

    def _moment(self, wall_ns: int, mono_ns: int) -> Moment:
        return Moment(wall_ns, mono_ns, self._boot, self._synced())

    # -- what others call -------------------------------------------------------------------------------------------

    def reserve(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Lease | Refusal:
        """Reserve bytes on the wire; a Lease is durable when this returns.

        Args:
            size_bytes: an upper bound of what will be sent and received, headers and retransmissions included.
            link: the class of the link it will go over.
            wall_ns, mono_ns: the clocks.
            events_only: no screenshots are in it.
        """
        moment = self._moment(wall_ns, mono_ns)
        self._budget.observe(moment)
        refusal = self._budget.refusal(size_bytes, link, events_only=events_only)
        if refusal is not None:
            return refusal
        lease_id = self._budget.next_id
        try:
            self._append(Kind.RESERVE, link.counted_as, lease_id, moment, size_bytes, 0, 0)
        except OSError as error:
            reason = f"the budget's ledger cannot be written ({error.strerror or error}): {self._path}"
            return Refusal((reason,), wall_ns + RETRY_NS, self._budget.left_bytes(link))
        return self._budget.take(size_bytes, link)

    def refusal(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Refusal | None:
        """Say why `reserve` would refuse, or None. Nothing is reserved. Arguments as there."""
        self._budget.observe(self._moment(wall_ns, mono_ns))
        return self._budget.refusal(size_bytes, link, events_only=events_only)

    def settle(
        self,
        lease_id: int,
        used_bytes: int,
        *,
        wall_ns: int,
        mono_ns: int,
        kinds: Mapping[str, int] | None = None,
    ) -> None:
        """Say what a lease was used for; what it did not use is free again.

        A settlement that the disk does not take is kept in memory; a crash then costs the difference, nothing more.

        Args:
            lease_id: a lease of this process; unknown ones are ignored.
            used_bytes: what the wire saw, by the kernel's count.
            wall_ns, mono_ns: the clocks.
            kinds: how many of the bytes were `events`, `screens`; the rest is `other`.
        """
        if lease_id not in self._budget.leases:
            return
        moment = self._moment(wall_ns, mono_ns)
        self._budget.observe(moment)
        by_kind = kinds or {}
        parts = (used_bytes, by_kind.get("events", 0), by_kind.get("screens", 0))
        link = self._budget.leases[lease_id].lease.link
        try:
            self._append(Kind.SETTLE, link, lease_id, moment, *parts)
        except OSError:
            self._must_rewrite = True
        self._budget.settle(lease_id, *parts)

    def usage(self, wall_ns: int, mono_ns: int | None = None) -> Usage:
        """Return where the budget stands.

        Args:
            wall_ns, mono_ns: the clocks; without `mono_ns` the moment last observed serves.
        """
        if mono_ns is not None:
            self._budget.observe(self._moment(wall_ns, mono_ns))
        return self._budget.usage()

    def standings(self, wall_ns: int, mono_ns: int) -> list[Standing]:
        """Return every limit and what is left of it: what the governor paces by.

        Args:
            wall_ns, mono_ns: the clocks.
        """
        self._budget.observe(self._moment(wall_ns, mono_ns))
        return self._budget.standings()

    def left_bytes(self, link: Link) -> int:
        """Return the most that could be reserved over a class of links at the moment last observed."""
        return self._budget.left_bytes(link)

    def close(self) -> None:
        """Close the file. What is outstanding stays counted."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    # -- the file ---------------------------------------------------------------------------------------------------

    def _append(self, kind: Kind, link: Link, lease_id: int, moment: Moment, *parts: int) -> None:
        handle = self._handle
        if self._must_rewrite or handle is None or self._next_slot >= SLOTS:
            handle = self._rewrite()
        slot = pack_slot(self._next_slot, kind, link, lease_id, moment, *parts)
        try:
            write_all(handle, slot, self._first_slot_at + self._next_slot * SLOT_BYTES)
            handle.sync()
        except OSError:
            self._must_rewrite = True  # after a failed sync the same place cannot be trusted
            raise
        self._next_slot += 1

    def _rewrite(self) -> Handle:
        """Put the budget as it is now into a new file, in one step, and open that."""
        self._must_rewrite = True
        snapshot = pack_snapshot(self._budget)
        replace_file(self._files, self._path, snapshot + bytes(SLOTS * SLOT_BYTES))
        self.close()
        handle = self._handle = self._files.open(self._path, Open.WRITE)
        self._next_slot, self._first_slot_at = 0, len(snapshot)
        self._must_rewrite = False
        return handle

    def _keep_damaged(self) -> str:
        for number in range(1, 1000):
            kept = self._path.with_name(f"{self._path.name}.damaged-{number}")
            try:
                self._files.link(self._path, kept)
            except FileExistsError:
                continue
            self._files.sync_dir(self._path.parent)
            return kept.name
        return self._path.name

    def _load(self) -> Budget:
        data = read_file(self._files, self._path, limit_bytes=MAX_FILE_BYTES)
        state, slots = unpack_file(data)
        try:
            budget = from_state(self._limits, state)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise Damaged(f"its snapshot has no {error}") from error
        boot = budget.clock.moment.boot if budget.clock.moment else bytes(8)
        for kind, link, flags, lease_id, wall_ns, mono_ns, *parts in slots:
            budget.observe(Moment(wall_ns, mono_ns, boot, bool(flags & SYNCED)))
            if kind == Kind.RESERVE:
                budget.take(parts[0], link, lease_id)
            else:
                budget.settle(lease_id, *parts)
        return budget


def _crc(data: bytes) -> int:
    return crc32(data) or 1  # never 0, so that a slot's unwritten end is told from a damaged one


def pack_slot(serial: int, kind: Kind, link: Link, lease_id: int, moment: Moment, *parts: int) -> bytes:
    """Return one slot: SLOT_BYTES bytes.

    Args:
        serial: its number in the file, from 0. parts: bytes, events' bytes, screens' bytes.
    """
    flags = SYNCED if moment.synced else 0
    body = SLOT.pack(
        kind, COUNTED_LINKS.index(link), flags, serial, lease_id, moment.wall_ns, moment.mono_ns, *parts, 0
    )[:-4]
    body = body.ljust(SLOT_BYTES - 4, b"\0")
    return body + _crc(body).to_bytes(4, "little")


def pack_snapshot(budget: Budget) -> bytes:
    """Return the file's beginning: a whole number of slots."""
    payload: bytes = msgpack.packb(to_state(budget))
    data = HEAD.pack(MAGIC, len(payload), _crc(payload)) + payload
    return data + bytes(-len(data) % SLOT_BYTES)


def unpack_file(data: bytes) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Return the snapshot's state and the log's slots (kind, link, flags, lease id, wall ns, mono ns, *parts).

    Raises:
        Damaged: anything but one incomplete slot at the end of the log is wrong.
    """
    if len(data) < HEAD.size:
        raise Damaged("it is too short")
    magic, length, crc = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise Damaged("its first bytes are not a ledger's")
    payload = data[HEAD.size : HEAD.size + length]
    if len(payload) != length or _crc(payload) != crc:
        raise Damaged("the checksum of its snapshot is wrong")
    try:
        state = msgpack.unpackb(payload)
    except ValueError as error:
        raise Damaged("its snapshot does not decode") from error
    if not isinstance(state, dict):
        raise Damaged("its snapshot is no table")
    first_at = -(-(HEAD.size + length) // SLOT_BYTES) * SLOT_BYTES
    if any(data[HEAD.size + length : first_at]) or len(data) != first_at + SLOTS * SLOT_BYTES:
        raise Damaged("its length is wrong")
    slots = []
    for serial in range(SLOTS):
        at = first_at + serial * SLOT_BYTES
        slot = data[at : at + SLOT_BYTES]
        if slot[-4:] == bytes(4):
            # Never written, or written in part when the machine stopped; then nothing may follow.
            if any(data[at + SLOT_BYTES :]):
                raise Damaged(f"record {serial} is missing")
            break
        kind, link, flags, its_serial, lease_id, wall_ns, mono_ns, *parts = SLOT.unpack_from(slot)[:-1]
        good = _crc(slot[:-4]).to_bytes(4, "little") == slot[-4:]
        if not good or its_serial != serial or kind not in tuple(Kind) or link >= len(COUNTED_LINKS):
            raise Damaged(f"the checksum of record {serial} is wrong")
        slots.append((kind, COUNTED_LINKS[link], flags, lease_id, wall_ns, mono_ns, *parts))
    return state, slots
