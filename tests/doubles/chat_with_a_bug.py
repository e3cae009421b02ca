"""The chat of scenarios/systems/servers/chat.py as it stands, whose broadcasts commit one bug.

Usage: python3 chat_with_a_bug.py BUG PORT
"""

import json
import pathlib
import socket
import sys
from collections import defaultdict

import websockets

CHAT = pathlib.Path(__file__).parents[2] / "scenarios/systems/servers/chat.py"
BUG_AT = 40  # the broadcast at which a bug is committed that is committed once
LATE_MISSES = 3  # messages: one alone may cross the answer to the join, and is not owed then
SLOW_FROM = 256 << 10  # bytes that wait for a member from which on it counts as slow

bug, port = sys.argv[1:]
correct = websockets.broadcast
namespace = {"__name__": "__main__"}
sent = 0
held = None  # a member, a room and a message that the member gets after the next one there
seen = defaultdict(set)  # by room: who gets what is said there
missed = defaultdict(int)  # by member and room: messages that who has come late did not get


def broadcast(members, said):
    global sent, held
    sent += 1
    now = sent == BUG_AT
    message = json.loads(said)
    room = message["room"]
    members = set(members)
    if bug == "acked-and-dropped" and now:
        return
    if bug == "slow-reader-skipped":
        for member in members:  # so that who does not read is noticed before megabytes are on the way
            connection = member.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        members = {m for m in members if m.transport.get_write_buffer_size() < SLOW_FROM}
    if bug == "late-join-lost":
        late = members - seen[room] if sent > BUG_AT else set()
        for member in late:
            missed[member, room] += 1
        seen[room] |= {m for m in members if m not in late or missed[m, room] == LATE_MISSES}
        members -= late
    first = min(members, key=id, default=None)
    if now and first is not None:
        if bug == "lost-to-one":
            members.discard(first)
        elif bug == "doubled":
            correct([first], said)
        elif bug == "reordered":
            held = (first, room, said)
            members.discard(first)
        elif bug == "altered":
            text = message["text"]
            other = "B" if text[30] == "A" else "A"
            message["text"] = text[:30] + other + text[31:]
            correct([first], json.dumps(message))
            members.discard(first)
    correct(members, said)
    if held and not now and held[0] in members and held[1] == room:
        correct([held[0]], held[2])
        held = None
    if bug == "wrong-room" and now:
        for name, others in namespace["rooms"].items():
            if name != room:
                correct(others, said)


websockets.broadcast = broadcast
sys.argv = [str(CHAT), port]
exec(compile(CHAT.read_text(), str(CHAT), "exec"), namespace)
