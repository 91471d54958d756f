#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" The daily controls: ethtool on PF and VF. """

import re
import struct
import subprocess
import time

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_ge, ksft_in, ksft_lt, ksft_ne, \
    ksft_pr, ksft_true, ksft_variants
from lib.py import PATIENCE, CmdExitFailure, IxgbeEnv, bkg, cmd, defer, ethtool, ping, verify_tcp, \
    verify_udp

# Words of a register dump, and their registers, which do not change by themselves: of the PF by
# ixgbe_get_regs() CTRL, STATUS, CTRL_EXT, LEDCTL, GPIE, RDLEN, RXCTRL, RFCTL, RAL, RAH, FCTRL; of
# a VF by ixgbevf_get_regs() VFCTRL, VFSTATUS, VFLINKS, VFRDLEN, VFSRRCTL, VFTDLEN.
REGISTERS = {
    "pf": {0: 0x0000, 1: 0x0008, 2: 0x0018, 5: 0x0200, 29: 0x0898, 181: 0x1008, 478: 0x3000,
           481: 0x5008, 482: 0xa200, 498: 0xa204, 515: 0x5080},
    "vf0": {1: 0x0008, 2: 0x0010, 18: 0x1008, 26: 0x1014, 33: 0x2008},
}
SIZES = {"pf": 1145 * 4, "vf0": 45 * 4}
# The first one's address is the same in a PF and in a VF.
LEDCTL, EITR = 0x0200, 0x0820 // 4


def _end(cfg, name):
    return cfg.endpoint(name)


def _numbers(end, flag, word):
    """ Numbers after @word in the output of ethtool @flag: maximum first, then current. """
    out = ethtool(f"{flag} {end.ifname}", ns=end.ns).stdout
    return [int(n) for n in re.findall(rf"^{word}:\s+(\d+)", out, re.M)]


def _output(command, ns=None):
    """ Output of a command as bytes; cmd() would decode it as text. """
    argv = (f"ip netns exec {ns} " if ns else "") + command
    return subprocess.run(argv.split(), check=True, stdout=subprocess.PIPE).stdout


def _pci(cfg, end):
    return cfg.pci if end is cfg.pf else end.pci


def _fails(end, args):
    try:
        ethtool(args, ns=end.ns)
        ksft_true(False, f"accepted: ethtool {args}")
    except CmdExitFailure:
        pass


