"""Topics and answers: what goes out comes in, and nothing else does."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.seal import DeviceSigningKey
from transport.messages import (
    MAX_ANSWER_BYTES,
    Answer,
    Malformed,
    Nack,
    NackCode,
    Unsigned,
    ack_topic,
    device_of,
    pack_answer,
    parse_answer,
    sign_answer,
    up_filter,
    up_topic,
)

digests = st.binary(min_size=8, max_size=8)
answers = st.builds(
    Answer,
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), digests), max_size=40).map(tuple),
    st.lists(st.builds(Nack, digests, st.sampled_from(NackCode), st.integers(0, 2**31 - 1)), max_size=40).map(tuple),
)


@given(answers)
def test_an_answer_round_trips(answer: Answer) -> None:
    assert parse_answer(pack_answer(answer)) == answer


@given(answers, st.data())
def test_a_cut_or_changed_answer_is_malformed_or_another_answer(answer: Answer, data: st.DataObject) -> None:
    payload = pack_answer(answer)
    with pytest.raises(Malformed):
        parse_answer(payload[: data.draw(st.integers(0, len(payload) - 1))])
    place = data.draw(st.integers(0, len(payload) - 1))
    changed = payload[:place] + bytes([payload[place] ^ data.draw(st.integers(1, 255))]) + payload[place + 1 :]
    with contextlib.suppress(Malformed):
        assert isinstance(parse_answer(changed), Answer)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_malformed(payload: bytes) -> None:
    with contextlib.suppress(Malformed):
        parse_answer(payload)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"v": 2, "e": 0, "a": [], "n": []},
        {"v": 1, "e": -1, "a": [], "n": []},
        {"v": 1, "e": 0, "a": [[1.5, bytes(8)]], "n": []},
        {"v": 1, "e": 0, "a": [[True, bytes(8)]], "n": []},
        {"v": 1, "e": 0, "a": [[1, bytes(7)]], "n": []},
        {"v": 1, "e": 0, "a": [[1, "12345678"]], "n": []},
        {"v": 1, "e": 0, "a": [], "n": [[bytes(8), 0, 0]]},
        {"v": 1, "e": 0, "a": [[0, bytes(8)]] * 1025, "n": []},
        [],
        None,
    ],
)
def test_what_is_not_exactly_an_answer_is_malformed(fields: object) -> None:
    with pytest.raises(Malformed):
        parse_answer(msgpack.packb(fields))


def test_an_answer_over_the_limit_is_not_even_parsed() -> None:
    with pytest.raises(Malformed, match="over the limit"):
        parse_answer(bytes(MAX_ANSWER_BYTES + 1))


def test_topics() -> None:
    assert up_topic("dev-1") == "modicum/v1/dev-1/up"
    assert ack_topic("dev-1") == "modicum/v1/dev-1/ack"
    assert up_filter(group="g") == "$share/g/modicum/v1/+/up"
    assert up_filter(group=None) == "modicum/v1/+/up"
    assert device_of("modicum/v1/dev-1/up") == "dev-1"
    for topic in (
        "modicum/v1/dev-1/ack",
        "modicum/v1/DEV/up",
        "modicum/v1/dev-1/up/x",
        "x/modicum/v1/dev-1/up",
        "",
        "a" * 70000,
    ):
        assert device_of(topic) is None


def test_a_refusal_for_a_reason_that_this_build_does_not_know_gives_nothing_up() -> None:
    payload = msgpack.packb({"v": 1, "e": 0, "a": [], "n": [[bytes(8), 99, 30]]})
    assert parse_answer(payload).nacks == (Nack(bytes(8), NackCode.LATER, 30),)


def test_what_was_carried_out_is_named_by_its_digest() -> None:
    answer = Answer(0, (), (), (bytes(8), b"another!"))
    assert parse_answer(pack_answer(answer)) == answer


SIGNER, STRANGER = DeviceSigningKey.generate(), DeviceSigningKey.generate()


def test_a_signed_answer_counts_for_its_device_and_key_only() -> None:
    payload = pack_answer(Answer(7, ((1, bytes(8)),)))
    signed = sign_answer(payload, "dev-1", SIGNER)
    assert len(signed) == len(payload) + 68
    assert parse_answer(signed, "dev-1", (STRANGER.public, SIGNER.public)).epoch == 7
    assert parse_answer(signed).epoch == 7  # who knows no key reads it as well
    for wrong in (payload, sign_answer(payload, "dev-1", STRANGER), sign_answer(payload, "dev-2", SIGNER), signed[:70]):
        with pytest.raises(Unsigned):
            parse_answer(wrong, "dev-1", (SIGNER.public,))


@given(st.data())
def test_no_change_of_a_signed_answer_is_taken(data: st.DataObject) -> None:
    signed = bytearray(sign_answer(pack_answer(Answer(7, ((1, bytes(8)),))), "dev-1", SIGNER))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Malformed):
        parse_answer(bytes(signed), "dev-1", (SIGNER.public,))
