#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" ixgbe-migrate: a host is prepared, shown, described, compared, and put back. """

import fcntl
import json
import os
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, ksft_ne, ksft_true
from lib.py import IxgbeEnv, VfioUser, cmd, defer, load_module, module_name, unmet

TOOL = Path(__file__).resolve().parent / "ixgbe-migrate"
# CONFIG_VFIO_DEBUGFS, which Debian's kernel has not: VFIO's states are seen by it alone.
VFIO_DEBUGFS = Path("/sys/kernel/debug/vfio")
# linux/vfio.h: VFIO_DEVICE_FEATURE, SET of MIG_DEVICE_STATE, and states.
VFIO_DEVICE_FEATURE, SET_STATE = 0x3b75, 1 << 17 | 2
STOP, RUNNING, STOP_COPY, PRE_COPY = 1, 2, 3, 6
MAC = "02:82:59:a0:00:01"
TOML = f"""
vfs = 2

[[vf]]
number = 0
mac = "{MAC}"
vlan = 5
qos = 1
trust = true
spoofchk = false
max_tx_rate = 1000
link = "auto"

[[vf]]
number = 1
migratable = false
driver = "none"
"""


def _tool(args, code=0):
    """ What it prints, if it ends as it should. """
    done = subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=180, check=False)
    ksft_eq(done.returncode, code, f"{args}: {done.stdout}{done.stderr}")
    return done.stdout if code != 2 else done.stderr


def _config(text=TOML):
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as f:
        f.write(text)
    defer(os.unlink, f.name)
    return f.name


def _seen(cfg):
    """ What prepare may change, as the kernel shows it. """
    return {name: cfg.pci.read(name) for name in ("sriov_numvfs", "sriov_drivers_autoprobe")}


def _prepare(cfg, text=TOML):
    out = _tool(["prepare", "--pf", cfg.pf.ifname, "--config", _config(text)])
    defer(_tool, ["release", "--pf", cfg.pf.ifname])
    return out


def _write(description):
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as f:
        json.dump(description, f)
    defer(os.unlink, f.name)
    return f.name


def prepare_and_release(cfg):
    """ All settings arrive; a second run changes nothing; release puts back what was there. """
    before = _seen(cfg)
    ksft_eq(before["sriov_numvfs"], "0")
    out = _tool(["prepare", "--config", _config()])
    ksft_in("VF 0 driver: ixgbe_vfio_pci (was none)", out)
    vf = cfg.vf_info(0)
    ksft_eq((vf["address"], vf["trust"], vf["spoofchk"]), (MAC, True, False))
    ksft_eq(vf["rate"]["max_tx"], 1000)
    ksft_eq(vf["vlan_list"][0], {"vlan": 5, "qos": 1})
    ksft_eq(cfg.pci.vf(0).driver, "ixgbe_vfio_pci")
    ksft_eq(cfg.pci.vf(1).driver, None)
    ports = json.loads(cmd("devlink -j port show").stdout)["port"]
    ksft_eq({p["vfnum"]: p["function"]["migratable"] for p in ports.values()
             if p["flavour"] == "pcivf"}, {0: "enable", 1: "disable"})
    ksft_eq(_tool(["prepare", "--config", _config()]), "nothing to change\n")
    ksft_in("sriov_numvfs: 0 again", _tool(["release"]))
    ksft_eq(_seen(cfg), before)
    ksft_eq(_tool(["release"]), "nothing to change\n")


def _settings(cfg):
    """ What the host has set of VF 0. What the PF counts of it is read every other second. """
    return {k: v for k, v in cfg.vf_info(0).items() if k != "stats"}


def release_vfs_that_were_there(cfg):
    """ VFs that an operator has made stay, with what they had. """
    load_module(cfg.vf_module)
    cfg.create_vfs(2, claim=0)
    defer(cfg.remove_vfs)
    cfg.vf_set(0, "mac 02:82:59:a0:00:77")
    cfg.vf_set(0, "vlan 9 qos 2")
    before, driver = _settings(cfg), cfg.pci.vf(0).driver
    ksft_eq(driver, module_name(cfg.vf_module))
    _tool(["prepare", "--config", _config()])
    ksft_ne(_settings(cfg), before)
    _tool(["release"])
    ksft_eq(_settings(cfg), before)
    ksft_eq(cfg.pci.vf(0).driver, driver)


def all_reasons_and_nothing_changed(cfg):
    """ What cannot be done is refused before the first change, or taken back. """
    before = _seen(cfg)
    bad = TOML.replace(MAC, cfg.pf.mac())
    ksft_in("the PF has", _tool(["prepare", "--config", _config(bad)], code=1))
    ksft_in("1 to 63", _tool(["prepare", "--vfs", "64"], code=2))
    ksft_in("nothing is wanted", _tool(["prepare"], code=2))
    # No such driver: the number of VFs is as it was.
    out = _tool(["prepare", "--vfs", "1", "--vf", "0,driver=no_such_driver"], code=1)
    ksft_in("nothing was changed", out)
    ksft_eq(_seen(cfg), before)
    # A driver that does not take a VF: found out when all else is done.
    out = _tool(["prepare", "--vfs", "1", "--vf", f"0,mac={MAC},driver=pcieport"], code=1)
    ksft_in("the host is as it was", out)
    ksft_eq(_seen(cfg), before)
    ksft_true(not any(Path("/run/ixgbe-migrate").glob("*.json")), "no record is left")


