#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Frames that meet a transmit queue as the stack seldom brings them: in many pieces,
by the lock of another queue, and while the link comes and goes.
"""

import contextlib
import os
import random
import socket
import tempfile
import threading
import time

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_variants
from lib.py import PATIENCE, IxgbeEnv, NetNSEnter, bkg, cmd, defer, ip, ping, verify_tcp

# Frames of this shape: three pieces longer than 16 KiB, which take two descriptors each, and
# one byte of each of some pages.
LONG, PAGES, ROUNDS, SOCKETS = 17000, 14, 40, 8
PAGE = 4096
# How often the link goes.
FLAPS = 40


def _queues(end, what):
    """ The files @what of each transmit queue. """
    return f"/sys/class/net/{end.ifname}/queues/tx-*/byte_queue_limits/{what}"


def _settled(end):
    """ Nothing is left in the byte limits: each frame that was put in was taken out. """
    def left():
        out = cmd(f"sh -c 'cat {_queues(end, 'inflight')}'", ns=end.ns,
                  shell=True).stdout
        return any(int(n) for n in out.split())
    ksft_busy_wait(lambda: not left(), deadline=PATIENCE, comment="something is in flight")


def _inside(end):
    """ Where sockets that are made belong to an endpoint. """
    return NetNSEnter(end.ns) if end.ns else contextlib.nullcontext()


def _read(sock, nbytes):
    """ Take @nbytes from a socket. """
    data = bytearray()
    while len(data) < nbytes:
        part = sock.recv(1 << 16)
        if not part:
            break
        data += part
    return bytes(data)


def _send_pieces(sock, file, data):
    """ Send @data, of which @file has one byte in each page, as one frame if TCP lets it. """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    for i in range(3):
        sock.sendall(data[i * LONG:(i + 1) * LONG])
    out, into = os.pipe()
    try:
        for i in range(PAGES):
            os.splice(file, into, 1, offset_src=i * PAGE)
            os.splice(out, sock.fileno(), 1)
    finally:
        os.close(out)
        os.close(into)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


@ksft_variants(["pf", "vf0"])
def many_pieces(cfg, name):
    """ Frames that take more descriptors than they have pages come out whole. """
    end, peer = cfg.endpoint(name), cfg.peer
    # As much as the ring holds, so that it is the ring that is full and not the byte limit.
    cmd(f"sh -c 'for q in {_queues(end, 'limit_min')}; do echo 10000000 >$q; done'", ns=end.ns,
        shell=True)
    defer(cmd, f"sh -c 'for q in {_queues(end, 'limit_min')}; do echo 0 >$q; done'", ns=end.ns,
          shell=True)
    rand = random.Random(4)
    head, tail = rand.randbytes(3 * LONG), rand.randbytes(PAGES)
    with _inside(peer):
        listener = socket.create_server((peer.addr("4"), 0), backlog=SOCKETS)
    with listener, tempfile.TemporaryFile() as file:
        for i in range(PAGES):
            file.seek(i * PAGE)
            file.write(tail[i:i + 1])
        file.flush()
        good = []

        def connection():
            with _inside(end):
                sock = socket.socket()
            with sock:
                sock.settimeout(10 * PATIENCE)
                sock.connect(listener.getsockname())
                for _ in range(ROUNDS):
                    _send_pieces(sock, file.fileno(), head)

        def receive(sock):
            with sock:
                sock.settimeout(10 * PATIENCE)
                good.append(_read(sock, ROUNDS * (3 * LONG + PAGES)) == (head + tail) * ROUNDS)

        threads = [threading.Thread(target=connection, daemon=True) for _ in range(SOCKETS)]
        for thread in threads:
            thread.start()
        for _ in range(SOCKETS):
            threads.append(threading.Thread(target=receive, args=(listener.accept()[0], ),
                                            daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
    ksft_eq(good, [True] * SOCKETS)
    _settled(end)


def other_queue(cfg):
    """
    Frames that an action maps to another queue than the one whose lock is held (skbedit in a
    qdisc of one queue) harm nobody: those that may be sent are, and the queues go on after it.
    """
    pf = cfg.pf
    cmd(f"tc qdisc replace dev {pf.ifname} root handle 1: mq", ns=pf.ns)
    defer(cmd, f"tc qdisc del dev {pf.ifname} root", ns=pf.ns)
    cmd(f"tc qdisc replace dev {pf.ifname} parent 1:1 handle 10: fq_codel", ns=pf.ns)
    cmd(f"tc filter add dev {pf.ifname} parent 10: matchall action skbedit queue_mapping 1",
        ns=pf.ns)
    # By both queues at the same time.
    floods = [bkg(f"taskset -c {cpu} ping -q -f -c 20000 -w 5 -l 32 -s {400 + cpu} "
                  f"{cfg.peer.addr('4')}", ns=pf.ns, fail=False) for cpu in (0, 1)]
    for flood in floods:
        flood.process(terminate=False, fail=False)
    cmd(f"tc filter del dev {pf.ifname} parent 10:", ns=pf.ns)
    verify_tcp(pf, cfg.peer, 1 << 20)
    _settled(pf)


def flapping_link(cfg):
    """ A VF whose link goes while its queue is full sends again once it is there. """
    vf, rand = cfg.vfs[0], random.Random(6)

    def state(value):
        ip(f"link set dev {cfg.pf.ifname} vf 0 state {value}", ns=cfg.pf.ns)

    defer(state, "auto")
    flood = bkg(f"ping -q -f -w 600 -l 64 -s 1400 {cfg.peer.addr('4')}", ns=vf.ns, fail=False)
    try:
        for _ in range(FLAPS):
            state("disable")
            time.sleep(rand.uniform(0.001, 0.05))
            state("enable")
            time.sleep(rand.uniform(0.001, 0.2))
    finally:
        flood.process(terminate=True, fail=False)
    state("auto")
    cfg.settle(vf)
    ping(vf, cfg.peer)
    verify_tcp(vf, cfg.peer, 1 << 20)
    _settled(vf)


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([many_pieces, other_queue, flapping_link], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
