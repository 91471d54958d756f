# SPDX-License-Identifier: GPL-2.0

"""
Traffic whose content is verified: every byte that arrives is compared with what
was sent.

Both ends run in this process. A socket belongs to the namespace in which it was
made, so only its making happens inside another namespace.
"""

import contextlib
import errno
import hashlib
import json
import os
import random
import socket
import threading
import time

from net.lib.py import NetNSEnter, bkg, cmd, wait_port_listen

from .strict import PATIENCE

SLOW = bool(os.environ.get("KSFT_MACHINE_SLOW"))

# Long enough for a loaded machine under emulation, short enough to fail a hang.
TIMEOUT = 2 * PATIENCE


def _enter(ns):
    return NetNSEnter(ns) if ns else contextlib.nullcontext()


def _socket(ns, family, kind):
    with _enter(ns):
        sock = socket.socket(family, kind)
    sock.settimeout(TIMEOUT)
    return sock


def _family(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


class _Thread(threading.Thread):
    """ A thread whose exception is not lost. """

    def __init__(self, func):
        super().__init__(daemon=True)
        self._func = func
        self._error = None
        self.result = None
        self.start()

    def run(self):
        try:
            self.result = self._func()
        except Exception as e:  # pylint: disable=broad-except
            self._error = e

    def finish(self):
        """ Wait for the end; raise what the thread raised. """
        self.join(TIMEOUT + 5)
        if self._error:
            raise self._error
        if self.is_alive():
            raise TimeoutError("verified stream did not end")
        return self.result


def _connect(ns, addr, port):
    """
    A client's socket. Where nobody says within three seconds who has the address, as while a VF
    resets itself, the kernel gives up; as in ping(), that is tried again.
    """
    end = time.monotonic() + PATIENCE
    while True:
        sock = _socket(ns, _family(addr), socket.SOCK_STREAM)
        try:
            sock.connect((addr, port))
            return sock
        except OSError as e:
            sock.close()
            if e.errno != errno.EHOSTUNREACH or time.monotonic() > end:
                raise


def verify_tcp(src, dst, nbytes=1 << 20, ipver="4", seed=None):
    """
    Send @nbytes of a pseudo-random stream from endpoint @src to endpoint @dst and
    the same amount back, over one connection; a quarter of it on a slow machine.
    Raises AssertionError when one byte differs in either direction.
    """
    nbytes = nbytes // 4 if SLOW else nbytes
    addr = dst.addr(ipver)
    rnd = random.Random(seed if seed is not None else nbytes)
    there, back = rnd.randbytes(nbytes), rnd.randbytes(nbytes)

    listener = _socket(dst.ns, _family(addr), socket.SOCK_STREAM)
    with contextlib.closing(listener):
        listener.bind((addr, 0))
        listener.listen(1)
        port = listener.getsockname()[1]

        def serve():
            conn, _ = listener.accept()
            with contextlib.closing(conn):
                conn.settimeout(TIMEOUT)
                digest, count = _drain(conn)
                conn.sendall(back)
                conn.shutdown(socket.SHUT_WR)
            return digest, count

        server = _Thread(serve)
        with contextlib.closing(_connect(src.ns, addr, port)) as client:
            client.sendall(there)
            client.shutdown(socket.SHUT_WR)
            digest, count = _drain(client)
        got, got_count = server.finish()

    assert got_count == nbytes, f"{got_count} of {nbytes} bytes {src}->{dst}"
    assert got == hashlib.sha256(there).digest(), f"content differs {src}->{dst}"
    assert count == nbytes, f"{count} of {nbytes} bytes {dst}->{src}"
    assert digest == hashlib.sha256(back).digest(), f"content differs {dst}->{src}"


def _drain(sock):
    digest, count = hashlib.sha256(), 0
    while True:
        data = sock.recv(1 << 16)
        if not data:
            return digest.digest(), count
        digest.update(data)
        count += len(data)


def verify_udp(src, dst, sizes, ipver="4", patience=PATIENCE):
    """
    Send one datagram of each size in @sizes from @src to @dst, which sends it back
    with every bit inverted; compare. One at a time, so nothing is ever lost to a
    full buffer, and a single loss is an error, after @patience seconds.
    """
    addr = dst.addr(ipver)
    invert = bytes(255 - b for b in range(256))
    stop = threading.Event()

    server = _socket(dst.ns, _family(addr), socket.SOCK_DGRAM)
    server.settimeout(0.2)
    server.bind((addr, 0))
    port = server.getsockname()[1]

    def serve():
        while not stop.is_set():
            try:
                data, peer = server.recvfrom(1 << 16)
            except TimeoutError:
                continue
            server.sendto(data.translate(invert), peer)

    thread = _Thread(serve)
    client = _socket(src.ns, _family(addr), socket.SOCK_DGRAM)
    client.settimeout(patience)
    try:
        for size in sizes:
            data = random.Random(size).randbytes(size)
            client.sendto(data, (addr, port))
            answer = client.recv(1 << 16)
            assert answer == data.translate(invert), \
                f"datagram of {size} bytes differs {src}->{dst}"
    finally:
        stop.set()
        thread.finish()
        client.close()
        server.close()


# asm-generic/socket.h; Python does not name it.
SO_RCVBUFFORCE = 33


def hold_frames(src, dst, count, size=1400):
    """
    Send @count datagrams from @src to a socket at @dst that nobody reads, then close it:
    until then their buffers are not free, so that the driver needs new ones.
    """
    with contextlib.closing(_socket(dst.ns, socket.AF_INET, socket.SOCK_DGRAM)) as sink, \
         contextlib.closing(_socket(src.ns, socket.AF_INET, socket.SOCK_DGRAM)) as source:
        # A frame counts with the page that it is in, and more.
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, count * 8192)
        sink.bind((dst.addr("4"), 0))
        source.connect(sink.getsockname())
        for i in range(count):
            source.send(bytes(size))
            if i % 32 == 0:
                # Fewer than a ring takes at a time.
                time.sleep(0.005)
        time.sleep(0.2)


def ping(src, dst, ipver="4", count=1, size=56, fail=True):
    """
    Ping @dst from @src. Returns whether an answer came, for which it waits only if it must come
    (@fail).
    """
    end = time.monotonic() + PATIENCE
    while True:
        res = cmd(f"ping -{ipver} -q -n -i 0.05 -c {count} -W {PATIENCE if fail else 3} -s {size} "
                  f"{dst.addr(ipver)}", ns=src.ns, fail=False, timeout=3 * PATIENCE)
        # No request is repeated. But where nobody says within three seconds who has the address, none is sent.
        if not res.ret or not fail or "errors" not in res.stdout or time.monotonic() > end:
            break
    if fail and res.ret:
        raise AssertionError(f"ping {src}->{dst}:\n{res.stdout}{res.stderr}")
    return res.ret == 0


def iperf3(src, dst, size="2M", args=""):
    """
    Run iperf3 from @src to @dst; return the parsed result. So many bytes and not so many seconds,
    which can pass before the streams stand.
    """
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    server = f"iperf3 -s -1 -p {port}"
    with bkg(server, ns=dst.ns, exit_wait=True):
        wait_port_listen(port, ns=dst.ns, deadline=PATIENCE)
        out = cmd(f"iperf3 -c {dst.addr('4')} -p {port} -n {size} -J {args}",
                  ns=src.ns, timeout=2 * TIMEOUT)
    return json.loads(out.stdout)["end"]