def status(cfg):
    """ Who has a VF is shown, and keeps it. """
    _prepare(cfg)
    shown = json.loads(_tool(["status", "--json"]))
    ksft_eq([vf["users"] for vf in shown["vfs"]], [[], []])
    ksft_eq(shown["vfs"][0]["last_move"]["saves"], 0)
    ksft_in("used by: nobody", _tool(["status"]))
    user = VfioUser(cfg.pci.vf(0))
    try:
        shown = json.loads(_tool(["status", "--json"]))["vfs"][0]
        ksft_eq([u["pid"] for u in shown["users"]], [os.getpid()])
        ksft_eq(shown["vfio_state"], "RUNNING" if VFIO_DEBUGFS.exists() else None)
        ksft_in(f"({os.getpid()})", _tool(["release"], code=1))
        other = TOML.replace("vlan = 5", "vlan = 6")
        out = _tool(["prepare", "--config", _config(other)], code=1)
        ksft_in("VF 0 vlan cannot be changed", out)
        out = _tool(["watch", "--vf", "0", "--timeout", "1"], code=2)
    finally:
        user.close()


def _go_to(user, state):
    """ Put the VF into a state of VFIO as QEMU does, with time to see it; the state's bytes. """
    arg = bytearray(struct.pack("IIIi", 16, SET_STATE, state, -1))
    fcntl.ioctl(user.device, VFIO_DEVICE_FEATURE, arg, True)
    time.sleep(0.5)
    data_fd = struct.unpack("IIIi", arg)[3]
    if data_fd < 0:
        return b""
    with open(data_fd, "rb", buffering=0) as f:
        return f.read(1 << 16) if state == STOP_COPY else b""


def watch(cfg):
    """ A move is followed to its end: one that was cancelled, and one that was made. """
    _prepare(cfg)
    for states, code, last in (([PRE_COPY, RUNNING], 1, "cancelled"),
                               ([STOP_COPY, STOP], 0, "has left")):
        user = VfioUser(cfg.pci.vf(0))
        with subprocess.Popen([TOOL, "watch", "--vf", "0", "--timeout", "60"],
                              stdout=subprocess.PIPE, text=True) as proc:
            ksft_in("RUNNING: runs", proc.stdout.readline())
            for state in states:
                _go_to(user, state)
            user.close()
            out = proc.communicate(timeout=60)[0]
        ksft_eq(proc.returncode, code, out)
        ksft_in("PRE_COPY: " if code else "STOP_COPY: ", out)
        ksft_in(last, out.splitlines()[-1])
    moved = json.loads(_tool(["status", "--json"]))["vfs"][0]["last_move"]
    ksft_eq((moved["saves"], moved["refused"]), (1, 0))
    ksft_in("moves: left 1, arrived 0, refused 0, stopped in", _tool(["status"]))


def describe_and_check(cfg):
    """ A host fits its like; what does not fit is told all at once. """
    _prepare(cfg)
    a = json.loads(_tool(["describe", "--json"]))
    ksft_eq((a["version"], a["pf"]["queues_per_pool"], a["pf"]["state_format"]), (1, 4, 1))
    ksft_eq((a["vfs"][0]["mac"], a["vfs"][0]["vlan"]), (MAC, 5))
    ksft_eq((a["iommu"], a["pf"]["mtu_class"], a["pf"]["link"]), (True, "standard", True))
    ksft_true(a["pf"]["mailbox_features"] and a["pf"]["firmware"])
    unseen = [u["what"] for u in a["unknown"] if not u["what"].startswith("guest.")]
    ksft_eq(unseen, [])
    b = json.loads(json.dumps(a))
    b["pf"]["mac"] = "02:82:59:a0:00:99"
    files = [_write(a), _write(b)]
    ksft_eq(_tool(["check", *files]), "VF 0 to VF 0: fits\n")
    out = json.loads(_tool(["check", "--json", "--vf", "0:1", *files], code=1))
    names = {m["name"] for m in out["mismatches"] if m["severity"] == "refused"}
    ksft_eq(names, {"migratable", "vf-driver", "port-vlan", "mac-in-use"})
    _tool(["check", files[0], "/no/such/file"], code=2)
    # The host as it is now: its MTU and link state differ from what it was.
    cmd(f"ip link set {cfg.pf.ifname} vf 0 state disable vlan 0")
    c = json.loads(_tool(["describe", "--json"]))
    c["pf"]["mac"] = b["pf"]["mac"]
    out = json.loads(_tool(["check", "--json", files[0], _write(c)], code=1))
    ksft_eq({m["name"] for m in out["mismatches"]}, {"port-vlan", "link-disabled"})
    cmd(f"ip link set {cfg.pf.ifname} vf 0 state auto vlan 5 qos 1")


def main():
    """ KTAP of this file. """
    if not TOOL.exists():
        raise unmet("ixgbe-migrate is not installed beside this test")
    with IxgbeEnv() as cfg:
        load_module(os.environ.get("KSFT_VFIO_MODULE", "ixgbe-vfio-pci"))
        cases = [prepare_and_release, release_vfs_that_were_there,
                 all_reasons_and_nothing_changed, status, describe_and_check]
        if VFIO_DEBUGFS.exists():
            cases.append(watch)
        ksft_run(cases, args=(cfg,))
    ksft_exit()


if __name__ == "__main__":
    main()
