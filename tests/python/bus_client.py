"""Publishes an exposure event and reads the catalogue's rows back, as a user of nats-py and pyarrow would.

bus_client.py NATS_URL IMAGE_URI; prints a JSON line on what it read.
"""
import asyncio
import json
import sys

import nats
import pyarrow as pa


async def main(url, image):
    client = await nats.connect(url)
    stream = client.jetstream()
    answers = await client.subscribe("answers.python")
    event = {
        "specversion": "1.0",
        "id": "python-1",
        "source": "/python",
        "type": "org.stillair.exposure.available.v1",
        "data": {
            "identity": {"instrument": "Python", "exposure_id": 1},
            "data": {"image": {"uri": image}},
            "reply_to": "answers.python",
        },
    }
    ack = await stream.publish("stillair.exposure.available", json.dumps(event).encode(), headers={"Nats-Msg-Id": "Python/1"})
    assert ack.stream == "STILLAIR_EXPOSURES" and not ack.duplicate

    ready = await stream.subscribe("stillair.catalog.ready", ordered_consumer=True)
    message = await ready.next_msg(timeout=60)
    said = json.loads(message.data)
    assert said["type"] == "org.stillair.catalog.ready.v1" and said["specversion"] == "1.0"
    where = said["data"]["rows"]
    tables = []
    for sequence in where["sequences"]:
        part = await stream.get_msg(where["stream"], sequence)
        assert part.subject == where["subject"]
        tables.append(pa.ipc.open_stream(part.data).read_all())
    table = pa.concat_tables(tables)
    assert table.schema.field("flux").metadata[b"unit"] == b"nJy", table.schema.field("flux").metadata
    reply = json.loads((await answers.next_msg(timeout=20)).data)
    print(json.dumps({
        "parts": where["parts"],
        "rows": table.num_rows,
        "ids": table.column("id").to_pylist(),
        "replied": reply["data"]["identity"] == said["data"]["identity"],
    }))
    await client.close()


asyncio.run(main(*sys.argv[1:]))
