"""deploy/nats with the real server: its configuration, what each user may do, streams and consumer."""

import asyncio
import json
import logging
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nats
import nats.errors
import nats.js.api
import nats.js.errors

from .common import Broken, environment, must, need, program, read_toml, run

PASSWORDS = {f"NATS_{user}_PASSWORD": f"{user.lower()}-secret" for user in ("OPERATOR", "STILLAIR", "PUBLISHER", "READER")}
STREAMS = {
    "exposures_stream": ("exposures.stream.json", ["exposures_subject"]),
    "catalogs_stream": ("catalogs.stream.json", ["ready_subject", "rows_subject"]),
    "dead_letter_stream": ("dead_letters.stream.json", ["failed_subject"]),
}
# What the server refuses is expected here.
logging.getLogger("nats").setLevel(logging.CRITICAL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class User:
    """A connection as one of the users; what the server refused is remembered."""

    def __init__(self, url: str, name: str):
        self.url, self.name, self.refused = url, name, []

    async def __aenter__(self):
        async def remember(error):
            self.refused.append(str(error))

        self.client = await nats.connect(
            self.url, user=self.name, password=f"{self.name}-secret", allow_reconnect=False, error_cb=remember
        )
        self.stream = self.client.jetstream(timeout=5)
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    async def may(self, what: str, action) -> object:
        """The action must succeed, and the server refuse nothing."""
        try:
            result = await action
        except Exception as error:
            raise Broken(f"nats: {self.name} may not {what}: {error} {self.refused}") from None
        need(not self.refused, f"nats: {self.name}: {what}: {self.refused}")
        return result

    async def may_not_publish(self, subject: str) -> None:
        """A publication on the subject must be refused."""
        await self.client.publish(subject, b"{}")
        need(await self.was_refused(), f"nats: {self.name} may publish on {subject}")

    async def may_not_subscribe(self, subject: str) -> None:
        """A subscription to the subject must be refused."""
        await self.client.subscribe(subject)
        need(await self.was_refused(), f"nats: {self.name} may read {subject}")

    async def was_refused(self) -> bool:
        """Whether the server refused what was just sent; the client may write its PING before it, so one flush is not enough."""
        for _ in range(100):
            await self.client.flush()
            if self.refused:
                refused = any("permissions violation" in text for text in self.refused)
                self.refused.clear()
                return refused
            await asyncio.sleep(0.01)
        return False

    async def ask(self, subject: str, body: dict) -> dict:
        """A request to JetStream's interface; its answer."""
        answer = json.loads((await self.client.request(subject, json.dumps(body).encode(), timeout=5)).data)
        if "error" in answer:
            raise Broken(f"{subject}: {answer['error']['description']}")
        return answer


async def provision(url: str, folder: Path, names: dict) -> None:
    """The operator makes what the files say, and the server gives back what they say."""
    async with User(url, "operator") as operator:
        for key, (file, subjects) in STREAMS.items():
            want = json.loads((folder / file).read_text())
            need(want["name"] == names[key], f"{file}: {want['name']}, but [bus] {key} = {names[key]}")
            need(want["subjects"] == [names[subject] for subject in subjects], f"{file}: subjects {want['subjects']}")
            need(want["retention"] == "limits", f"{file}: retention is not limits")
            need(want["duplicate_window"] == names["duplicate_window_s"] * 10**9, f"{file}: duplicate_window")
            made = await operator.may(f"make {want['name']}", operator.ask(f"$JS.API.STREAM.CREATE.{want['name']}", want))
            differ = {name for name, value in want.items() if made["config"].get(name) != value}
            need(not differ, f"{file}: the server made something else of {sorted(differ)}")
        want = json.loads((folder / "stillair.consumer.json").read_text())
        stream, name = names["exposures_stream"], names["consumer"]
        need(want["durable_name"] == name and want["filter_subject"] == names["exposures_subject"], "consumer: names")
        need(want["ack_wait"] == names["ack_wait_s"] * 10**9 and want["max_deliver"] == -1, "consumer: ack_wait or max_deliver")
        body = {"stream_name": stream, "config": want}
        made = await operator.may("make the consumer", operator.ask(f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{name}", body))
        differ = {key for key, value in want.items() if made["config"].get(key) != value}
        need(not differ, f"stillair.consumer.json: the server made something else of {sorted(differ)}")
        await operator.may("make a bucket", operator.stream.create_object_store("exposures"))


async def exercise(url: str, folder: Path, names: dict) -> None:
    """Each user does its work, and is refused the others'."""
    try:
        await nats.connect(url, allow_reconnect=False, connect_timeout=2)
    except nats.errors.Error:
        pass
    else:
        raise Broken("nats: the server asks for no password")
    await provision(url, folder, names)
    event, ready, rows, failed = (names[key] for key in ("exposures_subject", "ready_subject", "rows_subject", "failed_subject"))
    inbox = nats.js.api.ConsumerConfig(ack_policy="explicit")

    async with User(url, "publisher") as publisher:
        for duplicate in (None, True):
            publication = publisher.stream.publish(event, b"{}", headers={"Nats-Msg-Id": "camera/1/2/1"})
            answer = await publisher.may("publish an event", publication)
            need(answer.duplicate == duplicate, f"nats: an event published twice: {answer}")
        store = await publisher.may("open the bucket", publisher.stream.object_store("exposures"))
        await publisher.may("put pixels", store.put("1.fits", b"SIMPLE" * 50_000))
        for subject in (ready, failed, "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.PURGE.STILLAIR_EXPOSURES"):
            await publisher.may_not_publish(subject)
        await publisher.may_not_subscribe(ready)

    async with User(url, "stillair") as daemon:
        for file, _ in STREAMS.values():
            want = json.loads((folder / file).read_text())
            await daemon.may("make a stream that is there", daemon.ask(f"$JS.API.STREAM.CREATE.{want['name']}", want))
        stream, name = names["exposures_stream"], names["consumer"]
        want = {"stream_name": stream, "config": json.loads((folder / "stillair.consumer.json").read_text())}
        await daemon.may("make the consumer", daemon.ask(f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{event}", want))
        pull = await daemon.may("bind to its consumer", daemon.stream.pull_subscribe_bind(name, stream))
        (message,) = await daemon.may("pull", pull.fetch(1, timeout=5))
        await daemon.may("report progress", message.in_progress())
        await daemon.may("acknowledge", message.ack_sync(timeout=5))
        for subject in (ready, rows, failed, event):
            await daemon.may(f"publish on {subject}", daemon.stream.publish(subject, b"{}", headers={"Nats-Msg-Id": subject}))
        store = await daemon.may("open the bucket", daemon.stream.object_store("exposures"))
        got = await daemon.may("get pixels", store.get("1.fits"))
        need(got.data == b"SIMPLE" * 50_000, "nats: other pixels came back")
        letters = names["dead_letter_stream"]
        reading = daemon.stream.pull_subscribe(failed, stream=letters, config=inbox)
        letter = await daemon.may("read dead letters", reading)
        (message,) = await daemon.may("pull dead letters", letter.fetch(1, timeout=5))
        await daemon.may("read a dead letter by number", daemon.ask(f"$JS.API.STREAM.MSG.GET.{letters}", {"seq": 1}))
        await daemon.may("remove a dead letter", daemon.ask(f"$JS.API.STREAM.MSG.DELETE.{letters}", {"seq": 1}))
        refused = [f"$JS.API.STREAM.{verb}.{stream}" for verb in ("DELETE", "PURGE", "MSG.DELETE")]
        for subject in (*refused, "$JS.API.STREAM.CREATE.OTHER", "anything.else"):
            await daemon.may_not_publish(subject)

    async with User(url, "reader") as reader:
        following = reader.stream.pull_subscribe(ready, stream=names["catalogs_stream"], config=inbox)
        pull = await reader.may("follow the catalogues", following)
        (message,) = await reader.may("pull a catalogue", pull.fetch(1, timeout=5))
        await reader.may("acknowledge", message.ack_sync(timeout=5))
        for subject in (event, ready, failed, "$JS.API.STREAM.PURGE.STILLAIR_CATALOGS"):
            await reader.may_not_publish(subject)
        await reader.may_not_subscribe(event)


def check_nats(root: Path) -> None:
    """deploy/nats: the server takes the configuration, and its users may do what they must and no more."""
    folder = root / "deploy/nats"
    names = read_toml(root / "deploy/stillair.toml")["bus"]
    text = (folder / "nats-server.conf").read_text()
    need(set(re.findall(r"password: (\S+)", text)) == {f"${name}" for name in PASSWORDS}, "nats-server.conf: a password in the open")
    script = (folder / "provision.sh").read_text()
    for file in folder.glob("*.json"):
        need(file.name in script, f"provision.sh leaves out {file.name}")
    for file in re.findall(r"--config (\S+)", script):
        need((folder / file).exists(), f"provision.sh: no {file}")
    server = program("nats-server")
    if not server:
        return
    conf = folder / "nats-server.conf"
    tested = run(server, "-t", "-c", conf, env=environment(**PASSWORDS))
    need(tested.returncode == 0, f"nats-server -t:\n{tested.stdout}")
    need(run(server, "-t", "-c", conf).returncode != 0, "nats-server.conf does without passwords")
    with tempfile.TemporaryDirectory() as temporary:
        # The example of TLS, uncommented, with certificates of our own.
        must(sys.executable, Path(__file__).resolve().parents[1] / "make_certificates.py", temporary)
        example = re.search(r"^#tls \{\n(#.*\n)*?#\}\n", text, re.M)
        need(example, "nats-server.conf shows no TLS")
        uncommented = text.replace(example[0], example[0].replace("#", "")).replace("/etc/nats/tls", temporary)
        copy = Path(temporary, "nats-server.conf")
        copy.write_text(uncommented)
        must(server, "-t", "-c", copy, env=environment(**PASSWORDS))
    port, monitor = free_port(), free_port()
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary, "log")
        # The store's folder is the one thing that no option may change.
        copy = Path(temporary, "nats-server.conf")
        copy.write_text(text.replace("/data/jetstream", temporary))
        command = [server, "-c", copy, "-a", "127.0.0.1", "-p", port, "-m", monitor, "-l", log]
        process = subprocess.Popen([str(part) for part in command], env=environment(**PASSWORDS))
        try:
            deadline = time.monotonic() + 30
            while "Server is ready" not in (log.read_text() if log.exists() else ""):
                late = process.poll() is not None or time.monotonic() > deadline
                need(not late, f"nats-server does not start:\n{log.read_text() if log.exists() else ''}")
                time.sleep(0.05)
            asyncio.run(exercise(f"nats://127.0.0.1:{port}", folder, names))
        finally:
            process.terminate()
            process.wait()
