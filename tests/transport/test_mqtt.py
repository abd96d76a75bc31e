"""The MQTT adapter against real brokers: it tells the truth, at once, and sends nothing that it was not asked to."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transport.kit import Authority, Proxy, mosquitto, until
from transport import broker as embedded_broker
from transport import wire
from transport.errors import Refused, TooLarge, Unavailable
from transport.mqtt import NO_SUBSCRIBER, Broker, Connection, Dialer, Message, Protocol, Tls

pytestmark = pytest.mark.broker


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with mosquitto(tmp_path) as number:
        yield number


def at(port: int, name: str = "here", **more: object) -> Dialer:
    return Dialer(Broker("127.0.0.1", port, name, **{"connect_timeout_s": 5.0, **more}))  # type: ignore[arg-type]


async def first(connection: Connection) -> Message:
    async for message in connection.messages():
        return message
    raise AssertionError


@pytest.mark.parametrize("protocol", [Protocol.V5, Protocol.V311])
async def test_a_message_arrives_whole_and_is_acknowledged(port: int, protocol: Protocol) -> None:
    async with at(port, "a", protocol=protocol).connect() as a, at(port, "b", protocol=protocol).connect() as b:
        await b.subscribe("x/y", qos=1)
        payload = bytes(range(256)) * 1000
        assert await a.publish("x/y", payload) == 0
        message = await asyncio.wait_for(first(b), 5)
        assert (message.topic, message.payload, message.qos) == ("x/y", payload, 1)
        assert a.mqtt5 is (protocol is Protocol.V5)


async def test_the_broker_says_when_nobody_listens(port: int) -> None:
    async with at(port).connect() as connection:
        assert await connection.publish("nobody/home", b"x") == NO_SUBSCRIBER


async def test_a_denied_publish_is_refused_and_a_denied_subscription_too(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic write allowed\n")
    (tmp_path / "acl").chmod(0o600)
    with mosquitto(tmp_path, f"allow_anonymous true\nacl_file {tmp_path}/acl\n") as port:
        async with at(port).connect() as connection:
            with pytest.raises(Refused, match="refused a message to denied") as caught:
                await connection.publish("denied", b"x")
            assert caught.value.reason_code == 0x87
            assert await connection.publish("allowed", b"x") in (0, NO_SUBSCRIBER)  # the connection survives


async def test_wrong_credentials_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with mosquitto(tmp_path, "allow_anonymous false\n") as port:
        with pytest.raises(Refused, match="user, password") as caught:
            async with at(port, username="me", password="wrong").connect():  # noqa: S106 - it is
                raise AssertionError
        assert "wrong" not in str(caught.value)


async def test_nobody_at_the_port_is_unavailable_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"no MQTT broker answers at 127\.0\.0\.1:1"):
        async with at(1).connect():
            raise AssertionError
    assert time.monotonic() - started < 2


async def test_a_publish_fails_at_once_when_the_connection_dies(port: int) -> None:
    async with Proxy(port) as proxy, at(proxy.port).connect() as connection:
        proxy.passing = False
        publishing = asyncio.create_task(connection.publish("x", bytes(1000)))
        await asyncio.sleep(0.1)
        assert not publishing.done()
        died = time.monotonic()
        proxy.cut()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(publishing, 5)
        assert time.monotonic() - died < 1
        with pytest.raises(Unavailable):
            await connection.publish("x", b"again")


async def test_a_publish_into_a_dead_link_times_out_by_its_size(port: int) -> None:
    async with Proxy(port) as proxy, at(proxy.port, answer_timeout_s=0.3, min_rate_bytes_s=10_000).connect() as link:
        proxy.passing = False
        started = time.monotonic()
        with pytest.raises(Unavailable, match="did not acknowledge"):
            await link.publish("x", bytes(5_000))
        assert 0.7 < time.monotonic() - started < 2


async def test_what_failed_is_not_sent_by_a_later_connection(port: int) -> None:
    async with at(port, "listener").connect() as listener:
        await listener.subscribe("x", qos=1)
        async with Proxy(port) as proxy:
            dialer = at(proxy.port)
            async with dialer.connect() as connection:
                proxy.passing = False
                publishing = asyncio.create_task(connection.publish("x", b"lost"))
                await asyncio.sleep(0.1)
                proxy.cut()
                with pytest.raises(Unavailable):
                    await publishing
            proxy.passing = True
            async with dialer.connect() as connection:
                await connection.publish("x", b"second")
                assert (await asyncio.wait_for(first(listener), 5)).payload == b"second"
                await asyncio.sleep(0.2)
                assert listener.waiting() == 0


@pytest.mark.parametrize("protocol", [Protocol.V5, Protocol.V311])
async def test_a_message_counts_as_taken_only_when_it_is_acknowledged(tmp_path: Path, protocol: Protocol) -> None:
    with mosquitto(tmp_path, "allow_anonymous true\nmax_inflight_messages 1\n") as port:
        taker = at(port, "taker", protocol=protocol, receive_maximum=1)
        async with at(port, "sender").connect() as sender, taker.connect(manual_ack=True) as connection:
            await connection.subscribe("x", qos=1)
            await sender.publish("x", b"one")
            await sender.publish("x", b"two")
            message = await asyncio.wait_for(first(connection), 5)
            await asyncio.sleep(0.2)
            assert connection.waiting() == 0
            connection.acknowledge(message)
            assert (await asyncio.wait_for(first(connection), 5)).payload == b"two"


async def test_reading_pauses_when_the_queue_is_full_and_nothing_is_dropped(port: int) -> None:
    slow = at(port, "slow", queue_bytes=100_000, receive_maximum=500)
    async with at(port, "sender").connect() as sender, slow.connect(manual_ack=True) as reader:
        await reader.subscribe("x", qos=1)
        for number in range(200):
            await sender.publish("x", number.to_bytes(2, "big") + bytes(9_998))
        await asyncio.sleep(0.3)
        assert reader.waiting() <= 12
        seen = []
        async for message in reader.messages():
            seen.append(int.from_bytes(message.payload[:2], "big"))
            reader.acknowledge(message)
            if len(seen) == 200:
                break
        assert seen == list(range(200))


async def test_a_packet_over_our_limit_does_not_come_in(port: int) -> None:
    """MQTT 5 tells the broker, which leaves it out; over 3.1.1 it ends the connection."""
    async with at(port, "sender").connect() as sender:
        async with at(port, "five", max_packet_bytes=10_000).connect() as five:
            await five.subscribe("x", qos=1)
            await sender.publish("x", bytes(20_000))
            await sender.publish("x", b"small")
            assert (await asyncio.wait_for(first(five), 5)).payload == b"small"
        async with at(port, "three", max_packet_bytes=10_000, protocol=Protocol.V311).connect() as three:
            await three.subscribe("x", qos=1)
            await sender.publish("x", bytes(20_000))
            with pytest.raises(Unavailable, match="over the limit"):
                await asyncio.wait_for(first(three), 5)


async def test_the_brokers_maximum_packet_size_is_kept_to(tmp_path: Path) -> None:
    with mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 5000\n") as port:
        async with at(port).connect() as connection:
            with pytest.raises(TooLarge):
                await connection.publish("x", bytes(6000))


async def test_the_wire_count_equals_the_formula(port: int) -> None:
    async with at(port, "sink").connect() as sink, at(port).connect() as connection:
        await sink.subscribe("some/topic", qos=0)
        before = connection.tcp_info()
        if before is None:
            pytest.skip("this system does not count")
        sizes = [0, 1, 126, 127, 2_000, 20_000, 100_000]
        for size in sizes:
            await connection.publish("some/topic", bytes(size))
        after = connection.tcp_info()
        assert after is not None
        once = (after.sent - after.retransmitted) - (before.sent - before.retransmitted)
        assert once == sum(wire.publish_bytes(10, size, mqtt5=True) for size in sizes)
        bound = sum(wire.chunk_bound(10, size, connection.path, mqtt5=True) for size in sizes)
        if not after.retransmitted:  # a loaded machine makes even loopback repeat itself
            assert wire.wire_bytes(after, connection.path) - wire.wire_bytes(before, connection.path) <= bound


async def test_the_count_survives_the_close(port: int) -> None:
    async with at(port).connect() as connection:
        await connection.publish("x", bytes(1000))
        before = connection.wire_bytes()
    assert before is None or (connection.wire_bytes() or 0) >= before > 1000


async def test_an_aborted_connection_sends_no_more(port: int) -> None:
    async with Proxy(port) as proxy, at(proxy.port).connect() as connection:
        proxy.rate_bytes_s = 50_000
        publishing = asyncio.create_task(connection.publish("x", bytes(4_000_000)))
        await until(lambda: proxy.carried > 20_000)
        connection.abort("the budget is used up")
        with pytest.raises(Unavailable, match="budget"):
            await publishing
        assert not connection.alive


async def test_an_idle_connection_does_not_wake_up(port: int) -> None:
    async with at(port, keepalive_s=300).connect():
        loop = asyncio.get_running_loop()
        woken = 0
        original = loop._run_once  # type: ignore[attr-defined]

        def counting() -> None:
            nonlocal woken
            woken += 1
            original()

        loop._run_once = counting  # type: ignore[attr-defined]
        await asyncio.sleep(3)
        loop._run_once = original  # type: ignore[attr-defined]
        assert woken <= 3


async def test_a_keepalive_is_sent_and_its_absence_noticed(port: int) -> None:
    async with Proxy(port) as proxy, at(proxy.port, keepalive_s=1).connect() as connection:
        await asyncio.sleep(2.5)
        assert connection.alive  # else the broker had cut it after 1.5 keepalives
        proxy.passing = False
        await until(lambda: not connection.alive, 5)


class OldBroker:
    """A server that closes on MQTT 5's CONNECT and accepts that of 3.1.1, as brokers without MQTT 5 do."""

    def __init__(self) -> None:
        self.versions: list[int] = []

    async def __aenter__(self) -> OldBroker:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await reader.read(1000)
        self.versions.append(packet[8])
        if packet[8] == 4:
            writer.write(b"\x20\x02\x00\x00")
            await reader.read(1000)
        writer.close()


