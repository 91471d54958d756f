# SPDX-License-Identifier: GPL-2.0

"""
The machine under test: one PF in the initial namespace, its VFs in namespaces of
their own, and a peer at the other end of the wire.

                 +-----------+  +-----------+
                 | netns vf0 |  | netns vf1 |
                 |    VF 0   |  |    VF 1   |
                 +-----+-----+  +-----+-----+     +------------------+
    init netns  PF ----+---- 82599 ---+---- wire -+ peer (virtio-net,|
                                                  |  netns peer)     |
                                                  +------------------+
"""

import os
import time
from pathlib import Path

from net.lib.py import cmd, ethtool, ip

from .klog import Expect, KernelLog
from .pci import PciFunction, load_module, module_name, unload_module
from .strict import PATIENCE, unmet
from .wire import Frame, PacketSocket, crosses, multicast_hash

# No driver's DMA mapping lies here: the DMA API hands out addresses below 4 GiB from the top
# down, and page 0x10 is never used.
STRAY = 0x10000

# Transmit queue 0 of a VF, 82599 datasheet section 8.3.
VFTDBAL, VFTDBAH, VFTDH, VFTDT, VFTXDCTL = 0x2000, 0x2004, 0x2010, 0x2018, 0x2028
ENABLE = 1 << 25

# Lines of the report of a bus error, for says() (aer_print_error() in drivers/pci/pcie/aer.c).
AER_REPORT = "PCIe Bus Error|AER|device .8086:|[[][ 0-9]+[]]|TLP Header"

# Networks for documentation, by number: 0 is the plain one, 1 that of a VLAN.
V4 = ("192.0.2.", "198.51.100.")
V6 = ("2001:db8::", "2001:db8:1::")
PEER_NS = "peer"


def says(pci, what):
    """ For Expect: the driver of function @pci says @what, a regular expression. """
    return f"^ixgbe[a-z_]* {pci.bdf}.*({what})"


class Endpoint:
    """ One interface with an address, in a namespace (None: the initial one). """

    def __init__(self, name, ifname, ns, host, net=0):
        self.name, self.ifname, self.ns, self.host = name, ifname, ns, host
        self.net = net

    def __repr__(self):
        return self.name

    def addr(self, ipver):
        """ Our address in IP version @ipver ("4" or "6"). """
        return (V4 if ipver == "4" else V6)[self.net] + str(self.host)

    def set_addrs(self):
        """ Give the interface its addresses. """
        ip(f"addr replace {self.addr('4')}/24 dev {self.ifname}", ns=self.ns)
        ip(f"-6 addr replace {self.addr('6')}/64 dev {self.ifname} nodad", ns=self.ns)

    def on_net(self, net):
        """ The same interface with an address of network @net as well. """
        other = Endpoint(f"{self.name}@{net}", self.ifname, self.ns, self.host, net)
        other.set_addrs()
        return other

    def add_vlan(self, vid):
        """ A VLAN interface on this one, up, with an address of the VLAN network. """
        vlan = Endpoint(f"{self.name}.{vid}", f"v{vid}{self.name}", self.ns, self.host, 1)
        ip(f"link add link {self.ifname} name {vlan.ifname} type vlan id {vid}", ns=self.ns)
        vlan.set_addrs()
        vlan.link("up")
        return vlan

    def delete(self):
        """ Remove a virtual interface. """
        ip(f"link del dev {self.ifname}", ns=self.ns)

    def link(self, args):
        """ ip link set """
        ip(f"link set dev {self.ifname} {args}", ns=self.ns)

    def info(self):
        """ ip -d -s link show, parsed. """
        return ip(f"-d -s link show dev {self.ifname}", json=True, ns=self.ns)[0]

    def mac(self):
        """ The MAC address in use. """
        return self.info()["address"]

    def carrier(self):
        """ Whether the link is up. """
        return "LOWER_UP" in self.info()["flags"]

    def carrier_changes(self):
        """ How often the link went or came. """
        return int(cmd(f"cat /sys/class/net/{self.ifname}/carrier_changes", ns=self.ns).stdout)

    def _sends(self):
        """
        Whether the link is up and the core has seen that: from a work, which attaches the queues
        (linkwatch_do_dev()). What is sent before is dropped without a word. An interface whose
        link never changed is in state UNKNOWN.
        """
        info = self.info()
        return "LOWER_UP" in info["flags"] and info["operstate"] in ("UP", "UNKNOWN")

    def wait_carrier(self, up=True, deadline=PATIENCE):
        """ Wait until the link is up, and frames can be sent, or until it is down. """
        end = time.monotonic() + deadline
        while (not self._sends()) if up else self.carrier():
            if time.monotonic() > end:
                raise TimeoutError(f"{self}: link is not {'up' if up else 'down'}")
            time.sleep(0.05)

    def wait_address(self, mac, deadline=PATIENCE):
        """ Wait until the driver has taken this MAC address. """
        end = time.monotonic() + deadline
        while self.mac() != mac:
            if time.monotonic() > end:
                raise TimeoutError(f"{self}: address is {self.mac()}, not {mac}")
            time.sleep(0.1)

    def up(self):
        """ Bring the interface up and wait for the link. """
        self.link("up")
        self.wait_carrier()

    def down(self):
        """ Bring the interface down. """
        self.link("down")

    def set_mtu(self, mtu):
        """ Change the MTU. """
        self.link(f"mtu {mtu}")

    def state(self):
        """ What tells why it passes no frames: neighbours, counters, interrupts. """
        stats = [line.strip() for line in cmd(f"ethtool -S {self.ifname}", ns=self.ns, fail=False)
                 .stdout.splitlines() if not line.endswith(": 0")]
        with open("/proc/interrupts", encoding="utf-8") as f:
            irqs = [" ".join(line.split()) for line in f if self.ifname in line]
        neigh = ip("neigh", ns=self.ns).stdout
        return "\n".join([f"{self}:", neigh, str(self.info()), str(stats), *irqs])

    def stats(self):
        """ ethtool -S as a dictionary. """
        out = {}
        for line in ethtool(f"-S {self.ifname}", ns=self.ns).stdout.splitlines():
            key, _, value = line.partition(":")
            if value.strip().isdigit():
                out[key.strip()] = int(value)
        return out

    def features(self, args):
        """ ethtool -K """
        ethtool(f"-K {self.ifname} {args}", ns=self.ns)


