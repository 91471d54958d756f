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
    """ Allocations of this thread, or of a module, fail now and then. """

    def __init__(self, kind, probability, module=None, times=-1):
        self.dir = _can_fail(kind)
        self.module, self.settings = module, {
            "probability": probability, "interval": 1, "times": times, "space": 0, "verbose": 0,
            "task-filter": "N" if module else "Y",
        }
        self.settings["ignore-gfp-wait"] = "N"
        self.task = -1
        if kind == "fail_page_alloc":
            self.settings["min-order"] = 0
        if module:
            start = int(Path(f"/sys/module/{module}/sections/.text").read_text(), 16)
            size = int(Path(f"/sys/module/{module}/coresize").read_text())
            self.settings |= {"require-start": hex(start), "require-end": hex(start + size),
                              "stacktrace-depth": 32}

    def __enter__(self):
        for name, value in self.settings.items():
            path = self.dir / name
            if path.exists():
                path.write_text(str(value))
        # Open before memory fails, so that it can be ended.
        self.task = os.open("/proc/self/make-it-fail", os.O_WRONLY)
        if not self.module:
            os.write(self.task, b"1")

    def __exit__(self, ex_type, ex_value, ex_tb):
        if not self.module:
            os.pwrite(self.task, b"0", 0)
        os.close(self.task)
        (self.dir / "probability").write_text("0")
        for name in ("require-start", "require-end"):
            if (self.dir / name).exists():
                (self.dir / name).write_text("0")


@ksft_variants(["failslab", "fail_page_alloc"])
def fail_probe(cfg, kind):
    """ Probing with little memory: it fails or it works, and the next time it works. """
    _can_fail(kind)
    defer(cfg.load_pf)
    log = KernelLog()
    failed = 0
    driver = module_name(cfg.pf_module)
    path = Path(f"/sys/bus/pci/drivers/{driver}")
    for i in range(5 * CYCLES):
        cfg.pci.unbind()
        # The n-th allocation fails, and those after it as they may.
        with Expect("failed|ailure|Failed|Cannot|ENOMEM|error -12"), \
             Failing(kind, 1 + i % 20):
            try:
                (path / "bind").write_text(cfg.pci.bdf)
            except OSError:
                failed += 1
        if cfg.pci.driver is None:
            cfg.pci.bind(driver)
    ksft_pr(f"{failed} of {5 * CYCLES} probes failed")
    cfg.load_pf()
    verify_tcp(cfg.pf, cfg.peer, 200000)
    ksft_eq(log.faults(), [])


@ksft_variants(["failslab", "fail_page_alloc"])
def fail_open(cfg, kind):
    """ Opening, and making VFs, with little memory. """
    _can_fail(kind)
    defer(cfg.load_pf)
    log = KernelLog()
    failed = 0
    flags = Path(f"/sys/class/net/{cfg.pf.ifname}/flags")
    for i in range(5 * CYCLES):
        cfg.pf.down()
        with Expect("failed|ailure|Failed|Cannot|Could not|ENOMEM"), \
             Failing(kind, 1 + i % 20):
            try:
                flags.write_text("0x1003")
                cfg.pci.write("sriov_numvfs", 1)
            except OSError:
                failed += 1
        if int(cfg.pci.read("sriov_numvfs")):
            cfg.pci.write("sriov_numvfs", 0)
    ksft_pr(f"{failed} of {5 * CYCLES} failed")
    cfg.load_pf()
    verify_tcp(cfg.pf, cfg.peer, 200000)
    ksft_eq(log.faults(), [])


@ksft_variants([KsftNamedVariant("pf", "pf"), KsftNamedVariant("vf", "vf0")])
def fail_refill(cfg, name):
    """ Receive buffers that cannot be had: frames are lost, the queue goes on. """
    if name == "vf0":
        cfg.create_vfs(1)
        defer(cfg.remove_vfs)
    end = cfg.endpoint(name)
    module = module_name(cfg.pf_module if name == "pf" else cfg.vf_module)
    log = KernelLog()
    for kind in ("fail_page_alloc", "failslab"):
        with Failing(kind, 50, module=module):
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
