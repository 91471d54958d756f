#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Modules of an SFP+ cage: what each is, its link, and what becomes of one that comes
or goes. The lab changes what is in the cage and what the link partner can do.
"""

import os
import re
import time

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, ksft_ne, ksft_true
from lib.py import ksft_variants, KsftNamedVariant, KsftSkipEx
from lib.py import Expect, IxgbeEnv, KernelLog, defer, ethtool, cmd, load_module, ping, says
from lib.py import set_card, unload_module

SFF_8472 = 512
SFF_8079 = 256

# Of each module: Mb/s, port, speeds that are offered, vendor, length of the EEPROM.
MODULES = {
    "sr": (10000, "FIBRE", {"10000baseT/Full", "1000baseT/Full"}, "Intel Corp", SFF_8472),
    "lr": (10000, "FIBRE", {"10000baseT/Full", "1000baseT/Full"}, "Intel Corp", SFF_8472),
    "da": (10000, "Direct Attach Copper", {"10000baseT/Full"}, "Amphenol", SFF_8079),
    "active": (10000, "Other", {"10000baseT/Full"}, "Molex Inc.", SFF_8079),
    "1g-sx": (1000, "FIBRE", {"1000baseT/Full"}, "FINISAR CORP.", SFF_8472),
    "1g-t": (1000, "Twisted Pair", {"1000baseT/Full"}, "FINISAR CORP.", SFF_8079),
}


def _ours(cfg):
    return "/" in cfg.pf_module


def _passes(cfg):
    """
    The interface passes frames. The link may go and come once more after it came: a driver that
    sets up a module, or finds another speed, starts it anew, and a request that is under way then
    is not repeated.
    """
    cfg.settle(cfg.pf)
    ping(cfg.pf, cfg.peer)


def _plug(cfg, module):
    """ Put @module into the cage, and wait for its link. """
    set_card(module=module)
    # Of another module, which may have the link still.
    time.sleep(0.3)
    cfg.pf.wait_carrier()


def _settings(cfg):
    """ What ethtool says of the link: values by name, and the speeds that are supported. """
    out = ethtool(cfg.pf.ifname).stdout
    values = dict(re.findall(r"^\s+([A-Z][\w -]*): (.*)$", out, re.M))
    modes = re.search(r"Supported link modes:(.*?)Supported pause", out, re.S)
    return values, set(modes.group(1).split()), out


def _wait(what, deadline=60):
    end = time.monotonic() + deadline
    while not what():
        ksft_true(time.monotonic() < end, "in time")
        if time.monotonic() > end:
            return
        time.sleep(0.1)


def _restore(cfg):
    # The link that is there may be that of the module before, and about to go.
    set_card(module="none", partner="both")
    cfg.pf.wait_carrier(False)
    set_card(module="sr")
    cfg.pf.wait_carrier()


@ksft_variants([KsftNamedVariant(name.replace("-", "_"), name) for name in MODULES])
def kind(cfg, module):
    """ A module that is put in gets a link; ethtool tells its port, speeds and EEPROM. """
    speed, port, modes, vendor, length = MODULES[module]
    defer(_restore, cfg)
    set_card(module="none")
    cfg.pf.wait_carrier(False)
    log = KernelLog()
    _plug(cfg, module)
    ksft_true(log.wait("detected SFP[+]: "), "the log says what was found")
    _wait(lambda: _settings(cfg)[0].get("Speed") == f"{speed}Mb/s")
    values, supported, out = _settings(cfg)
    ksft_eq(values["Port"], port, out)
    ksft_eq(supported, modes, out)
    ksft_eq(values["Duplex"], "Full", out)
    _passes(cfg)

    text = ethtool(f"-m {cfg.pf.ifname}").stdout
    ksft_in("0x03 (SFP)", text)
    ksft_true(re.search(f"Vendor name +: {re.escape(vendor)}$", text, re.M), text)
    ksft_eq("Module temperature" in text, length == SFF_8472, text)
    path = "/tmp/module.bin"
    cmd(f"ethtool -m {cfg.pf.ifname} raw on > {path}", shell=True)
    with open(path, "rb") as f:
        page = f.read()
    ksft_eq(len(page), length)
    ksft_eq(page[20:36].decode().strip(), vendor)
    ksft_eq(sum(page[:63]) & 0xff, page[63])


def unplugged(cfg):
    """ Without a module there is no link and nothing to read; with one again all is as before. """
    ksft_true(cfg.pf.carrier())
    for _ in range(3):
        set_card(module="none")
        cfg.pf.wait_carrier(False)
        ksft_ne(cmd(f"ethtool -m {cfg.pf.ifname}", fail=False).ret, 0)
        _plug(cfg, "sr")
    _passes(cfg)


def changed_while_down(cfg):
    """ A module that is changed while the interface is down is found when it is up. """
    defer(_restore, cfg)
    cfg.pf.down()
    set_card(module="da")
    cfg.pf.set_addrs()
    cfg.pf.up()
    # It is looked for from a work, and the link that is there may be that of the module before.
    _wait(lambda: _settings(cfg)[0]["Port"] == "Direct Attach Copper")
    _passes(cfg)


def _load(cfg, *params):
    """ Load the driver, and bring its interface up without waiting for a link. """
    load_module(cfg.pf_module, *params)
    ifname = cfg.pci.wait_netdev()
    cmd(f"ip link set dev {ifname} up")
    cfg.pf.ifname = ifname
    return ifname


def _reload(cfg, module, *params):
    cfg.unload_pf()
    defer(cfg.load_pf)
    defer(unload_module, cfg.pf_module)
    defer(set_card, module="sr")
    set_card(module=module)


@ksft_variants(["none", "broken"])
def probed_without(cfg, module):
    """ The driver is loaded with nothing that answers in the cage, and waits for a module. """
    pf = cfg.pf
    _reload(cfg, module)
    cfg.pf = pf
    _load(cfg)
    time.sleep(3)
    ksft_true(not pf.carrier(), "no link without a module")
    _plug(cfg, "sr")
    pf.set_addrs()
    _passes(cfg)


@ksft_variants(["third_party", "foreign"])
def refused(cfg, module):
    """ A module that is not supported gets no link, and the log says why. """
    pf = cfg.pf
    _reload(cfg, module.replace("_", "-"))
    cfg.pf = pf
    with Expect(says(cfg.pci, "unsupported SFP|Reload the driver")):
        log = KernelLog()
        if not _ours(cfg):
            # The C driver refuses the device.
            load_module(cfg.pf_module)
            ksft_true(log.wait("unsupported SFP"), "the log says why")
            ksft_eq(cfg.pci.driver, None)
            return
        _load(cfg)
        ksft_true(log.wait("unsupported SFP"), "the log says why")
        time.sleep(3)
        ksft_true(not pf.carrier(), "no link")
        ksft_eq(len(log.matching("unsupported SFP")), 1, "it says it once")
    _plug(cfg, "sr")
    pf.set_addrs()
    _passes(cfg)


def refused_while_up(cfg):
    """ A module that is not supported is put in; the interface stays, and takes the next one. """
    if not _ours(cfg):
        raise KsftSkipEx("the C driver unregisters its interface")
    defer(_restore, cfg)
    cfg.create_vfs(2)
    with Expect(says(cfg.pci, "unsupported SFP")):
        log = KernelLog()
        set_card(module="none")
        cfg.pf.wait_carrier(False)
        set_card(module="third-party")
        ksft_true(log.wait("unsupported SFP"), "the log says why")
    ksft_true(not cfg.pf.carrier())
    _plug(cfg, "sr")
    cfg.settle()


def allowed(cfg):
    """ allow_unsupported_sfp lets modules of other vendors work, with a warning. """
    pf = cfg.pf
    _reload(cfg, "third-party")
    cfg.pf = pf
    log = KernelLog()
    _load(cfg, "allow_unsupported_sfp=1")
    pf.wait_carrier()
    ksft_true(log.wait("WARNING: Intel .* Network Connections are quality tested"))
    pf.set_addrs()
    _passes(cfg)


def partner(cfg):
    """ With two speeds the link finds that of its partner. """
    defer(_restore, cfg)
    for speeds, speed in (("1g", 1000), ("10g", 10000), ("both", 10000)):
        set_card(partner=speeds)
        _wait(lambda s=speed: _settings(cfg)[0].get("Speed") == f"{s}Mb/s")
        _passes(cfg)


def advertised(cfg):
    """ Of two speeds one can be chosen; another module offers no choice. """
    defer(_restore, cfg)
    ifname = cfg.pf.ifname
    for modes, speed in (("0x20", 1000), ("0x1000", 10000), ("0x1020", 10000)):
        ethtool(f"-s {ifname} advertise {modes}")
        _wait(lambda s=speed: _settings(cfg)[0].get("Speed") == f"{s}Mb/s")
        _passes(cfg)
    set_card(module="none")
    cfg.pf.wait_carrier(False)
    _plug(cfg, "da")
    ksft_ne(cmd(f"ethtool -s {ifname} advertise 0x20", fail=False).ret, 0)


def _of_vfs(cfg):
    """ What the PF has set for its VFs, and how often these were reset. """
    infos = [{k: v for k, v in cfg.vf_info(i).items() if k != "stats"} for i in range(2)]
    return infos, [vf.stats().get("tx_timeout_count", 0) for vf in cfg.vfs]


def vfs_stay(cfg):
    """ A module that goes and comes takes the VFs' link, and nothing else of theirs. """
    cfg.create_vfs(2)
    cfg.vf_set(0, "vlan 7")
    defer(cfg.vf_set, 0, "vlan 0")
    before = _of_vfs(cfg)
    # The C driver resets itself, and so the VFs, for frames that wait.
    with Expect(says(cfg.pci, "Reset adapter")):
        log = KernelLog()
        for _ in range(int(os.environ.get("KSFT_CYCLES", "5"))):
            set_card(module="none")
            cfg.pf.wait_carrier(False)
            _plug(cfg, "sr")
        cfg.settle(cfg.pf, cfg.vfs[1])
    after = _of_vfs(cfg)
    ksft_eq(after[0], before[0])
    if _ours(cfg):
        ksft_eq(after[1], before[1])
        ksft_eq(log.matching("eset adapter|Hardware reset|malicious"), [])
        ksft_eq(log.faults(), [])


def main():
    with IxgbeEnv() as cfg:
        ksft_run([kind, unplugged, changed_while_down, partner, advertised, vfs_stay,
                  refused_while_up, probed_without, allowed, refused], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
