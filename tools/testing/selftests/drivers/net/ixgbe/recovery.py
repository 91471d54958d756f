#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What is not daily: bus errors, a hung transmit queue, a function reset under
an interface that is up, a VF that does bad DMA, a machine that sleeps. Verified
traffic passes afterwards.
"""

import json
import os
import struct
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_ge, ksft_gt, ksft_true, \
    ksft_variants, KsftNamedVariant
from lib.py import AER_REPORT, STRAY, CmdExitFailure, Expect, IxgbeEnv, KernelLog, KsftSkipEx, \
    cmd, defer, ethtool, load_module, says, unmet, verify_tcp, verify_udp

# Transmit queue control, by queue (82599 datasheet 8.2.3.9.10).
TXDCTL, TXDCTL_ENABLE = 0x6028, 1 << 25
# Uncorrectable errors (PCIe 6.0, 7.8.4.2): Completion Timeout is not fatal by default, a
# malformed TLP is.
UNCOR_COMP_TIMEOUT, UNCOR_MALFORMED = 0x4000, 0x40000


def _has_reset_prepare(cfg):
    """ The C drivers have none: a function reset under a running interface kills it. """
    return "/" in cfg.pf_module and "/" in cfg.vf_module


def _is_ours(cfg):
    return "/" in cfg.pf_module


def _traffic(cfg, *ends):
    cfg.settle(*ends)
    for end in ends:
        verify_tcp(end, cfg.peer, 200000)


@ksft_variants([KsftNamedVariant("not_fatal", UNCOR_COMP_TIMEOUT),
                KsftNamedVariant("fatal", UNCOR_MALFORMED)])
def aer(cfg, status):
    """ An injected error of the bus: the driver stops, the slot is reset, traffic goes on. """
    try:
        load_module("aer_inject")
    except CmdExitFailure as e:
        raise unmet("no aer_inject in this kernel") from e
    domain, bus, devfn = cfg.pci.bdf.split(":")
    dev, func = devfn.split(".")
    # struct aer_error_inj
    error = struct.pack("=BBBxIIIIIII", int(bus, 16), int(dev, 16), int(func, 16), status, 0,
                        0, 0, 0, 0, int(domain, 16))
    # The port above tells of the error, in the name of the function or in its own.
    with Expect("AER: .*(Fatal|Uncorrectable).*(" + cfg.pci.bdf[5:] + "|received)|" +
                says(cfg.pci, AER_REPORT)), \
         open("/dev/aer_inject", "wb", buffering=0) as f:
        log = KernelLog()
        try:
            f.write(error)
        except OSError as e:
            raise unmet(f"aer_inject refuses: {e}") from e
        ksft_true(log.wait("device recovery (successful|failed)", 30), "recovery came to an end")
        ksft_eq(log.matching("device recovery failed"), [])
    _traffic(cfg, cfg.pf)


def tx_timeout(cfg):
    """ Transmit queues that stop sending are noticed, and the device is reset. """
    before = cfg.pf.stats()["tx_timeout_count"]
    bar = cfg.pci.map_bar()
    with Expect(says(cfg.pci, "NETDEV WATCHDOG|Tx Unit Hang|tx timeout|tx hang|"
                     "Reset adapter")) as log:
        for q in range(16):
            at = (TXDCTL + 0x40 * q) // 4
            if bar[at] & TXDCTL_ENABLE:
                bar[at] &= ~TXDCTL_ENABLE
        cmd(f"ping -q -n -f -c 5000 -s 1400 -w 4 {cfg.peer.addr('4')}", fail=False, timeout=30)
        ksft_true(log.wait("Reset adapter|initiating reset due to tx timeout", 30),
                  "the hang was noticed")
        ksft_busy_wait(lambda: not _stopped(bar), sleep=0.2, deadline=20)
        cfg.settle(cfg.pf)
    bar.release()
    ksft_gt(cfg.pf.stats()["tx_timeout_count"], before)
    _traffic(cfg, cfg.pf)


def _stopped(bar):
    return not bar[TXDCTL // 4] & TXDCTL_ENABLE


def flr_under_vfs(cfg):
    """ The PF is reset by FLR while it and its VFs are up: all come back by themselves. """
    if not _has_reset_prepare(cfg):
        raise KsftSkipEx("the C drivers have no reset_prepare()")
    cfg.create_vfs(2)
    defer(cfg.remove_vfs)
    log = KernelLog()
    for _ in range(int(os.environ.get("KSFT_CYCLES", "3"))):
        with Expect("|".join(says(f, "Adapter removed") for f in
                             [cfg.pci, *(vf.pci for vf in cfg.vfs)])):
            cfg.pci.reset()
            _traffic(cfg, cfg.pf, *cfg.vfs)
    ksft_eq(log.faults(), [])


def vf_flr_in_use(cfg):
    """ A VF is reset by FLR while its interface is up; the other one does not notice. """
    if not _has_reset_prepare(cfg):
        raise KsftSkipEx("the C drivers have no reset_prepare()")
    cfg.create_vfs(2)
    defer(cfg.remove_vfs)
    log = KernelLog()
    for _ in range(int(os.environ.get("KSFT_CYCLES", "3"))):
        cfg.vfs[0].pci.reset()
        verify_udp(cfg.vfs[1], cfg.peer, (64, 1000))
        _traffic(cfg, cfg.vfs[0])
    ksft_eq(log.faults(), [])


def bad_dma(cfg):
    """
    A VF that reads memory it was not given is reset each time. The fifth time it is switched
    off, if the administrator wants that (mdd-disable-vf). The other VF does not notice.
    """
    cfg.create_vfs(2)
    defer(cfg.remove_vfs)
    if not (cfg.pci.path / "iommu_group").exists():
        raise unmet("no IOMMU, which refuses it")
    ethtool(f"--set-priv-flags {cfg.pf.ifname} mdd-disable-vf on")
    defer(ethtool, f"--set-priv-flags {cfg.pf.ifname} mdd-disable-vf off")
    # The flag resets the C driver's PF.
    cfg.settle()
    vf, limit = cfg.vfs[0], 5
    with Expect(vf.stray_messages() + "|" + says(cfg.pci, "Malicious Driver")) as log:
        for n in range(limit):
            ksft_eq(cfg.vf_info(0)["link_state"], "auto", f"after {n}")
            vf.stray_read()
            refused = rf"DMAR:.*{vf.pci.bdf[5:]}.*{STRAY:#x}"
            ksft_busy_wait(lambda r=refused, n=n: len(log.matching(r)) > n, sleep=0.05, deadline=5)
            ksft_busy_wait(lambda: not vf.pci.master_abort, sleep=0.1, deadline=30)
            if n + 1 < limit:
                vf.rebind()
                cfg.settle()
        ksft_true(log.wait("Malicious Driver Detection event", 10))
    ksft_eq(cfg.vf_info(0)["link_state"], "disable")
    verify_udp(cfg.vfs[1], cfg.peer, (64, 1000))
    if _is_ours(cfg):
        out = cmd(f"devlink -j health show pci/{cfg.pci.bdf} reporter malicious_vf").stdout
        shown = next(iter(json.loads(out)["health"].values()))[0]
        ksft_ge(shown["error"], limit)
    # What the administrator switches on again works.
    cfg.vf_set(0, "state auto")
    vf.rebind()
    _traffic(cfg, vf)


@ksft_variants([KsftNamedVariant(level, level) for level in ("devices", "platform")])
def suspend(cfg, level):
    """
    The machine goes to sleep with PF and VF in use, and wakes up: to where all devices are
    suspended, and to where they are without power and interrupts as well (suspend to idle).
    """
    test = Path("/sys/power/pm_test")
    if not test.exists():
        raise unmet("no pm_test in this kernel")
    # The C driver of a VF that wakes up before its PF gives up (-EIO).
    if "/" in cfg.vf_module:
        cfg.create_vfs(1)
        defer(cfg.remove_vfs)
    _traffic(cfg, cfg.pf, *cfg.vfs)
    changes = Path(f"/sys/class/net/{cfg.pf.ifname}/carrier_changes")
    before = int(changes.read_text())
    log = KernelLog()
    # Seconds for which it stays there.
    Path("/sys/module/suspend/parameters/pm_test_delay").write_text("1")
    test.write_text(level)
    defer(test.write_text, "none")
    Path("/sys/power/state").write_text("freeze")
    ksft_true(log.wait("PM: suspend exit", 30), "it woke up")
    ksft_eq(log.matching("failed to (suspend|resume)|PM: Some devices failed"), [])
    _traffic(cfg, cfg.pf, *cfg.vfs)
    ksft_ge(int(changes.read_text()), before + 2, "the link went and came")
    ksft_eq(log.faults(), [])


def no_errors_counted(cfg):
    """ Nothing of the above left a counter of errors behind. """
    stats = cfg.pf.stats()
    for name in ("rx_crc_errors", "rx_length_errors", "rx_csum_offload_errors"):
        ksft_eq(stats[name], 0, name)
    ksft_gt(stats["rx_packets"], 0)


def main():
    with IxgbeEnv() as cfg:
        ksft_run([tx_timeout, aer, vf_flr_in_use, flr_under_vfs, bad_dma, suspend,
                  no_errors_counted], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
