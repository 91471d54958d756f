#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Again and again, and while traffic flows: modules come and go, rings and channels
change, VFs are made and removed, allocations fail.

  stress.py [--cycles N] [--loads N] [-t CASE]...

N is how often each setting changes (KSFT_CYCLES; 10, or 2 on a slow machine), and how
often the modules come and go (100).
"""

import argparse
import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_gt, ksft_lt, ksft_pr, ksft_true, \
    ksft_variants, KsftNamedVariant
from lib.py import ACPICA, ADD_VF, DMA_DEBUG, KINDS, MANY, SLOW, CmdExitFailure, Failing, \
    IxgbeEnv, KernelLog, NetNSEnter, bkg, cmd, defer, ethtool, hold_frames, kept_memory, \
    load_module, module_name, unload_module, verify_tcp, verify_udp

ARGS = argparse.ArgumentParser(add_help=False)
ARGS.add_argument("--cycles", type=int,
                  default=int(os.environ.get("KSFT_CYCLES", "2" if SLOW else "10")))
ARGS.add_argument("--loads", type=int, default=100)
# The rest is ksft_run()'s, such as -t NAME, which chooses cases.
ARGS, sys.argv[1:] = ARGS.parse_known_args()
CYCLES, LOADS = ARGS.cycles, ARGS.loads
# Allocations that fail, of each operation.
POINTS = 3 * CYCLES
# Seconds after which a datagram is lost.
PATIENCE = 2 if SLOW else 0.5


class Traffic:
    """
    Traffic between two endpoints, in the background, for as long as the block lasts:
    datagrams whose content is verified, and more that only have to be many. At the end
    @least rounds must have come through whole.
    """

    def __init__(self, src, dst, least=CYCLES):
        self.src, self.dst, self.least = src, dst, least
        self._ping = None
        self.good = self.bad = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.is_set():
            # Frames are lost while rings change; none may arrive that is wrong.
            try:
                verify_udp(self.src, self.dst, (64, 1400, 1000), patience=PATIENCE)
                self.good += 1
            except (TimeoutError, OSError):
                self.bad += 1

    def __enter__(self):
        self._ping = bkg(f"ping -q -n -i 0.005 -l 16 -s 1400 {self.dst.addr('4')}",
                         ns=self.src.ns, fail=False)
        self._thread.start()
        return self

    def __exit__(self, ex_type, ex_value, ex_tb):
        self._stop.set()
        self._thread.join(60)
        self._ping.process(terminate=True, fail=False)
        ksft_pr(f"{self.src}->{self.dst}: {self.good} rounds good, {self.bad} cut short")
        ksft_true(not self._thread.is_alive())
        ksft_ge(self.good, self.least)


def _clean(func):
    """ The kernel log stays free of faults. """
    def wrapper(cfg, *args):
        log = KernelLog()
        func(cfg, *args)
        ksft_eq(log.faults(), [])
    wrapper.__name__ = func.__name__
    return wrapper


@_clean
def load_unload(cfg):
    """ Both modules, with VFs in between; no memory is left behind. """
    def cycle(vfs):
        cfg.unload_pf()
        unload_module(cfg.vf_module)
        cfg.load_pf()
        if vfs:
            load_module(cfg.vf_module)
            cfg.pci.set_numvfs(vfs)
            cfg.pci.set_numvfs(0)
    for _ in range(3):
        cycle(2)
    # What is lost each time is lost in both halves; what anything else takes, hardly so.
    kept = [kept_memory()]
    for _ in range(2):
        for i in range(LOADS // 2):
            cycle(i % 3)
        kept.append(kept_memory())
    ksft_pr(f"{LOADS} cycles: unreclaimable memory {kept} kB")
    ksft_lt(min(kept[1] - kept[0], kept[2] - kept[1]), max(LOADS, 64), kept)
    verify_tcp(cfg.pf, cfg.peer, 200000)


def _rings(name, i):
    ethtool(f"-G {name} rx {(128, 512, 4096)[i % 3]} tx {(4096, 256, 512)[i % 3]}")


def _channels(name, i):
    ethtool(f"-L {name} combined {1 + i % 2}")


def _features(name, i):
    state = ("off", "on")[i % 2]
    ethtool(f"-K {name} rxvlan {state} gro {state} tso {state}")


def _coalesce(name, i):
    ethtool(f"-C {name} rx-usecs {(0, 10, 1, 100)[i % 4]}")


def _mtu(name, i):
    cmd(f"ip link set dev {name} mtu {(1400, 1500)[i % 2]}")


def _flags(name, i):
    ethtool(f"--set-priv-flags {name} legacy-rx {('on', 'off')[i % 2]}")


CHANGES = [KsftNamedVariant(f.__name__[1:], f)
           for f in (_rings, _channels, _features, _coalesce, _mtu, _flags)]


@ksft_variants(CHANGES)
def change_under_load(cfg, change):
    """ A setting of the PF changes while frames come and go. """
    log = KernelLog()
    name = cfg.pf.ifname
    queues = len(list(Path(f"/sys/class/net/{name}/queues").glob("rx-*")))
    with Traffic(cfg.pf, cfg.peer), Traffic(cfg.peer, cfg.pf):
        for i in range(2 * CYCLES):
            change(name, i)
            # The next one is to meet frames again, also where this one took the link away.
            cfg.pf.wait_carrier()
            time.sleep(0.3)
    ethtool(f"-G {name} rx 512 tx 512")
    cmd(f"ip link set dev {name} mtu 1500")
    with contextlib.suppress(CmdExitFailure):
        ethtool(f"-L {name} combined {queues}")
    cfg.settle(cfg.pf)
    verify_tcp(cfg.pf, cfg.peer, 500000)
    ksft_eq(log.faults(), [])


@_clean
def reset_under_load(cfg):
    """ The PF is reset while frames come and go. """
    with Traffic(cfg.pf, cfg.peer), Traffic(cfg.peer, cfg.pf):
        for _ in range(CYCLES):
            ethtool(f"-r {cfg.pf.ifname}")
            cmd("sleep 0.3")
    cfg.settle(cfg.pf)
    verify_tcp(cfg.pf, cfg.peer, 500000)


@_clean
def vfs_under_load(cfg):
    """ VFs come and go while the PF's frames do. """
    defer(cfg.remove_vfs)
    load_module(cfg.vf_module)
    with Traffic(cfg.pf, cfg.peer):
        for i in range(CYCLES):
            cfg.create_vfs(1 + i % 4, claim=1)
            verify_udp(cfg.vfs[0], cfg.peer, (64, 1000))
    cfg.settle(cfg.pf)


