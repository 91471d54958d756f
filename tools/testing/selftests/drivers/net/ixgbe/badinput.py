#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Values that a user may get wrong: the driver under test answers each with the errno of
the mainline C driver, which is loaded for the same questions first.
"""

import errno
import os
import struct

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_pr
from lib.py import IxgbeEnv, KsftSkipEx, ip, load_module, ping, unload_module
from lib.py.rawnl import ethtool_ioctl, nest, nla, setlink

ALL = 0xffffffff
# linux/ethtool.h
(SWOL, GEEPROM, SCOALESCE, SRINGPARAM, SPAUSEPARAM, SPFLAGS, SRXFH, RESET, SCHANNELS, SEEE,
 SRSSH, SLINKSETTINGS) = \
    (0x06, 0x0b, 0x0f, 0x11, 0x13, 0x28, 0x2a, 0x34, 0x3d, 0x45, 0x47, 0x4d)
# linux/if_link.h
IFLA_ADDRESS, IFLA_MTU, IFLA_VFINFO_LIST, IFLA_XDP = 1, 4, 22, 43
IFLA_VF_INFO = 1
(IFLA_VF_MAC, IFLA_VF_VLAN, IFLA_VF_TX_RATE, IFLA_VF_SPOOFCHK, IFLA_VF_LINK_STATE, IFLA_VF_RATE,
 IFLA_VF_RSS_QUERY_EN, IFLA_VF_TRUST, IFLA_VF_VLAN_LIST) = (1, 2, 3, 4, 5, 6, 7, 9, 12)
IFLA_VF_VLAN_INFO = 1
IFLA_XDP_FD = 1

# Rows on which this project differs on purpose: why.
DIFFERENT = {
    "pf.flags vf-ipsec": "IPsec is not offloaded, so its flag is refused",
    "pf.flags all": "has vf-ipsec",
    "pf.wol magic": "no wake on LAN",
    "pf.wol secure": "no wake on LAN",
    "pf.wol none": "no wake on LAN",
}


def _ethtool(ifname, command, fmt, *values):
    return ethtool_ioctl(ifname, struct.pack("=I" + fmt, command, *values))[0]


def _ring(rx=256, tx=256, mini=0, jumbo=0):
    return lambda i: _ethtool(i, SRINGPARAM, "8I", 0, 0, 0, 0, rx, mini, jumbo, tx)


def _channels(combined=1, rx=0, tx=0, other=1):
    return lambda i: _ethtool(i, SCHANNELS, "8I", 0, 0, 0, 0, rx, tx, other, combined)


def _coalesce(rx=10, tx=0, rx_frames=0, tx_frames=0, adaptive=0):
    return lambda i: _ethtool(i, SCOALESCE, "22I", rx, rx_frames, 0, 0, tx, tx_frames, 0, 0, 0,
                              adaptive, *[0] * 12)


def _pause(autoneg, rx, tx):
    return lambda i: _ethtool(i, SPAUSEPARAM, "3I", autoneg, rx, tx)


def _eeprom(offset, length):
    def ask(i):
        return _ethtool(i, GEEPROM, f"3I{min(length, 1 << 16)}s", 0, offset, length, b"")
    return ask


def _flags(value):
    return lambda i: _ethtool(i, SPFLAGS, "I", value)


def _hash(flow, data):
    # struct ethtool_rxnfc, as far as this command uses it
    return lambda i: _ethtool(i, SRXFH, "IQ192s", flow, data, b"")


def _rss(indir=None, size=None, hfunc=0, key=b""):
    indir = indir or []
    size = len(indir) if size is None else size
    return lambda i: _ethtool(i, SRSSH, f"3IB3xI{len(indir)}I{len(key)}s", 0, size, len(key),
                              hfunc, 0, *indir, key)


def _speed(speed, duplex=1, autoneg=0, port=0xff):
    def ask(i):
        words = 3
        return _ethtool(i, SLINKSETTINGS, "I5BbxB3x7I36s", speed, duplex, port, 0, autoneg, 0,
                        words, 0, *[0] * 7, b"")
    return ask


def _mtu(value):
    return lambda i: setlink(i, nla(IFLA_MTU, struct.pack("=I", value)))


def _address(text):
    return lambda i: setlink(i, nla(IFLA_ADDRESS, bytes.fromhex(text.replace(":", ""))))


def _xdp(fd):
    return lambda i: setlink(i, nest(IFLA_XDP, nla(IFLA_XDP_FD, struct.pack("=i", fd))))


def _vf(kind, fmt, *values):
    def ask(i):
        attr = nla(kind, struct.pack("=" + fmt, *values))
        return setlink(i, nest(IFLA_VFINFO_LIST, nest(IFLA_VF_INFO, attr)))
    return ask


def _vf_mac(vf, text):
    return _vf(IFLA_VF_MAC, "I32s", vf, bytes.fromhex(text.replace(":", "")))


def _vf_vlan_proto(vf, vlan, qos, proto):
    def ask(i):
        one = nla(IFLA_VF_VLAN_INFO, struct.pack("=III", vf, vlan, qos) +
                  struct.pack("!H", proto) + bytes(2))
        return setlink(i, nest(IFLA_VFINFO_LIST, nest(IFLA_VF_INFO,
                                                     nest(IFLA_VF_VLAN_LIST, one))))
    return ask


COMMON = {
    "ring 0": _ring(rx=0), "ring 1": _ring(rx=1, tx=1), "ring 63": _ring(rx=63, tx=63),
    "ring 4097": _ring(rx=4097, tx=4097), "ring 8192": _ring(rx=8192, tx=8192),
    "ring too large rx": _ring(rx=8193), "ring too large tx": _ring(tx=8193),
    "ring all ones": _ring(rx=ALL, tx=ALL), "ring mini": _ring(mini=1),
    "ring jumbo": _ring(jumbo=1), "ring good": _ring(rx=512, tx=512),
    "channels 0": _channels(0), "channels 65": _channels(65), "channels all ones": _channels(ALL),
    "channels rx": _channels(1, rx=1), "channels tx": _channels(1, tx=1),
    "channels rx alone": _channels(0, rx=1, tx=1),
    "channels other 0": _channels(1, other=0), "channels other 2": _channels(1, other=2),
    "coalesce tx": _coalesce(tx=10), "coalesce 1022": _coalesce(rx=1022),
    "coalesce 1023": _coalesce(rx=1023), "coalesce 65536": _coalesce(rx=65536),
    "coalesce all ones": _coalesce(rx=ALL), "coalesce rx frames": _coalesce(rx_frames=4),
    "coalesce tx frames": _coalesce(tx_frames=4), "coalesce adaptive": _coalesce(adaptive=1),
    "coalesce good": _coalesce(rx=20), "coalesce default": _coalesce(rx=1),
    "flags unknown": _flags(1 << 7), "flags all": _flags(ALL), "flags none": _flags(0),
    "speed 1": _speed(1), "speed 2500": _speed(2500), "speed 40000": _speed(40000),
    "speed half": _speed(10000, duplex=0), "speed autoneg": _speed(10000, autoneg=1),
    "rss size 3": _rss([0, 0, 0]), "rss queue 200": _rss([200] * 128),
    "rss queue 200 of 64": _rss([200] * 64),
    "rss hfunc xor": _rss(hfunc=2, size=ALL), "rss hfunc none": _rss(hfunc=0, size=ALL),
    "rss key short": _rss(key=bytes(10), size=ALL),
    "hash flow 0": _hash(0, 0), "hash tcp4 l2": _hash(1, 2), "hash tcp4 ip": _hash(1, 0x30),
    "hash tcp4 all": _hash(1, 0xf0), "hash udp4 one port": _hash(2, 0x70),
    "hash udp4 none": _hash(2, 0), "hash sctp4 ports": _hash(3, 0xf0),
    "hash ip4": _hash(16, 0x30), "hash ether": _hash(18, 0x30),
    "eeprom zero length": _eeprom(0, 0), "eeprom beyond": _eeprom(1 << 20, 2),
    "eeprom over": _eeprom(16, 1 << 20), "eeprom wraps": _eeprom(ALL, 2),
    "reset": lambda i: _ethtool(i, RESET, "I", ALL),
    "wol magic": lambda i: _ethtool(i, SWOL, "II6s", 0, 1 << 5, b""),
    "wol secure": lambda i: _ethtool(i, SWOL, "II6s", 0, 1 << 6, b""),
    "wol none": lambda i: _ethtool(i, SWOL, "II6s", 0, 0, b""),
    "eee on": lambda i: _ethtool(i, SEEE, "9I", 0, 0, 0, 0, 1, 1, 0, 0, 0),
    "mtu 0": _mtu(0), "mtu 67": _mtu(67), "mtu 68": _mtu(68), "mtu 1500": _mtu(1500),
    "mtu 9711": _mtu(9711), "mtu 65535": _mtu(65535), "mtu all ones": _mtu(ALL),
    "mtu back": _mtu(1500),
    "address multicast": _address("01:00:5e:00:00:01"), "address zero": _address("00" * 6),
    "address broadcast": _address("ff" * 6),
    "xdp bad fd": _xdp(1 << 20), "xdp none": _xdp(-1),
}

PF = COMMON | {
    "pause autoneg": _pause(1, 1, 1), "pause off": _pause(0, 0, 0), "pause rx": _pause(0, 1, 0),
    "pause on": _pause(0, 1, 1), "pause large": _pause(7, 7, 7),
    "flags legacy-rx": _flags(1), "flags vf-ipsec": _flags(2), "flags mdd": _flags(4),
    "flags back": _flags(0),
}
PF |= {
    f"vf {vf} {name}": row
    for vf in (2, 63, 64, ALL)
    for name, row in {
        "mac": _vf_mac(vf, "02:00:00:00:00:01"), "vlan": _vf(IFLA_VF_VLAN, "III", vf, 5, 0),
        "spoofchk": _vf(IFLA_VF_SPOOFCHK, "II", vf, 1), "trust": _vf(IFLA_VF_TRUST, "II", vf, 1),
        "state": _vf(IFLA_VF_LINK_STATE, "II", vf, 0), "rate": _vf(IFLA_VF_RATE, "III", vf, 0, 100),
        "query": _vf(IFLA_VF_RSS_QUERY_EN, "II", vf, 1),
    }.items()
}
PF |= {
    "vf 0 mac multicast": _vf_mac(0, "01:00:5e:00:00:01"), "vf 0 mac broadcast": _vf_mac(0, "ff" * 6),
    "vf 0 mac zero": _vf_mac(0, "00" * 6), "vf 0 mac good": _vf_mac(0, "02:00:00:00:00:01"),
    "vf 0 vlan 4095": _vf(IFLA_VF_VLAN, "III", 0, 4095, 0),
    "vf 0 vlan 4096": _vf(IFLA_VF_VLAN, "III", 0, 4096, 0),
    "vf 0 vlan all ones": _vf(IFLA_VF_VLAN, "III", 0, ALL, 0),
    "vf 0 qos 8": _vf(IFLA_VF_VLAN, "III", 0, 5, 8),
    "vf 0 qos 256": _vf(IFLA_VF_VLAN, "III", 0, 5, 256),
    "vf 0 qos alone": _vf(IFLA_VF_VLAN, "III", 0, 0, 3),
    "vf 0 vlan 5": _vf(IFLA_VF_VLAN, "III", 0, 5, 0),
    "vf 0 vlan 5 again": _vf(IFLA_VF_VLAN, "III", 0, 5, 0),
    "vf 0 vlan off": _vf(IFLA_VF_VLAN, "III", 0, 0, 0),
    "vf 0 vlan 802.1ad": _vf_vlan_proto(0, 5, 0, 0x88a8),
    "vf 0 vlan proto 0": _vf_vlan_proto(0, 5, 0, 0),
    "vf 0 rate 10": _vf(IFLA_VF_RATE, "III", 0, 0, 10),
    "vf 0 rate 11": _vf(IFLA_VF_RATE, "III", 0, 0, 11),
    "vf 0 rate 10001": _vf(IFLA_VF_RATE, "III", 0, 0, 10001),
    "vf 0 rate all ones": _vf(IFLA_VF_RATE, "III", 0, 0, ALL),
    "vf 0 rate min": _vf(IFLA_VF_RATE, "III", 0, 50, 100),
    "vf 0 rate min over max": _vf(IFLA_VF_RATE, "III", 0, 200, 100),
    "vf 0 rate off": _vf(IFLA_VF_RATE, "III", 0, 0, 0),
    "vf 0 old rate 10": _vf(IFLA_VF_TX_RATE, "II", 0, 10),
    "vf 0 state 3": _vf(IFLA_VF_LINK_STATE, "II", 0, 3),
    "vf 0 state all ones": _vf(IFLA_VF_LINK_STATE, "II", 0, ALL),
    "vf 0 state enable": _vf(IFLA_VF_LINK_STATE, "II", 0, 1),
    "vf 0 state auto": _vf(IFLA_VF_LINK_STATE, "II", 0, 0),
    "vf 0 spoofchk 7": _vf(IFLA_VF_SPOOFCHK, "II", 0, 7),
    "vf 0 trust 7": _vf(IFLA_VF_TRUST, "II", 0, 7),
    "vf 0 trust off": _vf(IFLA_VF_TRUST, "II", 0, 0),
}

# Values of sriov_numvfs, each from the state with two VFs.
NUMVFS = ("2", "1", "64", "65", "65536", "-1", "x", "")


def _names(answers):
    return {row: errno.errorcode.get(e, str(e)) if e else "ok" for row, e in answers.items()}


def _ask(cfg, ifname, rows):
    """ The answer to each row; the interface must be there afterwards. """
    out = {}
    for row, ask in rows.items():
        out[row] = ask(ifname)
    cfg.set_mtu_of(ifname, 1500)
    return _names(out)


def _sriov(cfg):
    out = {}
    for value in NUMVFS:
        try:
            cfg.pci.write("sriov_numvfs", value)
            out[f"sriov_numvfs {value}"] = 0
        except OSError as e:
            out[f"sriov_numvfs {value}"] = e.errno
    return _names(out)


class Env(IxgbeEnv):
    """ One pair of drivers with two VFs, none of which is in a namespace. """

    def __init__(self, pf_module, vf_module):
        super().__init__()
        self.pf_module, self.vf_module = pf_module, vf_module

    def answers(self, which):
        """ What the PF or the VF driver answers. """
        # Whichever drivers are loaded: a device keeps the one that it has.
        for module in ("ixgbevf", "ixgbevf_rust", "ixgbe_vfio_pci", "ixgbe", "ixgbe_rust"):
            unload_module(module)
        self.load_pf()
        load_module(self.vf_module)
        self.pci.set_numvfs(2)
        self.pf.wait_carrier()
        vf = self.pci.vf(0).wait_netdev()
        ip(f"link set dev {vf} up")
        try:
            return self.ask(which, self.pf.ifname if which == "pf" else vf)
        finally:
            unload_module(self.vf_module)
            self.pci.write("sriov_numvfs", 0)
            unload_module(self.pf_module)

    def ask(self, which, ifname):
        """ The answers of @ifname, the PF or a VF. """
        if which == "pf":
            return _ask(self, ifname, PF) | _sriov(self)
        return _ask(self, ifname, COMMON)

    @staticmethod
    def set_mtu_of(ifname, mtu):
        """ Whatever was accepted: the MTU must be a usual one. """
        ip(f"link set dev {ifname} mtu {mtu}")


def _compare(which, ours):
    """ Ask the C drivers and these; compare row by row. """
    if all("/" not in m for m in ours):
        raise KsftSkipEx("the C drivers are what is compared with")
    reference = Env("ixgbe", "ixgbevf").answers(which)
    answers = Env(*ours).answers(which)
    ksft_ge(len(reference), 60)
    for row, want in reference.items():
        name = f"{which}.{row}"
        if name in DIFFERENT:
            ksft_pr(f"{name}: C {want}, here {answers[row]}: {DIFFERENT[name]}")
            continue
        ksft_eq(answers[row], want, name)


def pf(_):
    """ ethtool, ip and sysfs of the PF. """
    module = os.environ.get("KSFT_PF_MODULE", "ixgbe")
    # The C VF driver at both times: what differs is the PF.
    _compare("pf", (module, "ixgbevf"))


def vf(_):
    """ ethtool and ip of a VF. """
    module = os.environ.get("KSFT_VF_MODULE", "ixgbevf")
    _compare("vf", ("ixgbe", module))


def alive(_):
    """ After all that the drivers under test pass traffic. """
    with IxgbeEnv(vfs=1) as cfg:
        ping(cfg.pf, cfg.peer)
        ping(cfg.vfs[0], cfg.peer)


def main():
    ksft_run([pf, vf, alive], args=(None, ))
    ksft_exit()


if __name__ == "__main__":
    main()
