"""A chat with rooms over WebSocket, in twenty lines: the kind of server that one writes oneself."""

import asyncio
import json
import sys
from collections import defaultdict

import websockets

rooms = defaultdict(set)


async def client(socket):
    mine = set()
    try:
        async for line in socket:
            message = json.loads(line)
            members = rooms[message["room"]]
            if message["type"] == "join":
                members.add(socket)
                mine.add(message["room"])
                await socket.send(json.dumps({"type": "joined", "room": message["room"]}))
            elif message["type"] == "say":
                said = json.dumps({"type": "said", "room": message["room"], "text": message["text"]})
                websockets.broadcast(members - {socket}, said)
                await socket.send(json.dumps({"type": "ok", "id": message["id"]}))
    except websockets.ConnectionClosed:
        pass
    finally:
        for room in mine:
            rooms[room].discard(socket)


async def main(port):
    async with websockets.serve(client, "127.0.0.1", port, compression=None):
        await asyncio.Future()


asyncio.run(main(int(sys.argv[1])))
