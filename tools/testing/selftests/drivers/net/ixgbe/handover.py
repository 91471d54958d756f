#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
A VF changes hands: what its first owner had asked for is not the next one's. What the host had
set stays. Not for the C driver, which forgets a VF's filters only in its next reset message.
"""

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_true, ksft_variants
from lib.py import PATIENCE, IxgbeEnv, KsftNamedVariant, VfioUser, arp_free_mac, defer, ip, ping, \
    verify_tcp, vfio_pci

MAC = "02:82:59:cc:00:00"
GROUP = "01:00:5e:01:02:03"
VLANS = (300, 301)
# The PF's registers (82599 datasheet 8.2.3.7, 8.2.3.23, 8.2.3.27): an index of 32-bit words, each of pool 0.
RAL, RAH, MPSAR = 0xa200 // 4, 0xa204 // 4, 0xa600 // 4
VLVF, VLVFB, VMOLR, PFMBMEM = 0xf100 // 4, 0xf200 // 4, 0xf000 // 4, 0x13000 // 4
RAH_AV, VLVF_VIEN, ROMPE = 1 << 31, 1 << 31, 1 << 25
RARS, VLVFS, WORDS = 128, 64, 16


def _pool_0(cfg):
    """ What pool 0 has in the filters that all pools share, its receive modes, and its mailbox. """
    bar = cfg.pci.map_bar()
    addresses = [(bar[RAL + 2 * i], bar[RAH + 2 * i] & 0xffff) for i in range(RARS)
                 if bar[RAH + 2 * i] & RAH_AV and bar[MPSAR + 2 * i] & 1]
    vlans = [bar[VLVF + i] & 0xfff for i in range(VLVFS)
             if bar[VLVF + i] & VLVF_VIEN and bar[VLVFB + 2 * i] & 1]
    modes, mailbox = bar[VMOLR], [bar[PFMBMEM + i] for i in range(WORDS)]
    bar.release()
    return {"addresses": addresses, "vlans": vlans, "modes": modes}, mailbox


def _filters_in_use(cfg):
    """
    The filters and modes of pool 0 once its driver has asked for groups: the core hands it those
    from a work, which may run after the first frames. The last owner's would be there before.
    """
    ksft_busy_wait(lambda: _pool_0(cfg)[0]["modes"] & ROMPE, sleep=0.05, deadline=PATIENCE,
                   comment="its driver asks for groups")
    return _pool_0(cfg)[0]


def _take(vf):
    """ The VF's own driver takes it, as a guest that starts. """
    vf.pci.bind(vf.kernel_driver)
    vf.claim()
    vf.up()


def _by_driver(_cfg, vf):
    """ One guest driver goes, without a word, and another one comes. """
    vf.pci.unbind()


def _by_vfio(_cfg, vf):
    """ The VM ends, and VFIO resets the function for whoever is next. """
    vf.pci.unbind()
    with vfio_pci(vf.pci):
        VfioUser(vf.pci).close()


HANDS = [KsftNamedVariant("driver", _by_driver), KsftNamedVariant("vfio", _by_vfio)]


def _greedy(cfg, vf):
    """ An owner that asks for all that there is. The host trusts it. """
    vf.link("allmulticast on")
    ip(f"maddr add {GROUP} dev {vf.ifname}", ns=vf.ns)
    for vlan in VLANS:
        vf.add_vlan(vlan)
    for i in range(3):
        ip(f"link add link {vf.ifname} name mv{i} address {arp_free_mac()} type macvlan mode private",
           ns=vf.ns)
        ip(f"link set mv{i} up", ns=vf.ns)
    cfg.settle(vf)


def _settings(cfg):
    return {k: v for k, v in cfg.vf_info(0).items() if k != "stats"}


@ksft_variants(HANDS)
def brings_nothing_along(cfg, hands):
    """ Filters, modes and mailbox of a VF that has no owner are those that it was made with. """
    vf = cfg.vfs[0]
    cfg.set_trust(0, True)
    defer(cfg.set_trust, 0, False)
    fresh = _filters_in_use(cfg)
    _greedy(cfg, vf)
    host = _settings(cfg)

    def asked():
        now, _ = _pool_0(cfg)
        return len(now["addresses"]) >= len(fresh["addresses"]) + 3 and \
            now["modes"] != fresh["modes"] and set(VLANS) <= set(now["vlans"])
    # The core hands a driver its addresses and modes from a work.
    ksft_busy_wait(asked, sleep=0.05, deadline=PATIENCE, comment="it has what it asked for")
    hands(cfg, vf)
    _take(vf)
    cfg.settle(vf)
    ksft_eq(_filters_in_use(cfg), fresh)
    ksft_eq(_settings(cfg), host)
    # The same, as frames see it.
    mac = vf.mac()
    ksft_true(not cfg.leaves(vf, arp_free_mac()), "in another's name")
    for vlan in VLANS:
        ksft_true(not cfg.leaves(vf, mac, vlan), f"tagged for VLAN {vlan}")
    ksft_true(not cfg.gets(vf, *cfg.free_groups(1)), "a group that the first owner got by allmulticast")
    verify_tcp(vf, cfg.peer, 200000)


@ksft_variants(HANDS)
def trust_taken_between(cfg, hands):
    """ A VF that is no longer trusted when the next owner comes gets no group by a mode. """
    vf = cfg.vfs[0]
    cfg.set_trust(0, True)
    vf.link("allmulticast on")
    hands(cfg, vf)
    cfg.vf_set(0, "trust off")
    _take(vf)
    cfg.settle(vf)
    vf.link("allmulticast on")
    ksft_true(not cfg.gets(vf, *cfg.free_groups(1)))
    vf.link("allmulticast off")


def mailbox_is_empty(cfg):
    """ Nothing that one owner wrote into the mailbox can be read by the next. """
    vf = cfg.vfs[0]
    vf.pci.unbind()
    with vfio_pci(vf.pci):
        user = VfioUser(vf.pci)
        bar = user.map_bar()
        for i in range(WORDS):
            bar[0x200 // 4 + i] = 0x5ec2e700 + i
        ksft_eq(bar[0x200 // 4], 0x5ec2e700)
        bar.release()
        user.close()
        user = VfioUser(vf.pci)
        bar = user.map_bar()
        ksft_eq([f"{bar[0x200 // 4 + i]:#x}" for i in range(WORDS)
                 if bar[0x200 // 4 + i] == 0x5ec2e700 + i], [])
        bar.release()
        user.close()
    _take(vf)
    cfg.settle(vf)
    ping(vf, cfg.peer)


def main():
    """ KTAP of this file. """
    with IxgbeEnv(vfs=2) as cfg:
        for vf in cfg.vfs:
            vf.kernel_driver = vf.pci.driver
        # Each driver would draw another one.
        cfg.vf_set(0, f"mac {MAC}")
        cfg.vfs[0].pci.unbind()
        _take(cfg.vfs[0])
        cfg.settle(cfg.vfs[0])
        ksft_run([brings_nothing_along, trust_taken_between, mailbox_is_empty], args=(cfg,))
    ksft_exit()


if __name__ == "__main__":
    main()