@ksft_variants(["pf", "vf0"])
def registers(cfg, name):
    """ The register dump has its size, and what the registers hold. """
    end = _end(cfg, name)
    data = _output(f"ethtool -d {end.ifname} raw on", end.ns)
    ksft_eq(len(data), SIZES[name])
    bar = _pci(cfg, end).map_bar()
    for index, register in REGISTERS[name].items():
        word, = struct.unpack_from("<I", data, 4 * index)
        ksft_eq(hex(word), hex(bar[register // 4]), f"register {register:#x}")
    bar.release()


def eeprom(cfg):
    """ The EEPROM reads the same in one piece and in parts; its first 64 words are not blank. """
    def read(offset, length):
        return _output(f"ethtool -e {cfg.pf.ifname} raw on "
                                f"offset {offset} length {length}")
    whole = read(0, 256)
    ksft_eq(len(whole), 256)
    ksft_eq(read(0, 2) + read(2, 100) + read(102, 154), whole)
    ksft_eq(read(37, 3), whole[37:40], "odd offset and length")
    ksft_ne(whole[:128], b"\xff" * 128)
    ksft_ne(whole[:128], b"\0" * 128)


@ksft_variants(["pf", "vf0"])
def rings(cfg, name):
    """ Ring sizes from the smallest to the largest; traffic after each; too large is refused. """
    end = _end(cfg, name)
    maximum, old = _numbers(end, "-g", "RX")
    defer(cfg.settle)
    defer(ethtool, f"-G {end.ifname} rx {old} tx {old}", ns=end.ns)
    for size in (64, 72, 1024, maximum):
        ethtool(f"-G {end.ifname} rx {size} tx {size}", ns=end.ns)
        ksft_eq(_numbers(end, "-g", "RX")[1], size)
        ksft_eq(_numbers(end, "-g", "TX")[1], size)
        cfg.settle(end)
        verify_tcp(end, cfg.peer, 200000)
    _fails(end, f"-G {end.ifname} rx {maximum + 8}")


@ksft_variants(["pf", "vf0"])
def coalesce(cfg, name):
    """ Interrupt moderation: set, read back, off, and still traffic; too long is refused. """
    end = _end(cfg, name)
    old = _numbers(end, "-c", "rx-usecs")[0]
    # Some values make the PF reset, as ixgbe_set_coalesce() does, and its VFs follow later.
    defer(cfg.settle)
    defer(ethtool, f"-C {end.ifname} rx-usecs {old}", ns=end.ns)
    for usecs in (0, 10, 500, 1):
        ethtool(f"-C {end.ifname} rx-usecs {usecs}", ns=end.ns)
        ksft_eq(_numbers(end, "-c", "rx-usecs")[0], usecs)
        cfg.settle(end)
        verify_udp(end, cfg.peer, (64, 1000))
    _fails(end, f"-C {end.ifname} rx-usecs 100000")


def _interrupts(cfg, end):
    """ Interrupts that each vector of this function has taken so far. """
    rows = _pci(cfg, end).irq_names()
    return {num: sum(int(w) for w in row.split() if w.isdigit()) for num, row in rows.items()}


@ksft_variants(["pf", "vf0"])
def moderation(cfg, name):
    """ Moderation keeps interrupts apart: no vector has more than it allows. """
    end, usecs, count = _end(cfg, name), 1000, 200
    old = _numbers(end, "-c", "rx-usecs")[0]
    defer(cfg.settle)
    defer(ethtool, f"-C {end.ifname} rx-usecs {old}", ns=end.ns)
    took = {}
    for value in (10, usecs):
        ethtool(f"-C {end.ifname} rx-usecs {value}", ns=end.ns)
        cfg.settle(end)
        before, start = _interrupts(cfg, end), time.monotonic()
        cmd(f"ping -4 -q -n -f -c {count} {cfg.peer.addr('4')}", ns=end.ns)
        took[value] = time.monotonic() - start
        after = _interrupts(cfg, end)
        most = max(after[num] - before.get(num, 0) for num in after)
        ksft_pr(f"{value} us: {most} interrupts of a vector in {took[value]:.3f} s")
        ksft_ge(most, 10)
    # The hardware counts in steps of 2 us, and begins with credit for one.
    ksft_lt(most, took[usecs] * 1e6 / usecs * 1.05 + 5)
    # A slow machine may not be faster than that anyway: what the first vector has (8.2.3.5.12).
    bar = _pci(cfg, end).map_bar()
    ksft_eq(bar[EITR] & 0xff8, usecs * 4)
    bar.release()


def pause(cfg):
    """ Pause frames: off and on, as asked, and as the MAC has it (MFLCN.RFCE, FCCFG.TFCE). """
    name = cfg.pf.ifname
    out = ethtool(f"-a {name}").stdout
    ksft_in("RX:", out)
    defer(cfg.settle)
    defer(ethtool, f"-A {name} rx on tx on")
    for rx, tx in (("off", "off"), ("on", "on")):
        cmd(f"ethtool -A {name} autoneg off rx {rx} tx {tx}", fail=False)
        cfg.settle(cfg.pf)
        out = ethtool(f"-a {name}").stdout
        ksft_eq(re.search(r"^RX:\s+(\w+)", out, re.M).group(1), rx)
        ksft_eq(re.search(r"^TX:\s+(\w+)", out, re.M).group(1), tx)
        bar = cfg.pci.map_bar()
        mflcn, fccfg = bar[0x4294 // 4], bar[0x3d00 // 4]
        bar.release()
        ksft_eq((bool(mflcn & 1 << 3), bool(fccfg & 3 << 3)), (rx == "on", tx == "on"))
        ping(cfg.pf, cfg.peer)


@ksft_variants(["pf", "vf0"])
def features(cfg, name):
    """ The offloads that the hardware has are there and on. """
    end = _end(cfg, name)
    out = ethtool(f"-k {end.ifname}", ns=end.ns).stdout
    for feature in ("rx-checksumming", "tx-checksumming", "scatter-gather",
                    "tcp-segmentation-offload", "generic-receive-offload",
                    "rx-vlan-offload", "tx-vlan-offload", "tx-tcp6-segmentation"):
        ksft_in(f"{feature}: on", out)


@ksft_variants(["pf", "vf0"])
def counters(cfg, name):
    """ The counters of the net device, of its queues and of the peer agree on what passed. """
    end = _end(cfg, name)

    def take():
        link, stats = end.info()["stats64"], end.stats()
        return {
            "rx": link["rx"]["packets"], "tx": link["tx"]["packets"],
            "rxq": sum(v for k, v in stats.items() if re.fullmatch(r"rx_queue_\d+_packets", k)),
            "txq": sum(v for k, v in stats.items() if re.fullmatch(r"tx_queue_\d+_packets", k)),
            "rxb": link["rx"]["bytes"], "txb": link["tx"]["bytes"],
        }
    ping(end, cfg.peer)
    before = take()
    ping(end, cfg.peer, count=100, size=500)
    diff = {}

    def counted():
        # Those of the last frames come with the end of the work on them.
        after = take()
        diff.update({k: after[k] - before[k] for k in before})
        return all(diff[k] >= 100 for k in ("rx", "tx", "rxq", "txq"))
    ksft_busy_wait(counted, deadline=PATIENCE, comment=f"{diff}")
    for key in ("rx", "tx", "rxq", "txq"):
        ksft_true(100 <= diff[key] < 130, f"{key}: {diff}")
    for key in ("rxb", "txb"):
        ksft_true(100 * 542 <= diff[key] < 130 * 600, f"{key}: {diff}")


def nic_counters(cfg):
    """ The hardware's counters follow (ethtool -S, read from registers). """
    before = cfg.pf.stats()
    ping(cfg.pf, cfg.peer, count=100, size=500)
    after = {}

    def counted():
        after.update(cfg.pf.stats())
        return all(after[k] - before[k] >= 100 for k in ("rx_pkts_nic", "tx_pkts_nic"))
    # The driver reads them about every two seconds.
    ksft_busy_wait(counted, sleep=0.05, deadline=PATIENCE)
    for name in ("rx_crc_errors", "rx_length_errors", "rx_csum_offload_errors", "tx_errors",
                 "rx_errors"):
        ksft_eq(after[name], 0, name)


@ksft_variants(["pf", "vf0"])
def renegotiate(cfg, name):
    """ ethtool -r: the link goes down, comes back, and traffic with it. """
    end = _end(cfg, name)
    before = end.carrier_changes()
    ethtool(f"-r {end.ifname}", ns=end.ns)
    ksft_busy_wait(lambda: end.carrier_changes() >= before + 2, sleep=0.05, deadline=PATIENCE,
                   comment="the link went and came")
    cfg.settle()
    verify_tcp(end, cfg.peer, 200000)


@ksft_variants(["pf", "vf0"])
def message_level(cfg, name):
    """ The level of messages is taken and read back. """
    end = _end(cfg, name)

    def level():
        out = ethtool(end.ifname, ns=end.ns).stdout
        return int(re.search(r"Current message level: 0x([0-9a-f]+)", out).group(1), 16)
    old = level()
    defer(ethtool, f"-s {end.ifname} msglvl {old:#x}", ns=end.ns)
    for value in (0, 0x7, 0x2c01):
        ethtool(f"-s {end.ifname} msglvl {value:#x}", ns=end.ns)
        ksft_eq(hex(level()), hex(value))


def vf_link(cfg):
    """ A VF tells the link of its PF, and offers no change of it. """
    vf = cfg.vfs[0]
    out = ethtool(vf.ifname, ns=vf.ns).stdout
    ksft_in("Link detected: yes", out)
    ksft_in("Speed: 10000Mb/s", out)
    ksft_in("Duplex: Full", out)
    _fails(vf, f"-s {vf.ifname} speed 1000 autoneg off")
    vf.down()
    ksft_in("Link detected: no", ethtool(vf.ifname, ns=vf.ns).stdout)
    vf.set_addrs()
    vf.up()
    cfg.settle(vf)


def receive_all(cfg):
    """ rx-all lets bad frames in, by FCTRL.SBP, and goes off again. """
    fctrl, sbp = 0x5080, 1 << 1
    bar = cfg.pci.map_bar()
    defer(cfg.settle)
    defer(bar.release)
    for state in ("on", "off"):
        cfg.pf.features(f"rx-all {state}")
        cfg.settle(cfg.pf)
        ksft_eq(bool(bar[fctrl // 4] & sbp), state == "on")
        verify_tcp(cfg.peer, cfg.pf, 200000)


def identify(cfg):
    """ ethtool -p blinks for two seconds, by LEDCTL, and leaves it as it was. """
    bar = cfg.pci.map_bar()
    before, seen = bar[LEDCTL // 4], set()
    for _ in range(10):
        with bkg(f"ethtool -p {cfg.pf.ifname} 2", exit_wait=True) as proc:
            while proc.proc.poll() is None:
                seen.add(bar[LEDCTL // 4])
                time.sleep(0.02)
        # A machine that is slow may have looked only while it was off.
        if len(seen - {before}) >= 2:
            break
    ksft_ge(len(seen - {before}), 2, f"on and off, {before:#x}, {[hex(v) for v in seen]}")
    ksft_eq(hex(bar[LEDCTL // 4]), hex(before))
    bar.release()
    ping(cfg.pf, cfg.peer)


# The C driver's flags; this project offloads no IPsec.
FLAGS = {"pf": {"legacy-rx", "vf-ipsec", "mdd-disable-vf"}, "vf0": {"legacy-rx"}}


@ksft_variants(["pf", "vf0"])
def private_flags(cfg, name):
    """ Each private flag can be switched over and back under the C driver's name. """
    end = _end(cfg, name)
    ours = "/" in (cfg.pf_module if end is cfg.pf else cfg.vf_module)
    newer = cfg.pci.is_x550 or cfg.pci.device_id in (0x1528, 0x1560)

    def flags():
        out = ethtool(f"--show-priv-flags {end.ifname}", ns=end.ns).stdout
        return dict(re.findall(r"^([\w-]+)\s*: (on|off)", out, re.M))
    before = flags()
    ksft_eq(set(before), FLAGS[name])
    defer(cfg.settle)
    for flag, was in before.items():
        for value in ("on" if was == "off" else "off", was):
            args = f"--set-priv-flags {end.ifname} {flag} {value}"
            # Only an 82599 stops a VF by the driver's hand (ixgbe_set_priv_flags()).
            refused = ours and flag == "vf-ipsec" or newer and flag == "mdd-disable-vf"
            if refused and value == "on":
                _fails(end, args)
                continue
            ethtool(args, ns=end.ns)
            ksft_eq(flags(), before | {flag: value})
            cfg.settle()
            verify_tcp(cfg.peer, end, 200000)


def main():
    with IxgbeEnv(vfs=1) as cfg:
        ksft_run([registers, eeprom, features, counters, nic_counters, coalesce, moderation, rings,
                  pause, private_flags, renegotiate, message_level, vf_link, receive_all, identify],
                 args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