class Vf(Endpoint):
    """ A VF: an endpoint that is also a PCI function. """

    def __init__(self, pf, index):
        self.index = index
        self.pci = pf.vf(index)
        super().__init__(f"vf{index}", None, f"vf{index}", 10 + index)

    def claim(self):
        """ Take the net device of the freshly bound VF into our namespace. """
        self.ifname = self.pci.wait_netdev()
        if not Path(f"/run/netns/{self.ns}").exists():
            ip(f"netns add {self.ns}")
            ip("link set lo up", ns=self.ns)
        ip(f"link set dev {self.ifname} netns {self.ns}")
        self.set_addrs()

    def rebind(self):
        """ Unbind and bind the VF driver; the interface is up again afterwards. """
        driver = self.pci.unbind()
        self.pci.bind(driver)
        self.claim()
        self.up()

    def stray_messages(self):
        """ For Expect: what comes of stray_read(), of this VF alone. """
        return f"DMAR: .DMA Read.*device .*{self.pci.bdf[5:]}.*{STRAY:#x}|" + \
            says(self.pci, "NETDEV WATCHDOG")

    def stray_read(self):
        """
        Let the VF fetch a descriptor from memory that it was not given (STRAY). Its queue
        is of no use afterwards, and the PF driver may reset it: rebind it.
        """
        regs = self.pci.map_bar(0)

        def write(reg, value):
            regs[reg // 4] = value
        if not regs[VFTXDCTL // 4] & ENABLE:
            raise AssertionError(f"{self}: queue 0 is not in use")
        write(VFTXDCTL, regs[VFTXDCTL // 4] & ~ENABLE)
        time.sleep(0.01)
        for reg, value in ((VFTDBAL, STRAY), (VFTDBAH, 0), (VFTDH, 0), (VFTDT, 0)):
            write(reg, value)
        write(VFTXDCTL, regs[VFTXDCTL // 4] | ENABLE)
        time.sleep(0.01)
        write(VFTDT, 1)


class IxgbeEnv:
    """
    Environment of a test file. On entry the PF driver is loaded and up, the peer
    reachable; @vfs VFs exist, each up in a namespace of its own.
    """

    def __init__(self, vfs=0):
        self.pf_module = os.environ.get("KSFT_PF_MODULE", "ixgbe")
        self.vf_module = os.environ.get("KSFT_VF_MODULE", "ixgbevf")
        self.log = KernelLog()
        self.vfs = []
        self._want_vfs = vfs
        self.pci = PciFunction.find_pf()
        if self.pci is None:
            raise unmet("no Intel function with SR-IOV")
        self.pf = None
        self.peer = None

    def __enter__(self):
        self.load_pf()
        self._setup_peer()
        if self._want_vfs:
            self.create_vfs(self._want_vfs)
        return self

    def __exit__(self, ex_type, ex_value, ex_tb):
        self.remove_vfs()
        self.pf.set_mtu(1500)

    def load_pf(self):
        """ Load the PF driver if need be, bring its interface up. """
        load_module(self.pf_module)
        if self.pci.driver is None:
            self.pci.bind(module_name(self.pf_module))
        self.pf = Endpoint("pf", self.pci.wait_netdev(), None, 1)
        if int(self.pci.read("sriov_numvfs")):
            self.pci.set_numvfs(0)
        self.pf.set_mtu(1500)
        self.pf.set_addrs()
        self.pf.up()

    def unload_pf(self):
        """ Remove the PF driver. """
        self.remove_vfs()
        unload_module(self.pf_module)
        self.pf = None

    def reload_after_self_test(self):
        """
        Load the C driver again after its offline self test, where the kernel debugs DMA.

        The test's ring starts with one buffer less than it has descriptors, ixgbe_clean_test_rings()
        fills the last one too, and ixgbe_clean_rx_ring() then leaves one out, so that each test keeps a
        page. That is reported when the driver goes, and again whenever a driver goes from that device:
        so the device goes too, and is found anew. kernel/dma/debug.c tells so many errors as num_errors
        says, one unless it is set.
        """
        errors = Path("/sys/kernel/debug/dma-api/num_errors")
        if "/" in self.pf_module or not errors.exists():
            return
        # The warning, its text on the line after it, and the Call Trace of the one report.
        with Expect(f"dma_debug_device_change|DMA-API: [^ ]+ {self.pci.bdf}:.*pending DMA"):
            self.unload_pf()
        self.pci.find_anew()
        errors.write_text("1", encoding="ascii")
        self.load_pf()

    def _setup_peer(self):
        if not Path(f"/run/netns/{PEER_NS}").exists():
            ip(f"netns add {PEER_NS}")
            ip("link set lo up", ns=PEER_NS)
        name = self._virtio_netdev(None)
        if name:
            ip(f"link set dev {name} netns {PEER_NS}")
        name = self._virtio_netdev(PEER_NS)
        if not name:
            raise unmet("no virtio-net interface to be the peer")
        self.peer = Endpoint("peer", name, PEER_NS, 2)
        self.peer.set_addrs()
        self.peer.set_mtu(1500)
        self.peer.up()

    @staticmethod
    def _virtio_netdev(ns):
        for link in ip("-d link show", json=True, ns=ns):
            if link.get("parentbus") == "virtio":
                return link["ifname"]
        return None

    def create_vfs(self, count, claim=None):
        """
        Create @count VFs and bring the first @claim of them (all, if not given) up
        in namespaces of their own.
        """
        self.remove_vfs()
        load_module(self.vf_module)
        self.pci.set_numvfs(count)
        self.vfs = [Vf(self.pci, i) for i in range(count)]
        self.pf.wait_carrier()
        for vf in self.vfs[:claim]:
            vf.claim()
            vf.link("up")
        # The first frame of a VF tells the peer its new MAC address.
        self.settle(*self.vfs[:claim])

    def remove_vfs(self):
        """
        Remove all VFs and their namespaces. Their drivers go first: the PF does not
        answer a VF that it is removing, which then waits a second for each message.
        """
        for vf in self.vfs:
            vf.pci.unbind()
        if int(self.pci.read("sriov_numvfs")):
            self.pci.set_numvfs(0)
        for vf in self.vfs:
            if Path(f"/run/netns/{vf.ns}").exists():
                ip(f"netns del {vf.ns}")
        self.vfs = []

    def endpoints(self, pair):
        """ Endpoints of a pair such as "vf0-peer". """
        return [self.endpoint(name) for name in pair.split("-")]

    def endpoint(self, name):
        """ Endpoint by its name. """
        for end in [self.pf, self.peer, *self.vfs]:
            if end and end.name == name:
                return end
        raise KeyError(name)

    def set_mtu(self, mtu):
        """
        Change the MTU of every interface that has another one. The PF goes first: the
        82599 shuts the receive path of a VF whose frames are larger than the PF's.
        """
        if all(end.info()["mtu"] == mtu for end in (self.peer, self.pf, *self.vfs)):
            return
        self.peer.set_mtu(mtu)
        # The PF resets itself and does not listen to a VF until that has done so too. A
        # VF driver notices by itself, up to ten seconds later; pfreset.py waits for that.
        driver = [vf.pci.unbind() for vf in self.vfs]
        self.pf.set_mtu(mtu)
        self.pf.wait_carrier()
        for vf in self.vfs:
            vf.pci.bind(driver[0])
            vf.claim()
            vf.set_mtu(mtu)
            vf.link("up")
        self.settle()

    def settle(self, *ends, deadline=2 * PATIENCE):
        """
        Wait until these endpoints (the PF and all VFs, if none is named) really pass
        frames again: after a reset of the PF its VFs re-initialise on their own, some
        time after their link came up.
        """
        end = time.monotonic() + deadline
        for one in ends or [self.pf, *(vf for vf in self.vfs if vf.ifname)]:
            one.wait_carrier()
            # Over both: the peer keeps a neighbour's address by protocol, and a new VF has a new MAC.
            for ver in ("4", "6"):
                while True:
                    res = cmd(f"ping -{ver} -q -n -c 1 -W 1 {self.peer.addr(ver)}",
                              ns=one.ns, fail=False)
                    if res.ret == 0:
                        break
                    if time.monotonic() > end:
                        raise TimeoutError(f"{one}: no IPv{ver} traffic: {res.stdout}"
                                           f"{one.state()}\n{self.pf.state()}\n{self.peer.state()}")

    def gets(self, end, dst):
        """ Whether @end gets a frame that the peer sends to @dst. """
        src = self.peer.mac()
        with PacketSocket(end.ifname, end.ns) as rx, \
             PacketSocket(self.peer.ifname, self.peer.ns) as tx:
            return crosses(tx, rx, Frame(dst, src), marker=Frame(end.mac(), src)) is not None

    def gets_soon(self, end, dst, wanted=True):
        """
        The same, once it is as wanted. The core hands a driver its addresses and modes from a work
        (ndo_set_rx_mode_async), and a VF's driver resets itself when it has heard from its PF.
        """
        stop = time.monotonic() + PATIENCE
        while True:
            got = self.gets(end, dst)
            if got == wanted or time.monotonic() > stop:
                return got

    def free_groups(self, count):
        """
        Group addresses of which no two share a bit of the filter with each other, or with a group
        that an interface here is in: IPv6 derives some of those from addresses that are drawn.
        """
        used = {0}
        for end in [self.pf, *(vf for vf in self.vfs if vf.ifname)]:
            for link in ip("maddr show", json=True, ns=end.ns):
                used |= {multicast_hash(group["link"]) for group in link["maddr"] if "link" in group}
        groups = []
        for number in range(1, 1 << 16):
            group = f"01:00:5e:01:{number >> 8:02x}:{number & 0xff:02x}"
            if multicast_hash(group) not in used:
                used.add(multicast_hash(group))
                groups.append(group)
            if len(groups) == count:
                return groups
        raise AssertionError("all bits of the filter are in use")

    def leaves(self, end, src, vlan=None):
        """ Whether a frame of @end with this source and tag gets onto the wire. """
        dst = self.peer.mac()
        with PacketSocket(self.peer.ifname, self.peer.ns, promisc=True) as rx, \
             PacketSocket(end.ifname, end.ns) as tx:
            return crosses(tx, rx, Frame(dst, src, vlan), marker=Frame(dst, end.mac())) is not None

    def vf_set(self, index, args):
        """ ip link set PF vf @index … """
        ip(f"link set dev {self.pf.ifname} vf {index} {args}")

    def set_trust(self, index, on):
        """
        Change whether a VF is trusted, and wait until it has reset itself because of that: until then
        it passes frames by what was true before, and settle() is content.
        """
        vf = self.vfs[index]
        before, end = vf.carrier_changes(), time.monotonic() + PATIENCE / 3
        self.vf_set(index, f"trust {'on' if on else 'off'}")
        while vf.carrier_changes() == before and time.monotonic() < end:
            time.sleep(0.05)
        self.settle()

    def vf_info(self, index):
        """ What the PF says about VF @index. """
        return self.pf.info()["vfinfo_list"][index]