@_clean
def vf_change_under_load(cfg):
    """ Rings, flags and the driver of a VF change while the other VF's frames come and go. """
    cfg.create_vfs(2)
    defer(cfg.remove_vfs)
    vf, other = cfg.vfs
    with Traffic(other, cfg.peer) as t:
        for i in range(CYCLES):
            size = (128, 512, 4096)[i % 3]
            ethtool(f"-G {vf.ifname} rx {size} tx {size}", ns=vf.ns)
            ethtool(f"--set-priv-flags {vf.ifname} legacy-rx {('on', 'off')[i % 2]}", ns=vf.ns)
            if i % 4 == 3:
                vf.rebind()
            cfg.settle(vf)
    ksft_ge(t.good, CYCLES)
    ksft_eq(t.bad, 0, "the other VF")
    verify_tcp(vf, cfg.peer, 200000)


def _end(cfg, name):
    """ The PF, or the VF after it was made, with the name of its driver. """
    if name == "vf0":
        cfg.create_vfs(1)
        defer(cfg.remove_vfs)
    else:
        defer(cfg.load_pf)
    end = cfg.endpoint(name)
    return end, module_name(cfg.pf_module if end is cfg.pf else cfg.vf_module)


def _each_fails(kind, driver, spare, attempt, undo, errors=()):
    """
    Count the allocations in @attempt, then let it run again and again with one of them
    failing: POINTS of them, every other time with all those that follow. They are closer
    together at the beginning: most are for receive buffers, which a driver can do without.
    It works, or is given up with ENOMEM or one of @errors, which the kernel's core makes of it.
    """
    # The first time makes what stays.
    for _ in range(2):
        with Failing(kind, driver, spare, MANY) as whole:
            attempt()
        undo()
    at = sorted({round(whole.seen ** ((i + 0.5) / POINTS)) for i in range(POINTS)})
    hit = failures = 0
    refused = Counter()
    for i, nth in enumerate(at):
        with Failing(kind, driver, spare, nth, 100 * (i % 2)) as failing:
            try:
                attempt()
            except OSError as e:
                refused[errno.errorcode[e.errno]] += 1
        undo()
        hit += failing.failures > 0
        failures += failing.failures
    ksft_pr(f"{whole.seen} allocations: {hit} of {len(at)} times some failed, {failures} in all; "
            f"given up with {dict(refused)}")
    # The number of allocations is not always the same: the last points may lie beyond.
    ksft_gt(hit, len(at) // 2)
    ksft_ge(sum(refused.values()), 1)
    ksft_eq(set(refused) - {"ENOMEM", *errors}, set())


FUNCTIONS = [KsftNamedVariant("pf", "pf"), KsftNamedVariant("vf", "vf0")]
BOTH = [KsftNamedVariant(f"{v.name}_{kind}", *v.params, kind) for v in FUNCTIONS for kind in KINDS]


@ksft_variants(BOTH)
@_clean
def fail_probe(cfg, name, kind):
    """ Probing with little memory: it fails or it works, and the next time it works. """
    Failing.folder(kind)
    end, driver = _end(cfg, name)
    pci = cfg.pci if end is cfg.pf else end.pci
    pci.unbind()
    # pci_request_regions() says EBUSY of any resource that it cannot claim; ioremap() says
    # nothing, which the C drivers answer with EIO too.
    _each_fails(kind, driver, ACPICA, lambda: pci.bind(driver), pci.unbind, ("EBUSY", "EIO"))
    pci.bind(driver)
    if end is cfg.pf:
        cfg.load_pf()
    else:
        end.claim()
        end.up()
    cfg.settle(cfg.endpoint(name))
    verify_tcp(cfg.endpoint(name), cfg.peer, 200000)


# linux/sockios.h, linux/if.h
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def _set_up(end, up):
    """ Bring an interface up or down in this thread, whose allocations are those that fail. """
    with NetNSEnter(end.ns) if end.ns else contextlib.nullcontext():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.closing(sock):
        request = struct.pack("16sh22x", end.ifname.encode(), 0)
        request = fcntl.ioctl(sock, SIOCGIFFLAGS, request)
        name, flags = struct.unpack("16sh22x", request)
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", name, flags))


# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL, ETHTOOL_NWAY_RST = 0x8946, 9


def _nway_reset(end):
    """ ethtool -r in this thread. """
    value = ctypes.create_string_buffer(struct.pack("I", ETHTOOL_NWAY_RST))
    request = struct.pack("16sP16x", end.ifname.encode(), ctypes.addressof(value))
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, request)


