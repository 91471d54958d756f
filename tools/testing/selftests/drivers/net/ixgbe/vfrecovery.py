#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
A VF that hangs, and bus errors of a VF and by a VF: it comes back, and the other one does not
notice.
"""

import os
import struct

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_gt, ksft_true
from lib.py import AER_REPORT, CmdExitFailure, Expect, IxgbeEnv, KernelLog, KsftSkipEx, cmd, \
    load_module, says, unmet, verify_tcp, verify_udp

# Transmit queue control of a VF, by queue (82599 datasheet 8.3.5.6.6).
VFTXDCTL, ENABLE = 0x2028, 1 << 25
# Uncorrectable errors (PCIe 6.0, 7.8.4.2): Completion Timeout, which is not fatal by default.
UNCOR_COMP_TIMEOUT = 0x4000


def tx_timeout(cfg):
    """ Transmit queues of a VF that stop sending are noticed, and the VF resets itself. """
    vf, other = cfg.vfs
    before = vf.stats()["tx_timeout_count"]
    bar = vf.pci.map_bar()
    queues = [q for q in range(2) if bar[(VFTXDCTL + 0x40 * q) // 4] & ENABLE]

    def running():
        return [q for q in queues if bar[(VFTXDCTL + 0x40 * q) // 4] & ENABLE]
    with Expect(says(vf.pci, "NETDEV WATCHDOG|Transmit timeout|Tx Unit Hang")) as log:
        for q in queues:
            bar[(VFTXDCTL + 0x40 * q) // 4] &= ~ENABLE
        ksft_eq(running(), [])
        cmd(f"ping -4 -q -n -f -c 5000 -s 1400 -w 4 {cfg.peer.addr('4')}", ns=vf.ns, fail=False,
            timeout=30)
        ksft_true(log.wait(says(vf.pci, "NETDEV WATCHDOG"), 30), "the hang was noticed")
        verify_udp(other, cfg.peer, (64, 1000))
        ksft_busy_wait(lambda: running() == queues, sleep=0.2, deadline=20)
        cfg.settle(vf)
    bar.release()
    ksft_gt(vf.stats()["tx_timeout_count"], before)
    verify_tcp(vf, cfg.peer, 200000)


def _inject(bdf, header=(0, 0, 0, 0)):
    """ Have the port above see an error of @bdf, with this header of the transaction. """
    try:
        load_module("aer_inject")
    except CmdExitFailure as e:
        raise unmet("no aer_inject in this kernel") from e
    domain, bus, devfn = bdf.split(":")
    dev, func = devfn.split(".")
    # struct aer_error_inj
    error = struct.pack("=BBBx7I", int(bus, 16), int(dev, 16), int(func, 16), UNCOR_COMP_TIMEOUT, 0,
                        *header, int(domain, 16))
    with open("/dev/aer_inject", "wb", buffering=0) as f:
        f.write(error)


def _port_of(cfg):
    """ The root port above the PF. """
    return os.path.basename((cfg.pci.path / "..").resolve())


def _aer(cfg, *culprits):
    return "AER: .*(Fatal|Uncorrectable)|" + \
        "|".join(says(pci, AER_REPORT + "|caused a PCIe error|TLP: dw0") for pci in culprits) + \
        f"|pcieport {_port_of(cfg)}.*(AER|PCIe Bus Error)"


def aer_of_a_vf(cfg):
    """ A bus error of a VF: its driver stops, and goes on when the port has been reset. """
    vf = cfg.vfs[0]
    if not (vf.pci.path / "aer_dev_nonfatal").exists():
        # No attribute without the capability, which only the PF of an 82599 must have.
        raise KsftSkipEx("VFs have no AER capability")
    with Expect(_aer(cfg, cfg.pci, *(v.pci for v in cfg.vfs))):
        log = KernelLog()
        _inject(vf.pci.bdf)
        ksft_true(log.wait("device recovery (successful|failed)", 30), "recovery came to an end")
        ksft_eq(log.matching("device recovery failed"), [])
        cfg.settle()
    verify_tcp(vf, cfg.peer, 200000)


def aer_by_a_vf(cfg):
    """ An error that the port saw in a transaction of a VF: the PF resets that VF alone. """
    if "/" not in cfg.pf_module:
        raise KsftSkipEx("the C driver reads the header from its own function, which has none")
    vf = cfg.vfs[0]
    _, bus, devfn = vf.pci.bdf.split(":")
    dev, func = devfn.split(".")
    requester = int(bus, 16) << 8 | int(dev, 16) << 3 | int(func)
    with Expect(_aer(cfg, cfg.pci, *(v.pci for v in cfg.vfs))):
        log = KernelLog()
        _inject(_port_of(cfg), (0x40000001, requester << 16, 0, 0))
        ksft_true(log.wait(says(cfg.pci, "VF 0 has caused a PCIe error"), 30), log.lines()[-10:])
        ksft_true(log.wait("device recovery (successful|failed)", 30), "recovery came to an end")
        ksft_eq(log.matching("device recovery failed|VF 1 has caused"), [])
        # An FLR takes from a VF what its driver has set.
        vf.rebind()
        cfg.settle()
    verify_tcp(vf, cfg.peer, 200000)
    verify_tcp(cfg.vfs[1], cfg.peer, 200000)


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([tx_timeout, aer_of_a_vf, aer_by_a_vf], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