async def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1_and_remembered() -> None:
    async with OldBroker() as old:
        dialer = at(old.port)
        for _ in range(2):
            async with dialer.connect() as connection:
                assert not connection.mqtt5
            assert (connection.wire_bytes() or 1000) > 400
        assert old.versions == [5, 4, 4]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def tls_config(authority: Authority, *, clients: bool, version: str = "tlsv1.3") -> str:
    certificate, key = authority.issue("localhost")
    return (
        f"listener {{port}} 127.0.0.1\nallow_anonymous true\ncafile {authority.file}\ncertfile {certificate}\n"
        f"keyfile {key}\ntls_version {version}\nrequire_certificate {'true' if clients else 'false'}\n"
    )


def over_tls(port: int, tls: Tls, **more: object) -> Dialer:
    return Dialer(Broker("localhost", port, "tls", tls=tls, connect_timeout_s=5.0, **more))  # type: ignore[arg-type]


async def test_tls_with_a_client_certificate(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("dev-1")
    with mosquitto(tmp_path, tls_config(authority, clients=True)) as port:
        async with over_tls(port, Tls(authority.file, certificate, key)).connect() as connection:
            before = connection.tcp_info()
            await connection.publish("x", bytes(40_000))
            after = connection.tcp_info()
            assert connection.path.tls
            assert connection._client.paho.socket().version() == "TLSv1.3"  # type: ignore[union-attr]
            if before and after:
                message = wire.publish_bytes(1, 40_000, mqtt5=True)
                once = (after.sent - after.retransmitted) - (before.sent - before.retransmitted)
                assert once == wire.stream_bytes(message, connection.path)
                assert after.retransmitted or (connection.wire_bytes() or 0) < wire.connect_bound(
                    tls=True, client_certificate=True
                ) + wire.sent_bound(message, connection.path)


async def test_a_second_tls_connection_goes_on_with_the_session_and_costs_less(
    tmp_path: Path, authority: Authority
) -> None:
    certificate, key = authority.issue("dev-1")
    with mosquitto(tmp_path, tls_config(authority, clients=True)) as port:
        dialer = over_tls(port, Tls(authority.file, certificate, key))
        costs, resumed = [], []
        for _ in range(3):
            async with dialer.connect() as connection:
                await connection.publish("x", b"y")
                resumed.append(connection._client.paho.socket().session_reused)  # type: ignore[union-attr]
                costs.append(connection.wire_bytes() or 0)
        assert resumed == [False, True, True]
        assert costs[1] <= costs[0] - 1_000 or costs[0] == 0
        assert max(costs) < wire.connect_bound(tls=True, client_certificate=True)


async def test_what_a_failed_attempt_costs_is_never_told_too_low(tmp_path: Path, authority: Authority) -> None:
    with mosquitto(tmp_path, tls_config(authority, clients=True)) as port:
        async with Proxy(port) as proxy:
            dialer = over_tls(proxy.port, Tls(authority.file))
            with pytest.raises(Refused):
                async with dialer.connect():
                    raise AssertionError
            assert proxy.carried < dialer.failed_bytes <= dialer.broker.connect_bound
    dialer = at(1)
    with pytest.raises(Unavailable):
        async with dialer.connect():
            raise AssertionError
    assert 0 < dialer.failed_bytes <= wire.FAILED_CONNECT_BYTES


async def test_no_certificate_a_foreign_one_or_a_foreign_broker_are_told_apart_from_success(
    tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger")
    certificate, key = stranger.issue("dev-1")
    with mosquitto(tmp_path, tls_config(authority, clients=True)) as port:
        for tls in (Tls(authority.file), Tls(authority.file, certificate, key), Tls(stranger.file)):
            started = time.monotonic()
            with pytest.raises((Unavailable, Refused)) as caught:
                async with over_tls(port, tls).connect():
                    raise AssertionError
            assert time.monotonic() - started < 3
            assert "certificate" in str(caught.value).lower()


async def test_tls_below_1_3_is_not_spoken(tmp_path: Path, authority: Authority) -> None:
    with mosquitto(tmp_path, tls_config(authority, clients=False, version="tlsv1.2")) as port:
        # mosquitto's setting is a minimum in recent versions; make sure with a client that offers 1.2 only
        context = ssl.create_default_context(cafile=str(authority.file))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        _, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.close()
        dialer = over_tls(port, Tls(authority.file))
        assert dialer._tls is not None
        assert dialer._tls.minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.skipif("iotcore" not in embedded_broker.available(), reason="the wheel is not installed")
async def test_rumqttd_takes_the_largest_chunk_and_shares_subscriptions(tmp_path: Path) -> None:
    with embedded_broker.embedded(tmp_path / "b", kind="iotcore") as broker:
        async with at(broker.port, "in").connect(manual_ack=True) as sink, at(broker.port, "out").connect() as source:
            await sink.subscribe("$share/g/modicum/v1/+/up", qos=1)
            payload = bytes(8 << 20)
            assert await source.publish("modicum/v1/dev-1/up", payload) == 0
            message = await asyncio.wait_for(first(sink), 10)
            assert message.payload == payload
            sink.acknowledge(message)


async def test_only_what_was_handed_over_leaves_not_even_at_the_goodbye(port: int) -> None:
    async with Proxy(port) as proxy:
        async with at(proxy.port).connect() as connection:
            connection.hold()
            publishing = asyncio.create_task(connection.publish("x", bytes(200_000)))
            await until(lambda: connection.held)
            before = proxy.carried
            await asyncio.sleep(0.2)
            assert proxy.carried == before
            connection.hand_over(50_000)
            await until(lambda: connection.held)
            await asyncio.sleep(0.2)
            assert 49_000 < proxy.carried - before <= 50_200
            carried = proxy.carried
        with pytest.raises(Unavailable):
            await publishing
        await asyncio.sleep(0.2)
        assert proxy.carried - carried < 100, "the rest went with the goodbye"


async def test_pings_and_goodbyes_go_without_being_handed_over(port: int) -> None:
    async with Proxy(port) as proxy, at(proxy.port, keepalive_s=1).connect() as connection:
        connection.hold()
        before = proxy.carried
        await until(lambda: proxy.carried > before, 5)
        assert connection.alive