@ksft_variants(BOTH)
@_clean
def fail_open(cfg, name, kind):
    """ Opening with little memory. """
    Failing.folder(kind)
    end, driver = _end(cfg, name)
    end.down()
    _each_fails(kind, driver, DMA_DEBUG, lambda: _set_up(end, True),
                lambda: _set_up(end, False))
    end.set_addrs()
    end.up()
    cfg.settle(end)
    verify_tcp(end, cfg.peer, 200000)


@_clean
def fail_vfs(cfg):
    """
    Making VFs with little memory; fail_probe does so for the driver of one. No whole pages
    are asked for.
    """
    kind = "failslab"
    Failing.folder(kind)
    defer(cfg.remove_vfs)
    # Its rings would be mapped anew, and only one part of the kernel can be spared.
    cfg.pf.down()
    defer(cfg.pf.up)
    _each_fails(kind, module_name(cfg.pf_module), ADD_VF,
                lambda: cfg.pci.write("sriov_numvfs", 1), lambda: cfg.pci.set_numvfs(0))
    cfg.pf.set_addrs()
    cfg.pf.up()
    cfg.create_vfs(1)
    verify_tcp(cfg.vfs[0], cfg.peer, 200000)


@ksft_variants([KsftNamedVariant(kind, kind) for kind in KINDS])
@_clean
def fail_reset(cfg, kind):
    """ The PF is reset with little memory, and comes back by itself when there is some. """
    Failing.folder(kind)
    _each_fails(kind, module_name(cfg.pf_module), DMA_DEBUG, lambda: _nway_reset(cfg.pf),
                cfg.pf.wait_carrier)
    cfg.settle(cfg.pf)
    verify_tcp(cfg.pf, cfg.peer, 200000)


def _not_had(end):
    """ How often a buffer or its description could not be had, as the driver counts. """
    stats = end.stats()
    return stats["alloc_rx_page_failed"] + stats["alloc_rx_buff_failed"]


@ksft_variants(BOTH)
@_clean
def fail_refill(cfg, name, kind):
    """ Receive buffers that cannot be had: frames are lost, the queue goes on. """
    Failing.folder(kind)
    end, driver = _end(cfg, name)
    before = _not_had(end)
    with Failing(kind, driver, DMA_DEBUG, rest=50) as failing:
        for _ in range(CYCLES):
            hold_frames(cfg.peer, end, 2000)
    failed = _not_had(end) - before
    ksft_pr(f"{failing.failures} allocations failed, {failed} of them as the driver counts")
    ksft_ge(failed, CYCLES)
    cfg.settle(end)
    verify_tcp(cfg.peer, end, 500000)


def main():
    with IxgbeEnv() as cfg:
        ksft_run([change_under_load, reset_under_load, vfs_under_load, vf_change_under_load,
                  load_unload, fail_probe, fail_open, fail_reset, fail_vfs, fail_refill],
                 args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
