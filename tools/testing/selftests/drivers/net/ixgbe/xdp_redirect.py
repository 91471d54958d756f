#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
XDP_REDIRECT from and to the PF, and from a VF; what the kernel's xdp.py does not try.
Each frame that a program takes arrives where it was sent, byte by byte, and only there.
"""

import errno

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_true
from lib.py import Frame, IxgbeEnv, KernelLog, KsftSkipEx, NetNSEnter, PacketSocket, cmd, defer, \
    ip, verify_tcp
from lib.py import bpf
from lib.py.wire import ETH_P_TEST

FRAMES = 300


def _attach(end, code):
    """ Attach, and detach at the end of the test. """
    def act(code):
        if end.ns:
            with NetNSEnter(end.ns):
                return bpf.attach(end.ifname, code)
        return bpf.attach(end.ifname, code)
    ksft_eq(act(code), 0)
    defer(act, None)


def _veth(ns=None):
    """ A pair of virtual interfaces, of which the second takes frames as XDP hands them over. """
    names = ("xr0", "xr1")
    ip(f"link add {names[0]} type veth peer name {names[1]}", ns=ns)
    defer(ip, f"link del {names[0]}", ns=ns)
    for name in names:
        cmd(f"ethtool -K {name} gro on", ns=ns)
        ip(f"link set dev {name} up", ns=ns)
    return names


def _pass(tx, rx, frames):
    """ Send @frames, a few at a time so that no queue overflows; how many arrive, as they were. """
    good = 0
    for i in range(0, len(frames), 16):
        part = frames[i:i + 16]
        for frame in part:
            tx.send(frame)
        for frame, got in zip(part, rx.collect(part, 3)):
            good += bool(got and got.payload.startswith(frame.payload))
    return good


def _frames(dst, src):
    return [Frame(dst, src, size=46 + 13 * i % 1400) for i in range(FRAMES)]


def pf_to_itself(cfg):
    """ What the PF receives goes out again by the PF. """
    log = KernelLog()
    _attach(cfg.pf, bpf.redirects(cfg.pf.ifname, ETH_P_TEST, swap=True))
    cfg.settle(cfg.pf)
    with PacketSocket(cfg.peer.ifname, cfg.peer.ns) as sock:
        ksft_eq(_pass(sock, sock, _frames(cfg.pf.mac(), cfg.peer.mac())), FRAMES)
    # The stack's own traffic passes by the program.
    verify_tcp(cfg.pf, cfg.peer, 500000)
    ksft_eq(log.faults(), [])


def pf_to_veth(cfg):
    """ What the PF receives goes to a virtual interface. """
    left, right = _veth()
    _attach(cfg.pf, bpf.redirects(left, ETH_P_TEST, swap=False))
    cfg.settle(cfg.pf)
    with PacketSocket(cfg.peer.ifname, cfg.peer.ns) as tx, PacketSocket(right) as rx:
        ksft_eq(_pass(tx, rx, _frames(cfg.pf.mac(), cfg.peer.mac())), FRAMES)
    verify_tcp(cfg.pf, cfg.peer, 500000)


def veth_to_pf(cfg):
    """ What a virtual interface receives goes out by the PF, while its stack sends as well. """
    left, right = _veth()
    _attach(cfg.pf, bpf.passes())
    cfg.settle(cfg.pf)
    ksft_eq(bpf.attach(right, bpf.redirects(cfg.pf.ifname, ETH_P_TEST, swap=False)), 0)
    with PacketSocket(left) as tx, PacketSocket(cfg.peer.ifname, cfg.peer.ns) as rx:
        ksft_eq(_pass(tx, rx, _frames(cfg.peer.mac(), cfg.pf.mac())), FRAMES)
    verify_tcp(cfg.pf, cfg.peer, 500000)


def pf_down_and_up(cfg):
    """ A program outlives a reset, and the queues that it needs do so with it. """
    _attach(cfg.pf, bpf.redirects(cfg.pf.ifname, ETH_P_TEST, swap=True))
    cfg.pf.down()
    cfg.pf.set_addrs()
    cfg.pf.up()
    cfg.settle(cfg.pf)
    with PacketSocket(cfg.peer.ifname, cfg.peer.ns) as sock:
        ksft_eq(_pass(sock, sock, _frames(cfg.pf.mac(), cfg.peer.mac())), FRAMES)


def no_program_with_vfs(cfg):
    """ A program and VFs exclude each other on the PF, whichever was first. """
    cfg.create_vfs(1, claim=0)
    ksft_eq(bpf.attach(cfg.pf.ifname, bpf.passes()), errno.EINVAL)
    cfg.remove_vfs()
    _attach(cfg.pf, bpf.passes())
    try:
        cfg.pci.write("sriov_numvfs", 1)
        ksft_true(False, "VFs beside a program")
    except OSError as e:
        ksft_eq(e.errno, errno.EINVAL)
    cfg.settle(cfg.pf)


def vf_to_veth(cfg):
    """ What a VF receives goes to a virtual interface. """
    if "/" not in cfg.vf_module:
        raise KsftSkipEx("the C driver of the VF does not redirect")
    cfg.create_vfs(1)
    defer(cfg.remove_vfs)
    vf = cfg.vfs[0]
    left, right = _veth(vf.ns)
    with NetNSEnter(vf.ns):
        code = bpf.redirects(left, ETH_P_TEST, swap=False)
    _attach(vf, code)
    cfg.settle(vf)
    with PacketSocket(cfg.peer.ifname, cfg.peer.ns) as tx, PacketSocket(right, vf.ns) as rx:
        ksft_ge(_pass(tx, rx, _frames(vf.mac(), cfg.peer.mac())), FRAMES)
    verify_tcp(vf, cfg.peer, 500000)


def main():
    with IxgbeEnv() as cfg:
        ksft_run([pf_to_itself, pf_to_veth, veth_to_pf, pf_down_and_up, no_program_with_vfs,
                  vf_to_veth], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
