"""The list of sections: round trips, prefixes, unknown kinds, and every way to be wrong."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import CodecError, Corrupt, TooLarge, Truncated, Unsupported
from codec.sections import MAX_SECTIONS, Section, SectionFlag, SectionKind, decode_sections, encode_sections

META, EVENTS, ROWS, SCREEN = SectionKind
SOME = [
    Section(META, b"meta", SectionFlag.ZSTD),
    Section(EVENTS, b"e" * 200, SectionFlag.CRITICAL),
    Section(ROWS, b""),
    Section(SCREEN, b"s" * 20_000),
]
BODY = encode_sections(SOME)


@given(
    st.lists(
        st.builds(Section, st.sampled_from(SectionKind), st.binary(max_size=400)),
        max_size=4,
        unique_by=lambda section: section.kind,
    )
)
def test_sections_round_trip(some: list[Section]) -> None:
    assert decode_sections(encode_sections(some)) == some


def test_flags_round_trip() -> None:
    assert decode_sections(BODY) == SOME


@given(st.data())
def test_every_proper_prefix_is_truncated(data: st.DataObject) -> None:
    end = data.draw(st.one_of(st.integers(0, 300), st.integers(0, len(BODY) - 1)))
    with pytest.raises(Truncated):
        decode_sections(BODY[:end])


def test_a_cut_between_two_sections_is_truncated() -> None:
    whole = encode_sections(SOME[:2])
    assert whole[2:] == BODY[2 : len(whole)]
    with pytest.raises(Truncated):
        decode_sections(BODY[: len(whole)])


def test_an_unknown_kind_is_skipped_unless_it_is_critical() -> None:
    assert decode_sections(encode_sections([Section(200, b"new"), *SOME, Section(200, b"", SectionFlag.ZSTD)])) == SOME
    with pytest.raises(Unsupported, match="critical section of kind 200"):
        decode_sections(encode_sections([*SOME, Section(200, b"new", SectionFlag.CRITICAL)]))


@pytest.mark.parametrize("data", [bytes((1, 1, 2, 4, 0)), bytes((1, 1, 2, 2, 0)), bytes((1, 1, 1, 0x83, 0))])
def test_unknown_flags_of_a_known_kind_are_unsupported(data: bytes) -> None:
    with pytest.raises(Unsupported, match="flags"):
        decode_sections(data)


def test_a_newer_body_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="version 2"):
        decode_sections(b"\2" + BODY[1:])


def test_a_kind_twice_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="two sections of kind 3"):
        decode_sections(encode_sections([Section(ROWS, b"a"), Section(ROWS, b"b")]))


def test_what_follows_the_last_section_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="1 bytes follow"):
        decode_sections(BODY + b"\0")


def test_too_many_sections_are_refused() -> None:
    many = [Section(100, b"")] * (MAX_SECTIONS + 1)
    assert decode_sections(encode_sections(many[:-1])) == []
    with pytest.raises(TooLarge):
        decode_sections(encode_sections(many))


@pytest.mark.parametrize(
    ("length", "error"),
    [
        (b"\x80\x00", Corrupt),
        (b"\x81\x80\x00", Corrupt),
        (b"\x80\x80\x80\x80\x01", Corrupt),
        (b"\xff\xff\xff\x7f", TooLarge),
        (b"\xff\xff\xff\x03", Truncated),
    ],
)
def test_a_length_has_one_spelling_and_a_limit(length: bytes, error: type[CodecError]) -> None:
    with pytest.raises(error):
        decode_sections(b"\1\1\2\0" + length)


@given(st.binary(max_size=100))
def test_any_bytes_raise_what_the_codec_raises(data: bytes) -> None:
    for case in (data, b"\1" + data, b"\1\2" + data):
        with contextlib.suppress(CodecError):
            decode_sections(case)
