# SPDX-License-Identifier: GPL-2.0

""" What a test has the lab do outside of the machine (see tools/testing/lab/README.md). """

import json
from pathlib import Path

from .strict import unmet

PORT = Path("/dev/virtio-ports/lab.station")


def station(**request):
    """ Ask the lab's station; return its answer. """
    if not PORT.exists():
        raise unmet("no lab is there to ask")
    with open(PORT, "r+b", buffering=0) as port:
        port.write(json.dumps(request).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += port.read(4096)
    answer = json.loads(answer)
    if "error" in answer:
        raise RuntimeError(f"{request}: {answer['error']}")
    return answer


def set_card(card=0, **properties):
    """ Change properties of a card of this machine, such as module="sr". """
    for name, value in properties.items():
        station(op="card", card=card, property=name, value=value)
