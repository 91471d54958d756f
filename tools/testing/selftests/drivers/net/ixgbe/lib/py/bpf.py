# SPDX-License-Identifier: GPL-2.0

""" XDP programs of a few instructions, without a compiler. """

import ctypes
import os
import platform
import socket
import struct

from .rawnl import nest, nla, setlink

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_PROG_LOAD, BPF_PROG_TYPE_XDP = 5, 6
XDP_DROP, XDP_PASS, XDP_TX = 1, 2, 3
FN_REDIRECT = 23
IFLA_XDP, IFLA_XDP_FD, IFLA_XDP_FLAGS, XDP_FLAGS_DRV_MODE = 43, 1, 3, 1 << 2


def _insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, src << 4 | dst, off, imm)


def _load(size, dst, src, off):
    return _insn({2: 0x69, 4: 0x61}[size], dst, src, off)


def _store(size, dst, src, off):
    return _insn({2: 0x6b, 4: 0x63}[size], dst, src, off)


def _return(value):
    return _insn(0xb7, 0, imm=value) + _insn(0x95)


def passes():
    """ A program that lets everything pass. """
    return _return(XDP_PASS)


def redirects(ifname, etype, swap):
    """ Frames of @etype go to the interface @ifname, their addresses swapped if @swap; others pass. """
    act = b""
    if swap:
        for size, dst, src in ((4, 0, 6), (2, 4, 10)):
            act += _load(size, 3, 7, dst) + _load(size, 4, 7, src)
            act += _store(size, 7, 4, dst) + _store(size, 7, 3, src)
    act += _insn(0xb7, 1, imm=socket.if_nametoindex(ifname)) + _insn(0xb7, 2)
    act += _insn(0x85, imm=FN_REDIRECT) + _insn(0x95)
    # r7 data, r8 its end; a frame has a header.
    head = _load(4, 7, 1, 0) + _load(4, 8, 1, 4)
    head += _insn(0xbf, 2, 7) + _insn(0x07, 2, imm=14)
    rest = _load(2, 3, 7, 12) + _insn(0x55, 3, off=len(act) // 8, imm=socket.htons(etype)) + act
    return head + _insn(0x2d, 2, 8, off=len(rest) // 8) + rest + passes()


def load(code):
    """ Load a program; its file descriptor. """
    libc = ctypes.CDLL(None, use_errno=True)
    insns, licence = ctypes.create_string_buffer(code, len(code)), ctypes.c_char_p(b"GPL")
    log = ctypes.create_string_buffer(1 << 16)
    attr = struct.pack("<IIQQIIQ", BPF_PROG_TYPE_XDP, len(code) // 8, ctypes.addressof(insns),
                       ctypes.cast(licence, ctypes.c_void_p).value, 1, len(log),
                       ctypes.addressof(log))
    buf = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    fd = libc.syscall(SYS_BPF, BPF_PROG_LOAD, buf, 128)
    if fd < 0:
        raise OSError(ctypes.get_errno(), log.value.decode())
    return fd


def attach(ifname, code):
    """ Attach a program in the driver, or detach it (None). Returns 0 or the errno. """
    fd = load(code) if code else -1
    try:
        return setlink(ifname, nest(IFLA_XDP, nla(IFLA_XDP_FD, struct.pack("=i", fd)),
                                    nla(IFLA_XDP_FLAGS, struct.pack("=I", XDP_FLAGS_DRV_MODE))))
    finally:
        if fd >= 0:
            os.close(fd)
