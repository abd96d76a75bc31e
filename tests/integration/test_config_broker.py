"""The keys of [broker]: a whole agent reaches a real broker with them, and does not without."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.config import BrokerSection
from capture.errors import ConfigError
from capture.keyfiles import write_private
from tests.agents import RUN
from tests.looks import Lab, a_chunk, becomes, lab
from tests.places import free_port
from tests.transport.kit import mosquitto
from tests.transport.test_mqtt import Authority, tls_config
from tests.x11_display import need, x_server
from transport.broker import find_mosquitto

pytestmark = [pytest.mark.x11, pytest.mark.broker, pytest.mark.usefixtures("no_buses")]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    need("Xvfb", "xterm")
    with x_server() as name:
        yield name


BROKERS = {
    # key: the broker's configuration, our keys with which it is reached, and those with which it is not
    "host": ("listener {port} 127.0.0.2\nallow_anonymous true\n", 'host = "127.0.0.2"', ""),
    "port": ("allow_anonymous true\n", "", "port = 9"),
    "tls": ("TLS", "TLS-ALL", ""),
    "ca": ("TLS", "TLS-ALL", "TLS-NO-CA"),
    "cert": ("TLS", "TLS-ALL", "TLS-OTHER"),
    "key": ("TLS", "TLS-ALL", "TLS-OTHER-KEY"),
    "username": ("PASSWORD", 'username = "me"\npassword_file = "FOLDER/right"', 'username = "you"\npassword_file = "FOLDER/right"'),
    "password_file": ("PASSWORD", 'username = "me"\npassword_file = "FOLDER/right"', 'username = "me"\npassword_file = "FOLDER/wrong"'),
}  # fmt: skip


def test_every_key_of_the_section_is_here() -> None:
    assert set(BROKERS) == set(BrokerSection.model_fields)


@pytest.mark.parametrize("name", BROKERS)
async def test_the_agent_reaches_a_real_broker_only_with_the_key(name: str, tmp_path: Path, display: str) -> None:
    server, right, wrong = BROKERS[name]
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("device")
    own_certificate, own_key = stranger.issue("own")
    tls = f'host = "localhost"\ntls = true\nca = "{authority.file}"\ncert = "{certificate}"\nkey = "{key}"'
    texts = {
        "TLS-ALL": tls,
        "TLS-NO-CA": tls.replace(f'ca = "{authority.file}"\n', ""),
        "TLS-OTHER": tls.replace(str(certificate), str(own_certificate)).replace(str(key), str(own_key)),
        "TLS-OTHER-KEY": tls.replace(str(key), str(own_key)),
    }
    for file, word in (("right", "secret"), ("wrong", "guess")):
        write_private(tmp_path / file, word.encode() + b"\n")
    if server == "TLS":
        server = tls_config(authority, clients=True)
    elif server == "PASSWORD":
        program = Path(find_mosquitto() or "mosquitto").parent.parent / "bin" / "mosquitto_passwd"
        if not program.exists():
            pytest.skip("mosquitto_passwd is not installed")
        subprocess.run([program, "-b", "-c", str(tmp_path / "users"), "me", "secret"], check=True)  # noqa: ASYNC221
        server = f"allow_anonymous false\npassword_file {tmp_path}/users\n"
    with (
        mosquitto(tmp_path, server)
        if "listener" not in server or "127.0.0.1" in server
        else elsewhere(tmp_path, server) as port
    ):
        for number, (text, reached) in enumerate(((right, True), (wrong, False))):
            said = ""
            text = texts.get(text, text).replace("FOLDER", str(tmp_path))
            lines = text if "port" in text else f"port = {port}\n{text}"
            config = f'[capture]\nhold_back = "0 s"\n[broker]\n{lines}\n'
            try:
                async with lab(tmp_path / str(number), config, display, runs=True) as it:
                    await a_chunk(it)
                    assert await tries(it, tmp_path / "mosquitto.log") is reached, _log(tmp_path)
            except* ConfigError as group:
                said = str(group.exceptions[0])
            assert bool(said) is (name == "key" and not reached)
            assert not said or "cannot be used together: key values mismatch" in said


def _log(folder: Path) -> str:
    return (folder / "mosquitto.log").read_text(errors="replace")


async def tries(lab: Lab, log: Path) -> bool:
    """Return whether the agent got to the broker, once that or the opposite is certain."""
    agent = lab.agent

    def arrived() -> bool:
        return f" as {agent.device} " in log.read_text(errors="replace")

    def ended() -> bool:
        return not any(task.get_name() == RUN for task in asyncio.all_tasks())

    assert await becomes(lambda: arrived() or "broker" in agent.warnings or ended()), "it neither came nor said why not"
    return arrived()


@contextlib.contextmanager
def elsewhere(folder: Path, server: str) -> Iterator[int]:
    """Run mosquitto on another address of the loopback."""
    port = free_port("127.0.0.2")
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    file = folder / "mosquitto.conf"
    file.write_text(server.replace("{port}", str(port)))
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(file)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def test_an_agent_ends_at_once_whatever_its_publisher_is_doing(tmp_path: Path, display: str) -> None:
    """Told to stop at the moment in which its connection ends as well, 25 times."""
    with mosquitto(tmp_path, "allow_anonymous true\n") as port:
        config = f'[capture]\nhold_back = "0 s"\n[broker]\nport = {port}\n'
        for number in range(25):
            async with asyncio.timeout(20):
                async with lab(tmp_path / str(number), config, display, runs=True) as it:
                    await a_chunk(it)
                    assert await tries(it, tmp_path / "mosquitto.log")
