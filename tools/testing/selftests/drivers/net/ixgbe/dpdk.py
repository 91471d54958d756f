#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
DPDK drives a function of the card: its VF driver beside the PF driver, its PF driver on the
model. It shares no code with the kernel's drivers or with this project's.
"""

import queue
import re
import shutil
import subprocess
import threading
import time

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_in, ksft_lt
from lib.py import ksft_variants, KsftNamedVariant
from lib.py import PATIENCE, IxgbeEnv, cmd, defer, ip, module_name, ping, to_vfio, unmet

TESTPMD = "dpdk-testpmd"
# Of nobody in the test network: icmpecho answers whoever is asked for.
HOST = 77
PINGS = 20


class Testpmd:
    """ DPDK's testpmd with one port, a function that vfio-pci has. Its ports are started. """

    def __init__(self, function, *args, devargs=""):
        self._function = function
        to_vfio(function)
        # No huge pages: with an IOMMU any memory will do.
        self._proc = subprocess.Popen(
            # Line by line, for it is read.
            ["stdbuf", "-oL", TESTPMD, "--no-huge", "-m", "192", "--iova-mode=va",
             "--no-telemetry", "-l", "0,1", "-a", function.bdf + devargs,
             "--", "-i", "--forward-mode=icmpecho", "--total-num-mbufs=4096", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines = queue.Queue()
        self.said = []
        threading.Thread(target=self._read, daemon=True).start()
        self.wait("Press enter to exit|Done$")

    def _read(self):
        for line in self._proc.stdout:
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def wait(self, pattern, deadline=2 * PATIENCE):
        """ The next line that has @pattern. """
        end = time.monotonic() + deadline
        while True:
            try:
                line = self._lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise TimeoutError(f"no {pattern!r} from testpmd:\n" + "\n".join(self.said[-30:]))
            self.said.append(line)
            if re.search(pattern, line):
                return line

    def ask(self, command):
        """ What it answers. """
        # A command that does not exist is the end of the answer.
        self._proc.stdin.write(f"{command}\nthe-end\n")
        self._proc.stdin.flush()
        first = len(self.said)
        self.wait("Command not found|Bad arguments")
        return "\n".join(self.said[first:-1])

    def info(self):
        """ What is known of the port and its link. """
        return self.ask("show port info 0")

    def wait_link(self, up=True):
        """ Until DPDK sees the link up, or down. """
        want = f"Link status: {'up' if up else 'down'}"
        end = time.monotonic() + PATIENCE
        while want not in (text := self.info()):
            if time.monotonic() > end:
                raise TimeoutError(f"no {want!r}:\n{text}")
            time.sleep(0.2)

    def stats(self):
        """ The port's counters. """
        text = self.ask("show port stats 0")
        return {k: int(v) for k, v in re.findall(r"([RT]X-[a-z]+):\s+(\d+)", text)}

    def release(self):
        """ End it: nobody has the function then. """
        if self._function.driver != "vfio-pci":
            return
        if self._proc.poll() is None:
            self._proc.stdin.write("quit\n")
            self._proc.stdin.close()
            try:
                self._proc.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._proc.kill()
                self._proc.wait()
        self._function.unbind()
        self._function.write("driver_override", "\n")


def _start(function, *args, devargs=""):
    """ testpmd with this function and its link, until the end of the test. """
    pmd = Testpmd(function, *args, devargs=devargs)
    defer(pmd.release)
    pmd.ask("start")
    pmd.wait_link()
    return pmd


def _ping(end, size=56, count=PINGS, mac=None, wait=PATIENCE):
    """ How many of some echo requests were answered, by who has this address or @mac. """
    to = end.addr("4").rsplit(".", 1)[0] + f".{HOST}"
    # Who answered for this address before had another MAC.
    cmd(f"ip neigh flush to {to} dev {end.ifname} nud all", ns=end.ns, fail=False)
    if mac:
        ip(f"neigh replace {to} lladdr {mac} dev {end.ifname} nud permanent", ns=end.ns)
    out = cmd(f"ping -c {count} -i 0.05 -W {wait} -s {size} -M do {to}", ns=end.ns,
              fail=False, timeout=4 * PATIENCE).stdout
    return int(re.search(r"(\d+) received", out).group(1))


@ksft_variants([KsftNamedVariant(name, name) for name in ("peer", "vf0", "pf")])
def vf_answers(cfg, name):
    """ Frames from the wire, from another VF and from the PF come to a VF of DPDK, and back. """
    pmd = _start(cfg.vfs[1].pci)
    end = cfg.endpoint(name)
    for size in 56, 1472:
        ksft_eq(_ping(end, size), PINGS, f"{size} bytes")
    stats = pmd.stats()
    ksft_ge(stats["RX-packets"], 2 * PINGS)
    ksft_ge(stats["TX-packets"], 2 * PINGS)
    ksft_eq((stats["RX-errors"], stats["TX-errors"], stats["RX-missed"]), (0, 0, 0))


def vf_link(cfg):
    """ A VF of DPDK sees its link and speed. """
    text = _start(cfg.vfs[1].pci).info()
    ksft_in("Link speed: 10 Gbps", text)
    ksft_in("Link duplex: full-duplex", text)


@ksft_variants([
    KsftNamedVariant("one_buffer", "--mbuf-size=10368"),
    # RTE_ETH_TX_OFFLOAD_MULTI_SEGS, without which the answer would be its first buffer.
    KsftNamedVariant("buffers", "--enable-scatter", "--tx-offloads=0x8000"),
])
def vf_jumbo(cfg, *args):
    """ Long frames, in one buffer or in several. """
    cfg.set_mtu(9000)
    defer(cfg.set_mtu, 1500)
    pmd = _start(cfg.vfs[1].pci, "--max-pkt-len=9018", *args)
    answers = _ping(cfg.peer, 8972)
    ksft_eq(answers, PINGS, pmd.ask("show port stats 0") + pmd.info())


def vf_vlan(cfg):
    """ A VLAN is heard from when DPDK asks for it. """
    vlan = cfg.peer.add_vlan(100)
    defer(vlan.delete)
    pmd = _start(cfg.vfs[1].pci)
    pmd.ask("vlan set filter on 0")
    ksft_eq(_ping(vlan, count=3, wait=2), 0)
    pmd.ask("rx_vlan add 100 0")
    ksft_eq(_ping(vlan), PINGS)


def vf_address(cfg):
    """ Another address, and one more, by DPDK's words to the PF. """
    pmd = _start(cfg.vfs[1].pci)
    for command, mac in (("mac_addr set 0", "02:00:5e:00:77:01"),
                         ("mac_addr add 0", "02:00:5e:00:77:02")):
        said = pmd.ask(f"{command} {mac}")
        ksft_eq(_ping(cfg.peer, mac=mac), PINGS, said)


def vf_is_not_promiscuous(cfg):
    """ testpmd asks for all frames: a VF that is not trusted does not get its neighbour's. """
    pmd = _start(cfg.vfs[1].pci)
    ping(cfg.peer, cfg.vfs[0])
    pmd.ask("clear port stats 0")
    cmd(f"ping -c {PINGS} -i 0.05 {cfg.vfs[0].addr('4')}", ns=cfg.peer.ns)
    ksft_lt(pmd.stats()["RX-packets"], PINGS)


def vf_lives_on(cfg):
    """ The PF goes down and comes: DPDK hears of it, resets its port, and goes on. """
    # Without it DPDK takes a link that the card has for one that the PF grants.
    pmd = _start(cfg.vfs[1].pci, devargs=",pflink_fullchk=1")
    ksft_eq(_ping(cfg.peer), PINGS)
    defer(cfg.pf.up)
    cfg.pf.down()
    pmd.wait_link(up=False)
    cfg.pf.up()
    for command in "stop", "port stop 0", "port reset 0", "port start 0", "start":
        pmd.ask(command)
    pmd.wait_link()
    ksft_eq(_ping(cfg.peer), PINGS)


def vf_comes_again(cfg):
    """ A VF is taken by DPDK, by the kernel, and again. """
    for _ in range(3):
        pmd = _start(cfg.vfs[1].pci)
        ksft_eq(_ping(cfg.peer, count=5), 5)
        pmd.release()
        cfg.vfs[1].pci.bind(module_name(cfg.vf_module))
        cfg.vfs[1].claim()
        cfg.vfs[1].up()
        cfg.settle(cfg.vfs[1])
        ping(cfg.vfs[1], cfg.peer)


def pf_answers(cfg):
    """ DPDK's driver of the PF, on the model. """
    cfg.remove_vfs()
    defer(cfg.load_pf)
    pmd = _start(cfg.pci)
    ksft_in("Link speed: 10 Gbps", pmd.info())
    for size in 56, 1472:
        ksft_eq(_ping(cfg.peer, size), PINGS, f"{size} bytes")
    stats = pmd.stats()
    ksft_ge(stats["RX-packets"], 2 * PINGS)
    ksft_eq((stats["RX-errors"], stats["TX-errors"]), (0, 0))


def main():
    if not shutil.which(TESTPMD):
        raise unmet("no dpdk-testpmd")
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([vf_answers, vf_link, vf_jumbo, vf_vlan, vf_address, vf_is_not_promiscuous,
                  vf_lives_on, vf_comes_again, pf_answers], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
