#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" Loading, probing and removing the PF driver and its VFs, without a word of complaint. """

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, ksft_ne, ksft_true, ksft_raises
from lib.py import IxgbeEnv, KernelLog, cmd, ethtool, ping

MAX_VFS = 63


def pf_identity(cfg):
    """ ethtool -i and sysfs agree on who drives the PF. """
    info = dict(l.split(": ", 1) for l in
                ethtool(f"-i {cfg.pf.ifname}").stdout.splitlines() if ": " in l)
    ksft_eq(info["driver"], cfg.pci.driver)
    ksft_eq(info["bus-info"], cfg.pci.bdf)
    ksft_ne(info["firmware-version"], "")


def pf_address(cfg):
    """ The MAC address is the EEPROM's: valid, unicast, the permanent one. """
    perm = ethtool(f"-P {cfg.pf.ifname}").stdout.split()[-1]
    ksft_eq(perm, cfg.pf.mac())
    ksft_eq(int(perm[:2], 16) & 1, 0, "unicast")
    ksft_ne(perm, "00:00:00:00:00:00")


def pf_link(cfg):
    """ The link is up at 10 Gb/s, full duplex. """
    out = ethtool(cfg.pf.ifname).stdout
    ksft_in("Link detected: yes", out)
    ksft_in("Speed: 10000Mb/s", out)
    ksft_in("Duplex: Full", out)


def pf_reload(cfg):
    """ Five times out and in again; no message of a fault. """
    log = KernelLog()
    for _ in range(5):
        cfg.unload_pf()
        cfg.load_pf()
    ping(cfg.pf, cfg.peer)
    ksft_eq(log.faults(), [])


def vf_63(cfg):
    """ All 63 VFs probe, each with a MAC address of its own; first, middle and last talk. """
    log = KernelLog()
    cfg.create_vfs(MAX_VFS, claim=0)
    macs = {cfg.pf.mac()}
    for vf in cfg.vfs:
        vf.pci.wait_netdev()
        macs.add(cmd(f"cat /sys/class/net/{vf.pci.netdev()}/address").stdout.strip())
    ksft_eq(len(macs), MAX_VFS + 1, "distinct MAC addresses")
    ksft_eq(len(cfg.pf.info()["vfinfo_list"]), MAX_VFS)
    for index in (0, 31, 32, 62):
        vf = cfg.vfs[index]
        vf.claim()
        vf.up()
        ping(vf, cfg.peer)
    ping(cfg.vfs[0], cfg.vfs[62])
    cfg.remove_vfs()
    ksft_eq(log.faults(), [])


def vf_count(cfg):
    """ Numbers of VFs in each of the three pool modes; one too many is refused. """
    ksft_eq(int(cfg.pci.read("sriov_totalvfs")), MAX_VFS)
    for count in (1, 15, 16, 31, 32):
        cfg.create_vfs(count, claim=1)
        ping(cfg.vfs[0], cfg.peer)
    cfg.remove_vfs()
    with ksft_raises(OSError):
        cfg.pci.write("sriov_numvfs", MAX_VFS + 1)
    ksft_eq(int(cfg.pci.read("sriov_numvfs")), 0)
    cfg.settle()


def vf_identity(cfg):
    """ A VF is one of its PF's chip, and its driver says so. """
    cfg.create_vfs(1)
    vf = cfg.vfs[0]
    ids = {0x1528: 0x1515, 0x1560: 0x1515, 0x1563: 0x1565, 0x15d1: 0x1565}
    ksft_eq(vf.pci.device_id, ids.get(cfg.pci.device_id, 0x10ed))
    info = dict(l.split(": ", 1) for l in
                ethtool(f"-i {vf.ifname}", ns=vf.ns).stdout.splitlines() if ": " in l)
    ksft_eq(info["driver"], vf.pci.driver)
    ksft_eq(info["bus-info"], vf.pci.bdf)


def vf_reload(cfg):
    """ PF driver removed and loaded again while VFs are in use. """
    log = KernelLog()
    cfg.create_vfs(2)
    cfg.unload_pf()
    cfg.load_pf()
    cfg.create_vfs(2)
    ping(cfg.vfs[0], cfg.peer)
    ksft_true(not log.faults(), "\n".join(log.faults()))


def main():
    with IxgbeEnv() as cfg:
        ksft_run([pf_identity, pf_address, pf_link, pf_reload,
                  vf_identity, vf_count, vf_63, vf_reload], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
