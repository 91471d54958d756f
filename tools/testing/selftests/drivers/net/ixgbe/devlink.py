#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" devlink: the instance, its ports, parameters, health reporters and region. """

import json
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_ge, ksft_in, ksft_ne, \
    ksft_true
from lib.py import CmdExitFailure, Expect, IxgbeEnv, KsftSkipEx, cmd, defer, ping, says, unmet

# Mailbox of a VF in its BAR (82599 datasheet 8.3.5.9).
VFMAILBOX, VFMBMEM = 0x2fc, 0x200
REQ, ACK, VFU = 1 << 0, 1 << 1, 1 << 2
# Words of a dump whose registers do not change by themselves (ixgbe_get_regs()): CTRL, STATUS,
# CTRL_EXT, LEDCTL, GPIE, length of the first ring, RXCTRL, RFCTL, the first address, FCTRL.
REGISTERS = {0: 0x0000, 1: 0x0008, 2: 0x0018, 5: 0x0200, 29: 0x0898, 181: 0x1008, 478: 0x3000,
             481: 0x5008, 482: 0xa200, 498: 0xa204, 515: 0x5080}


def _handle(cfg):
    return "pci/" + cfg.pci.bdf


def _devlink(args):
    out = cmd("devlink -j " + args).stdout
    return json.loads(out) if out.strip() else {}


def _ours(cfg):
    """ The C driver of an 82599 has the instance and the physical port only. """
    if "/" not in cfg.pf_module:
        raise KsftSkipEx("not in the C driver")


def _reporter(cfg, name):
    """ State of a health reporter. """
    shown = _devlink(f"health show {_handle(cfg)} reporter {name}")
    return next(iter(shown["health"].values()))[0]


def info(cfg):
    """ devlink dev info names the driver. """
    shown = _devlink(f"dev info {_handle(cfg)}")["info"][_handle(cfg)]
    ksft_eq(shown["driver"], cfg.pci.driver)


def ports(cfg):
    """ A physical port with the net device, and a port for each VF while there are some. """
    shown = _devlink("port show")["port"]
    mine = {k: v for k, v in shown.items() if k.startswith(_handle(cfg) + "/")}
    ksft_eq(len(mine), 1)
    port = next(iter(mine.values()))
    ksft_eq(port["flavour"], "physical")
    ksft_eq(port["netdev"], cfg.pf.ifname)
    _ours(cfg)
    cfg.create_vfs(2, claim=0)
    defer(cfg.remove_vfs)
    shown = _devlink("port show")["port"]
    vfs = [v for k, v in shown.items()
           if k.startswith(_handle(cfg) + "/") and v["flavour"] == "pcivf"]
    ksft_eq(sorted(v["vfnum"] for v in vfs), [0, 1])


def port_function(cfg):
    """ hw_addr and migratable of a VF's port; the physical port has neither. """
    _ours(cfg)
    cfg.create_vfs(1, claim=0)
    defer(cfg.remove_vfs)
    port, mac = f"{_handle(cfg)}/1", "02:82:59:aa:00:01"
    cmd(f"devlink port function set {port} hw_addr {mac}")
    ksft_eq(cfg.vf_info(0)["address"], mac)
    for state in ("enable", "disable"):
        cmd(f"devlink port function set {port} migratable {state}")
        shown = next(iter(_devlink(f"port show {port}")["port"].values()))
        ksft_eq(shown["function"], {"hw_addr": mac, "migratable": state})
    for args in (f"{_handle(cfg)}/0 migratable enable", f"{port} hw_addr 01:00:5e:00:00:01"):
        res = cmd("devlink port function set " + args, fail=False)
        ksft_ne(res.ret, 0, args)


def parameters(cfg):
    """ head_restore takes its four values and no other. """
    _ours(cfg)
    name = f"{_handle(cfg)} name head_restore"
    defer(cmd, f"devlink dev param set {name} value auto cmode runtime")
    for value in ("write", "rearm", "reset", "auto"):
        cmd(f"devlink dev param set {name} value {value} cmode runtime")
        shown = _devlink(f"dev param show {name}")["param"][_handle(cfg)][0]
        ksft_eq(shown["values"][0]["value"], value)
    for value in ("nonsense", "''", "x" * 31):
        res = cmd(f"devlink dev param set {name} value {value} cmode runtime", shell=True,
                  fail=False)
        ksft_ne(res.ret, 0, value)


