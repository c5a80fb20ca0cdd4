"""What benches/service.py runs: nats-server and `stillair serve` as processes, a network that can be cut, and a look at the streams.

Everything listens on free loopback ports and is stopped by its process id.
"""
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

ROOT = Path(__file__).resolve().parent.parent
EXPOSURES, CATALOGS, DEAD = "STILLAIR_EXPOSURES", "STILLAIR_CATALOGS", "STILLAIR_DEAD_LETTERS"
AVAILABLE, READY, ROWS = "stillair.exposure.available", "stillair.catalog.ready", "stillair.catalog.rows"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port, path):
    """Text of a page, or None where nobody answers 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("STILLAIR__")}


class Process:
    """A child process with its log; answers at `health` when it is up."""

    def __init__(self, command, log, port, health, environment=None):
        self.command, self.log, self.port, self.health = command, Path(log), port, health
        self.environment, self.child = environment, None

    def spawn(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def up(self, limit=90):
        start = time.monotonic()
        while get(self.port, self.health) is None:
            if self.child.poll() is not None or time.monotonic() - start > limit:
                sys.exit(f"{self.command[0]} does not answer; its log ends:\n{self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.01)

    def kill(self):
        """As a power cut would."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def stop(self, limit=60):
        """SIGTERM; the exit code."""
        if self.child is None:
            return None
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        finally:
            self.child = None


class Nats(Process):
    """nats-server with JetStream on disk, configured as the tests do."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        program = Path(sys.executable).parent / "nats-server"
        self.client, monitor = free_port(), free_port()
        configuration = folder / "nats-server.conf"
        configuration.write_text(
            f'listen: "127.0.0.1:{self.client}"\nhttp: "127.0.0.1:{monitor}"\n'
            f'jetstream {{ store_dir: "{folder}/store", max_mem: 256MB, max_file: 8GB }}\n'
        )
        command = [program if program.exists() else "nats-server", "-c", configuration]
        super().__init__(command, folder / "nats-server.log", monitor, "/healthz")
        self.url = f"nats://127.0.0.1:{self.client}"


class Service(Process):
    """`stillair serve`."""

    def __init__(self, binary, folder, url, settings):
        port = free_port()
        environment = clean_environment() | {name: str(value) for name, value in settings.items()}
        self.out = folder / "out"
        environment |= {
            "STILLAIR__BUS__URL": url,
            "STILLAIR__OUTPUT__DIRECTORY": str(self.out),
            "STILLAIR__HTTP__LISTEN": f"127.0.0.1:{port}",
        }
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__([binary, "serve"], folder / "serve.log", port, "/readyz", environment)

    def memory(self):
        """Resident KiB: (all of it, what is not backed by a file)."""
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines())
        return tuple(int(lines[name].split()[0]) for name in ("VmRSS", "RssAnon"))

    def cpu(self):
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stages(self):
        """Mean seconds of each stage, from /metrics."""
        sums, counts = {}, {}
        for line in (get(self.port, "/metrics") or "").splitlines():
            for name, found in (("sum", sums), ("count", counts)):
                head = f'stillair_stage_duration_seconds_{name}{{stage="'
                if line.startswith(head):
                    stage, _, value = line[len(head):].partition('"} ')
                    found[stage] = float(value)
        return {stage: sums[stage] / counts[stage] for stage in sums if counts.get(stage)}


class Proxy:
    """Forwards TCP connections to a loopback port; can be cut without a word, or severed."""

    def __init__(self, target):
        self.target, self.mode, self.changed = target, "open", asyncio.Event()
        self.server, self.writers = None, set()

    async def start(self):
        self.server = await asyncio.start_server(self.joined, "127.0.0.1", 0)
        self.url = "nats://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    def set(self, mode):
        """`open`; `silent`: connections stay and carry nothing; `severed`: they break, and new ones too."""
        self.mode = mode
        self.changed.set()
        self.changed = asyncio.Event()
        if mode == "severed":
            for writer in list(self.writers):
                writer.transport.abort()

    async def joined(self, reader, writer):
        if self.mode == "severed":
            writer.transport.abort()
            return
        await self.passing()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, far_writer}
        await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))
        self.writers -= {writer, far_writer}

    async def passing(self):
        while self.mode == "silent":
            await self.changed.wait()

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self.passing()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def stop(self):
        self.server.close()
        self.set("severed")
        # Until the pumps have seen it.
        await asyncio.sleep(0.1)


class Streams:
    """A client beside the service: publishes events, and reads what became of them with the server's own times."""

    def __init__(self, url):
        self.url, self.client, self.stream = url, None, None

    async def __aenter__(self):
        self.client = await nats.connect(self.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=quiet)
        self.stream = self.client.jetstream(timeout=20)
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    async def publish(self, identity, uri):
        """Publishes an event for a file; the time just before."""
        now = time.time()
        event = {
            "specversion": "1.0",
            "id": identity,
            "source": "/bench",
            "type": "org.stillair.exposure.available.v1",
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z",
            "data": {"identity": {"instrument": "Bench", "exposure_id": identity}, "data": {"image": {"uri": uri}}},
        }
        await self.stream.publish(AVAILABLE, json.dumps(event).encode(), headers={"Nats-Msg-Id": identity})
        return now

    async def publish_all(self, identities, uris):
        """Events for the files in turn, in this order."""
        for number, identity in enumerate(identities):
            await self.publish(identity, uris[number % len(uris)])

    async def consumer(self):
        return await self.stream.consumer_info(EXPOSURES, "stillair")

    async def answered(self, limit, each=None, pause=0.1):
        """Waits until every event has been answered for; calls `each` with the number of those that are."""
        start = time.monotonic()
        while True:
            info = await self.consumer()
            if each is not None:
                each(info.ack_floor.stream_seq)
            if info.num_pending + info.num_ack_pending == 0:
                return
            if time.monotonic() - start > limit:
                sys.exit(f"{info.num_pending + info.num_ack_pending} events are unanswered after {limit} s")
            await asyncio.sleep(pause)

    async def messages(self, stream, subject):
        """Every message of a subject: (sequence, server's time as seconds, payload)."""
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
        found, left = [], (await self.stream.stream_info(stream, subjects_filter=subject)).state.subjects or {}
        left = sum(left.values())
        if not left:
            return found
        reader = await self.stream.pull_subscribe(subject, stream=stream, config=config)
        while len(found) < left:
            for message in await reader.fetch(min(50, left - len(found)), timeout=10):
                about = message.metadata
                found.append((about.sequence.stream, about.timestamp.timestamp(), message.data))
        await reader.unsubscribe()
        return found

    async def catalogs(self):
        """exposure_id -> (time of its catalog.ready, objects), each once."""
        found = {}
        for _, at, payload in await self.messages(CATALOGS, READY):
            data = json.loads(payload)["data"]
            identity = data["identity"]["exposure_id"]
            if identity in found:
                sys.exit(f"{identity} was published twice")
            found[identity] = (at, data["counts"]["objects"])
        return found

    async def newest(self):
        """Time of the newest catalog.ready; 0 without one."""
        try:
            return (await self.stream.get_last_msg(CATALOGS, READY)).time.timestamp()
        except nats.js.errors.NotFoundError:
            return 0.0

    async def failed(self):
        """How many exposures were given up."""
        return (await self.stream.stream_info(DEAD)).state.messages


async def quiet(_):
    """Lost connections are part of the measurement."""
