#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" The daily controls: ethtool on PF and VF. """

import re
import subprocess

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_in, ksft_ne, ksft_true, \
    ksft_variants
from lib.py import CmdExitFailure, IxgbeEnv, cmd, defer, ethtool, ping, verify_tcp, verify_udp


def _end(cfg, name):
    return cfg.endpoint(name)


def _numbers(end, flag, word):
    """ Numbers after @word in the output of ethtool @flag: maximum first, then current. """
    out = ethtool(f"{flag} {end.ifname}", ns=end.ns).stdout
    return [int(n) for n in re.findall(rf"^{word}:\s+(\d+)", out, re.M)]


def _output(command):
    """ Output of a command as bytes; cmd() would decode it as text. """
    return subprocess.run(command.split(), check=True, stdout=subprocess.PIPE).stdout


def _fails(end, args):
    try:
        ethtool(args, ns=end.ns)
        ksft_true(False, f"accepted: ethtool {args}")
    except CmdExitFailure:
        pass


@ksft_variants(["pf", "vf0"])
def registers(cfg, name):
    """ The register dump works, and has the same size each time. """
    end = _end(cfg, name)
    dumps = [ethtool(f"-d {end.ifname} hex on", ns=end.ns).stdout for _ in range(2)]
    ksft_ge(len(dumps[0].splitlines()), 5)
    ksft_eq(*[len(d.splitlines()) for d in dumps])


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


def pause(cfg):
    """ Pause frames: off and on, as asked. """
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
    after = take()
    diff = {k: after[k] - before[k] for k in before}
    for key in ("rx", "tx", "rxq", "txq"):
        ksft_true(100 <= diff[key] < 130, f"{key}: {diff}")
    for key in ("rxb", "txb"):
        ksft_true(100 * 542 <= diff[key] < 130 * 600, f"{key}: {diff}")


def nic_counters(cfg):
    """ The hardware's counters follow (ethtool -S, read from registers). """
    before = cfg.pf.stats()
    ping(cfg.pf, cfg.peer, count=100, size=500)
    # The driver reads them about every two seconds.
    after = cfg.pf.stats()
    for _ in range(100):
        after = cfg.pf.stats()
        if after["rx_pkts_nic"] - before["rx_pkts_nic"] >= 100:
            break
        cmd("sleep 0.05")
    ksft_ge(after["rx_pkts_nic"] - before["rx_pkts_nic"], 100)
    ksft_ge(after["tx_pkts_nic"] - before["tx_pkts_nic"], 100)
    for name in ("rx_crc_errors", "rx_length_errors", "rx_csum_offload_errors", "tx_errors",
                 "rx_errors"):
        ksft_eq(after[name], 0, name)


def renegotiate(cfg):
    """ ethtool -r: the link goes down, comes back, and traffic with it. """
    ethtool(f"-r {cfg.pf.ifname}")
    cfg.settle()


def identify(cfg):
    """ ethtool -p blinks for a second and stops. """
    cmd(f"ethtool -p {cfg.pf.ifname} 1")
    ping(cfg.pf, cfg.peer)


def private_flags(cfg):
    """ Each private flag can be switched over and back under the C driver's name. """
    out = ethtool(f"--show-priv-flags {cfg.pf.ifname}").stdout
    flags = dict(re.findall(r"^([\w-]+)\s*: (on|off)", out, re.M))
    ksft_in("legacy-rx", flags)
    defer(cfg.settle)
    for value in ("on", "off"):
        ethtool(f"--set-priv-flags {cfg.pf.ifname} legacy-rx {value}")
        cfg.settle(cfg.pf)
        verify_tcp(cfg.peer, cfg.pf, 200000)


def main():
    with IxgbeEnv(vfs=1) as cfg:
        ksft_run([registers, eeprom, features, counters, nic_counters, coalesce, rings, pause,
                  private_flags, renegotiate, identify], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
