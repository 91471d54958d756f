#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The C and the Rust drivers beside each other on a host with two cards, all of them installed.
Whatever the order in which they are loaded, each card and each VF has the driver that it was
meant for, and none is left without one.
"""

import ctypes
import errno
import itertools
import os
import shutil
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, ksft_true
from lib.py import ksft_variants, KsftNamedVariant
from lib.py import Expect, PciFunction, cmd, ip, ping, says, unload_module, unmet
from lib.py.ixgbe_env import Endpoint
from lib.py.pci import SYSFS

C, RUST = "ixgbe", "ixgbe_rust"
C_VF, RUST_VF = "ixgbevf", "ixgbevf_rust"
VFIO = "ixgbe_vfio_pci"
# Users of a function before its driver, VFs before their PF.
MODULES = (C_VF, RUST_VF, VFIO, C, RUST)

# 82599 without an external PHY, and with an SFP+ cage; X540, X550: what libixgbe's Board::of_device() knows.
DRIVEN = {"10F7", "10F8", "10F9", "10FC", "1514", "1517", "152A",
          "10FB", "154D", "1557", "1529", "1507", "154A",
          "1528", "1560", "1563", "15D1"}

HERE = Path(__file__).parent
RULES = Path("/run/modprobe.d")
RELEASE = os.uname().release
INSTALLED = Path("/run/beside") / RELEASE


# linux/mount.h
MS_BIND, MNT_DETACH = 0x1000, 2
LIBC = ctypes.CDLL(None, use_errno=True)


def _bind_mount(source, target):
    """ The host of the lab has no mount program. """
    if LIBC.mount(str(source).encode(), target.encode(), None, MS_BIND, None):
        raise OSError(ctypes.get_errno(), f"mounting {source} on {target}")


def _install():
    """ The C modules in kernel/ and ours in updates/, as `make modules_install` does. """
    ours = Path(os.environ.get("KSFT_PF_MODULE", "")).parent
    if not (ours / f"{RUST}.ko").exists():
        raise unmet("this project's modules are needed as files")
    base = Path("/lib/modules") / RELEASE
    for name in (C, C_VF, "vfio-pci"):
        for row in cmd(f"modprobe --show-depends {name}").stdout.splitlines():
            kind, *path = row.split()
            if kind == "insmod":
                to = INSTALLED / Path(path[0]).relative_to(base)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path[0], to)
    for file in base.glob("modules.builtin*"):
        shutil.copy(file, INSTALLED)
    shutil.copy(base / "modules.order", INSTALLED)
    (INSTALLED / "updates").mkdir(exist_ok=True)
    # By name: a folder that is built again and again may have files of former names.
    for name in (RUST, RUST_VF, "ixgbe-vfio-pci"):
        shutil.copy(ours / f"{name}.ko", INSTALLED / "updates")
    _bind_mount(INSTALLED.parent, "/lib/modules")
    cmd("depmod")


class Cards:
    """ Two PFs, each in a namespace of its own when it has an interface. """

    def __init__(self):
        found = [PciFunction(p.name) for p in sorted(SYSFS.iterdir())
                 if (p / "sriov_totalvfs").exists() and
                 (p / "vendor").read_text().strip() == "0x8086"]
        if len(found) != 2:
            raise unmet(f"two cards are needed, there are {len(found)}")
        self.pfs = found

    @property
    def drivers(self):
        """ Names of the drivers, None where there is none. """
        return [pf.driver for pf in self.pfs]

    def clear(self):
        """ No drivers, no VFs, no choice of a driver, no rules. """
        for pf in self.pfs:
            pf.write("sriov_drivers_autoprobe", 1)
        for module in MODULES[:3]:
            unload_module(module)
        for pf in self.pfs:
            if pf.driver:
                pf.set_numvfs(0)
        for module in MODULES[3:]:
            unload_module(module)
        for pf in self.pfs:
            pf.write("driver_override", "\n")
        shutil.rmtree(RULES, ignore_errors=True)
        for path in Path("/run/netns").glob("beside*"):
            ip(f"netns del {path.name}")

    def coldplug(self):
        """ As udev at boot: for each device all modules of its alias but the blacklisted. """
        for pf in self.pfs:
            cmd(f"modprobe -b -a {pf.read('modalias')}")

    @staticmethod
    def ends(functions):
        """ The interfaces of @functions, each up in a namespace of its own. """
        ends = []
        for number, function in enumerate(functions, 1):
            ns = f"beside{number}"
            if not Path(f"/run/netns/{ns}").exists():
                ip(f"netns add {ns}")
                ip("link set lo up", ns=ns)
            here = function.netdev()
            if here:
                ip(f"link set dev {here} netns {ns}")
            name = next(link["ifname"] for link in ip("-d link show", json=True, ns=ns)
                        if link.get("parentdev") == function.bdf)
            end = Endpoint(ns, name, ns, number)
            end.set_addrs()
            end.link("up")
            ends.append(end)
        for end in ends:
            end.wait_carrier()
        return ends

    def pass_traffic(self, functions=None):
        """ Each of @functions, or each card, reaches each other one. """
        for a, b in itertools.combinations(self.ends(functions or self.pfs), 2):
            for src, dst in ((a, b), (b, a)):
                # The first frame of an interface teaches the switch its address.
                reached = any(ping(src, dst, fail=False) for _ in range(20))
                ksft_true(reached, f"{src} reaches {dst}")


def _load(*modules):
    for module in modules:
        cmd(f"modprobe {module}")


def _rule(name):
    RULES.mkdir(exist_ok=True)
    shutil.copy(HERE / name, RULES)


ORDERS = ksft_variants([KsftNamedVariant("c_first", (C, RUST)),
                        KsftNamedVariant("rust_first", (RUST, C))])


def names(_):
    """ Nothing is displaced; the tables name what is driven, and the C drivers know it too. """
    for module in (C, C_VF):
        path = cmd(f"modinfo -n {module}").stdout
        ksft_in("/kernel/", path)
    for module in (RUST, RUST_VF):
        ksft_in("/updates/", cmd(f"modinfo -n {module}").stdout)

    def ids(module):
        rows = cmd(f"modinfo -F alias {module}").stdout.split()
        return {row.partition("d0000")[2][:4] for row in rows if row.startswith("pci:v00008086")}
    ksft_eq(ids(RUST), DRIVEN)
    ksft_eq(ids(RUST) - ids(C), set())
    ksft_eq(ids(RUST_VF), {"10ED", "1515", "1565"})
    ksft_eq(ids(VFIO), set(), "only by driver_override")


@ORDERS
def first_takes_both(cards, order):
    """ Without a rule the first driver takes both cards, and the second one none from it. """
    cards.clear()
    _load(*order)
    ksft_eq(cards.drivers, [order[0]] * 2)
    cards.pass_traffic()


@ksft_variants([KsftNamedVariant(f"{'c' if order[0] == C else 'rust'}_first_{i}", order, want)
                for order in ((C, RUST), (RUST, C))
                for i, want in enumerate(((C, RUST), (RUST, C)))])
def override(cards, order, want):
    """ driver_override is stronger than the order of loading. """
    cards.clear()
    for pf, driver in zip(cards.pfs, want):
        pf.write("driver_override", driver)
    _load(*order)
    ksft_eq(cards.drivers, list(want))
    cards.pass_traffic()


@ksft_variants([KsftNamedVariant("coldplug", None), KsftNamedVariant("by_name", C)])
def rule_rust_first(cards, module):
    """ With the rule the Rust driver takes what it drives, whoever is asked for. """
    cards.clear()
    _rule("ixgbe-rust-first.conf")
    if module:
        _load(module)
    else:
        cards.coldplug()
    ksft_eq(cards.drivers, [RUST] * 2)
    ksft_true(Path(f"/sys/module/{C}").exists(), "the C driver is there for other cards")


def rule_without_module(cards):
    """ Where the Rust module is not there, the host keeps its network by the C driver. """
    cards.clear()
    _rule("ixgbe-rust-first.conf")
    file, aside = INSTALLED / f"updates/{RUST}.ko", INSTALLED.parent / "aside"
    file.rename(aside)
    try:
        cmd("depmod")
        cards.coldplug()
    finally:
        aside.rename(file)
        cmd("depmod")
    ksft_eq(cards.drivers, [C] * 2)


def rule_c_first(cards):
    """ The reverse rule: the Rust driver has what driver_override names. """
    cards.clear()
    _rule("ixgbe-c-first.conf")
    cards.coldplug()
    ksft_eq(cards.drivers, [C] * 2)
    ksft_true(not Path(f"/sys/module/{RUST}").exists(), "blacklisted")
    cards.clear()
    _rule("ixgbe-c-first.conf")
    _load(RUST)
    ksft_eq(cards.drivers, [C] * 2)
    cards.pfs[1].override(RUST)
    ksft_eq(cards.drivers, [C, RUST])
    cards.pass_traffic()


@ORDERS
def there_and_back(cards, order):
    """ One card goes to the other driver and back; the other card goes on. """
    cards.clear()
    _load(*order)
    ends = cards.ends(cards.pfs)
    index = ends[1].info()["ifindex"]
    for driver in (order[1], order[0]):
        cards.pfs[0].override(driver)
        ksft_eq(cards.drivers, [driver, order[0]])
        cards.pass_traffic()
    ksft_eq(cards.ends(cards.pfs)[1].info()["ifindex"], index, "the other interface")
    # By hand, without override: unbind, bind.
    cards.pfs[0].write("driver_override", "\n")
    cards.pfs[0].unbind()
    ksft_eq(cards.drivers[0], None)
    cards.pfs[0].bind(order[1])
    ksft_eq(cards.drivers, [order[1], order[0]])
    cards.pass_traffic()


@ksft_variants([KsftNamedVariant("c_first", (C_VF, RUST_VF)),
                KsftNamedVariant("rust_first", (RUST_VF, C_VF))])
def vfs(cards, order):
    """ VFs of both PF drivers, one of each VF driver; they reach each other. """
    cards.clear()
    cards.pfs[0].write("driver_override", C)
    cards.pfs[1].write("driver_override", RUST)
    _load(C, RUST)
    # A PF answers its VFs only when it is up.
    cards.ends(cards.pfs)
    for pf in cards.pfs:
        pf.write("sriov_drivers_autoprobe", 0)
        pf.set_numvfs(2)
    both = [pf.vf(i) for pf in cards.pfs for i in range(2)]
    _load(*order)
    ksft_eq([vf.driver for vf in both], [None] * 4)
    want = [C_VF, RUST_VF] * 2
    for vf, driver in zip(both, want):
        vf.override(driver)
    ksft_eq([vf.driver for vf in both], want)
    cards.pass_traffic(cards.pfs + both)
    # Back to the order of loading: none is left without a driver.
    for vf in both:
        vf.unbind()
    for pf in cards.pfs:
        pf.set_numvfs(0)
        pf.write("sriov_drivers_autoprobe", 1)
        pf.set_numvfs(2)
    ksft_eq([pf.vf(i).driver for pf in cards.pfs for i in range(2)], [order[0]] * 4)


def variant_driver(cards):
    """ Migration needs our PF driver: a VF of the C PF is refused, with a reason. """
    cards.clear()
    cards.pfs[0].write("driver_override", C)
    cards.pfs[1].write("driver_override", RUST)
    # The variant driver's module brings the PF driver that it needs.
    _load(C, VFIO)
    ksft_eq(cards.drivers, [C, RUST])
    for pf in cards.pfs:
        pf.write("sriov_drivers_autoprobe", 0)
        pf.set_numvfs(1)
    foreign, ours = (pf.vf(0) for pf in cards.pfs)
    foreign.write("driver_override", VFIO)
    reason = says(foreign, "refused: live migration needs the driver ixgbe_rust on the PF")
    with Expect(reason) as log:
        try:
            foreign.bind(VFIO)
            ksft_true(False, "was bound")
        except OSError as e:
            ksft_eq(e.errno, errno.ENODEV)
        ksft_eq(len(log.matching(foreign.bdf)), 1, "one line")
    ksft_eq(foreign.driver, None)
    ours.override(VFIO)
    ksft_eq(ours.driver, VFIO)
    # Plain VFIO takes it.
    _load("vfio-pci")
    foreign.override("vfio-pci")
    ksft_eq(foreign.driver, "vfio-pci")
    # And so does this project's, once the PF has our driver.
    foreign.unbind()
    cards.pfs[0].override(RUST)
    cards.pfs[0].set_numvfs(1)
    again = cards.pfs[0].vf(0)
    again.override(VFIO)
    ksft_eq(again.driver, VFIO)


def main():
    """ KTAP of this file. """
    _install()
    cards = Cards()
    try:
        ksft_run([names, first_takes_both, override, rule_rust_first, rule_without_module,
                  rule_c_first, there_and_back, vfs, variant_driver], args=(cards,))
    finally:
        cards.clear()
        LIBC.umount2(b"/lib/modules", MNT_DETACH)
    ksft_exit()


if __name__ == "__main__":
    main()
