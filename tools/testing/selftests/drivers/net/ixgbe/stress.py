#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Again and again, and while traffic flows: modules come and go, rings and channels
change, VFs are made and removed, memory cannot be had.

  stress.py [--cycles N] [--loads N] [-t CASE]...

N is how often each setting changes (KSFT_CYCLES, 10), and how often the modules come
and go (100).
"""

import argparse
import contextlib
import os
import sys
import threading
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_pr, ksft_true, ksft_variants, \
    KsftNamedVariant
from lib.py import CmdExitFailure, Expect, IxgbeEnv, KernelLog, KsftSkipEx, bkg, cmd, defer, \
    ethtool, load_module, module_name, ping, unload_module, verify_tcp, verify_udp

ARGS = argparse.ArgumentParser(add_help=False)
ARGS.add_argument("--cycles", type=int, default=int(os.environ.get("KSFT_CYCLES", "10")))
ARGS.add_argument("--loads", type=int, default=100)
# The rest is ksft_run()'s, such as -t NAME, which chooses cases.
ARGS, sys.argv[1:] = ARGS.parse_known_args()
CYCLES, LOADS = ARGS.cycles, ARGS.loads
FAULTS = Path("/sys/kernel/debug")


class Traffic:
    """
    Traffic between two endpoints, in the background, for as long as the block lasts:
    datagrams whose content is verified, and more that only have to be many.
    """

    def __init__(self, src, dst):
        self.src, self.dst = src, dst
        self._ping = None
        self.good = self.bad = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.is_set():
            # Frames are lost while rings change; none may arrive that is wrong.
            try:
                verify_udp(self.src, self.dst, (64, 1400, 1000) * 10)
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
    def free():
        cmd("sync")
        Path("/proc/sys/vm/drop_caches").write_text("3")
        text = Path("/proc/meminfo").read_text()
        rows = dict(line.split(":") for line in text.splitlines())
        return sum(int(rows[k].split()[0]) for k in ("SUnreclaim", "Percpu"))

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
    before = free()
    for i in range(LOADS):
        cycle(i % 3)
    after = free()
    ksft_pr(f"{LOADS} cycles: unreclaimable memory {before} kB, then {after} kB")
    ksft_true(after - before < 512 + 8 * LOADS, f"{before} kB, then {after} kB")
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
    ksft_ge(t.good, 1)
    ksft_eq(t.bad, 0, "the other VF")
    verify_tcp(vf, cfg.peer, 200000)


def _can_fail(kind):
    """ Where allocations of a kind are made to fail. """
    path = FAULTS / kind
    if not path.exists():
        raise KsftSkipEx(f"no {kind} in this kernel")
    return path


class Failing:
    """ Allocations that a module asks for, itself or by what it calls, fail now and then. """

    def __init__(self, kind, probability, module):
        self.dir = _can_fail(kind)
        start = int(Path(f"/sys/module/{module}/sections/.text").read_text(), 16)
        size = int(Path(f"/sys/module/{module}/coresize").read_text())
        self.settings = {
            "interval": 1, "times": -1, "space": 0, "verbose": 0, "task-filter": "N",
            "ignore-gfp-wait": "N", "min-order": 0, "stacktrace-depth": 32,
            "require-start": hex(start), "require-end": hex(start + size),
            "probability": probability,
        }

    def __enter__(self):
        for name, value in self.settings.items():
            path = self.dir / name
            # Not each kind has each setting.
            if path.exists():
                path.write_text(str(value))

    def __exit__(self, ex_type, ex_value, ex_tb):
        for name in ("probability", "require-start", "require-end"):
            (self.dir / name).write_text("0")


def _end(cfg, name):
    """ The PF, or the VF after it was made, with the name of its driver. """
    if name == "vf0":
        cfg.create_vfs(1)
        defer(cfg.remove_vfs)
    else:
        defer(cfg.load_pf)
    end = cfg.endpoint(name)
    return end, module_name(cfg.pf_module if end is cfg.pf else cfg.vf_module)


FUNCTIONS = [KsftNamedVariant("pf", "pf"), KsftNamedVariant("vf", "vf0")]
KINDS = [KsftNamedVariant(f"{v.name}_{kind}", *v.params, kind)
         for v in FUNCTIONS for kind in ("failslab", "fail_page_alloc")]


@ksft_variants(KINDS)
def fail_probe(cfg, name, kind):
    """ Probing with little memory: it fails or it works, and the next time it works. """
    _can_fail(kind)
    end, driver = _end(cfg, name)
    pci = cfg.pci if end is cfg.pf else end.pci
    log = KernelLog()
    failed = 0
    for i in range(5 * CYCLES):
        pci.unbind()
        # By who calls, since the PCI core may probe in another thread.
        with Expect("failed|ailure|Failed|Cannot|ENOMEM|error -12"), \
             Failing(kind, 1 + i % 20, driver):
            try:
                Path(f"/sys/bus/pci/drivers/{driver}/bind").write_text(pci.bdf)
            except OSError:
                failed += 1
        if pci.driver is None:
            pci.bind(driver)
    ksft_pr(f"{failed} of {5 * CYCLES} probes failed")
    ksft_ge(failed, 1)
    if end is cfg.pf:
        cfg.load_pf()
    else:
        end.claim()
        end.up()
    cfg.settle(cfg.endpoint(name))
    verify_tcp(cfg.endpoint(name), cfg.peer, 200000)
    ksft_eq(log.faults(), [])


@ksft_variants(KINDS)
def fail_open(cfg, name, kind):
    """ Opening, and the PF's making of VFs, with little memory. """
    _can_fail(kind)
    end, driver = _end(cfg, name)
    log = KernelLog()
    failed = 0
    for i in range(5 * CYCLES):
        end.down()
        with Expect("failed|ailure|Failed|Cannot|Could not|ENOMEM|Unable"), \
             Failing(kind, 1 + i % 20, driver):
            try:
                end.link("up")
                if end is cfg.pf:
                    cfg.pci.write("sriov_numvfs", 1)
            except (CmdExitFailure, OSError):
                failed += 1
        if end is cfg.pf and int(cfg.pci.read("sriov_numvfs")):
            cfg.pci.write("sriov_numvfs", 0)
    ksft_pr(f"{failed} of {5 * CYCLES} failed")
    ksft_ge(failed, 1)
    end.set_addrs()
    end.up()
    cfg.settle(end)
    verify_tcp(end, cfg.peer, 200000)
    ksft_eq(log.faults(), [])


@ksft_variants(FUNCTIONS)
def fail_refill(cfg, name):
    """ Receive buffers that cannot be had: frames are lost, the queue goes on. """
    _can_fail("failslab")
    end, driver = _end(cfg, name)
    log = KernelLog()
    for kind in ("fail_page_alloc", "failslab"):
        with Failing(kind, 50, driver):
            for _ in range(5 * CYCLES):
                ping(cfg.peer, end, count=20, size=1400, fail=False)
        cfg.settle(end)
        verify_tcp(cfg.peer, end, 500000)
    ksft_eq(log.faults(), [])


def main():
    with IxgbeEnv() as cfg:
        ksft_run([change_under_load, reset_under_load, vfs_under_load, vf_change_under_load,
                  load_unload, fail_probe, fail_open, fail_refill], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
