"""The format of a recording: events, screenshots, chunks and their seal.

No I/O, no clock, and nothing of `capture` or `transport` is imported here; `docs/format.md` specifies every byte.
"""