def region(cfg):
    """ A snapshot of the registers has their size and tells the device. """
    _ours(cfg)
    at = f"{_handle(cfg)}/registers"
    size = next(iter(_devlink(f"region show {at}")["regions"].values()))["size"]
    ksft_eq(size, 1145 * 4)
    cmd(f"devlink region new {at} snapshot 7")
    defer(cmd, f"devlink region del {at} snapshot 7")
    out = cmd(f"devlink region dump {at} snapshot 7").stdout
    data = bytes.fromhex("".join(line.split(maxsplit=1)[1] for line in out.splitlines())
                         .replace(" ", ""))
    ksft_eq(len(data), size)
    bar = cfg.pci.map_bar()
    for index, register in REGISTERS.items():
        ksft_eq(hex(int.from_bytes(data[4 * index:4 * index + 4], "little")),
                hex(bar[register // 4]), f"register {register:#x}")
    bar.release()


def reporters(cfg):
    """ Each reporter can be diagnosed and dumped, and is healthy. """
    _ours(cfg)
    cfg.create_vfs(1)
    defer(cfg.remove_vfs)
    for name in ("migration", "tx", "mailbox", "malicious_vf"):
        ksft_eq(_reporter(cfg, name)["state"], "healthy", name)
        cmd(f"devlink health diagnose {_handle(cfg)} reporter {name}")
        cmd(f"devlink health dump show {_handle(cfg)} reporter {name}")
        cmd(f"devlink health dump clear {_handle(cfg)} reporter {name}")
    out = cmd(f"devlink health diagnose {_handle(cfg)} reporter mailbox").stdout
    ksft_in("clear_to_send: true", out)
    # The VF has asked for a good deal on its way up.
    done = int(out.split("done:")[1].split()[0])
    ksft_ge(done, 5)


def tx_recover(cfg):
    """ Recovery by hand resets the device, and traffic goes on. """
    _ours(cfg)
    changes = Path(f"/sys/class/net/{cfg.pf.ifname}/carrier_changes")
    before = int(changes.read_text())
    with Expect(says(cfg.pci, "Reset adapter")) as log:
        cmd(f"devlink health recover {_handle(cfg)} reporter tx")
        ksft_true(log.wait(says(cfg.pci, "Reset adapter")), log.lines())
    cfg.settle(cfg.pf)
    ksft_ge(int(changes.read_text()), before + 2, "the link went and came")
    ping(cfg.pf, cfg.peer)


def mailbox_report(cfg):
    """ A VF that asks for what nobody knows, again and again, is reported. """
    _ours(cfg)
    cfg.create_vfs(2, claim=1)
    defer(cfg.remove_vfs)
    vf = cfg.vfs[1].pci
    vf.unbind()
    vf.write("enable", 1)
    defer(vf.write, "enable", 0)
    bar = vf.map_bar()
    before = _reporter(cfg, "mailbox")["error"]

    def flood():
        for _ in range(500):
            bar[VFMAILBOX // 4] = VFU
            bar[VFMBMEM // 4] = 0x7f
            bar[VFMAILBOX // 4] = REQ
            for _ in range(1000):
                if bar[VFMAILBOX // 4] & (1 << 4 | 1 << 5):
                    break
        return _reporter(cfg, "mailbox")["error"] > before
    ksft_busy_wait(flood, sleep=0.1, deadline=20)
    bar.release()
    ping(cfg.vfs[0], cfg.peer)
    out = cmd(f"devlink health dump show {_handle(cfg)} reporter mailbox").stdout
    ksft_in("before_reset", out)


def mdd_disable_vf(cfg):
    """ The private flag mdd-disable-vf can be switched, with VFs as without. """
    def read():
        out = cmd(f"ethtool --show-priv-flags {cfg.pf.ifname}").stdout
        return dict(l.replace(" ", "").split(":") for l in out.splitlines()[1:])["mdd-disable-vf"]
    was = read()
    defer(cmd, f"ethtool --set-priv-flags {cfg.pf.ifname} mdd-disable-vf {was}")
    for value in ("on", "off", "on"):
        cmd(f"ethtool --set-priv-flags {cfg.pf.ifname} mdd-disable-vf {value}")
        ksft_eq(read(), value)
    cfg.settle(cfg.pf)


def main():
    try:
        cmd("devlink dev show")
    except (CmdExitFailure, FileNotFoundError):
        raise unmet("no devlink") from None
    with IxgbeEnv() as cfg:
        ksft_run([info, ports, port_function, parameters, region, reporters, tx_recover,
                  mailbox_report, mdd_disable_vf], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
