# SPDX-License-Identifier: GPL-2.0

"""
ethtool's ioctl and rtnetlink by hand: a driver's errno, and nothing that a tool makes
of it. Each function returns 0 or the errno.
"""

import array
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946
NLMSG_ERROR, RTM_SETLINK = 2, 19
NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLA_F_NESTED = 1 << 15


def ethtool_ioctl(ifname, data):
    """ One SIOCETHTOOL; @data is the command's structure. Returns errno and what came back. """
    buf = array.array("B", data)
    req = struct.pack("16sP16x", ifname.encode(), buf.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, req)
        except OSError as e:
            return e.errno, buf.tobytes()
    return 0, buf.tobytes()


def nla(kind, payload):
    """ A netlink attribute. """
    size = 4 + len(payload)
    return struct.pack("=HH", size, kind) + payload + bytes(-size % 4)


def nest(kind, *attrs):
    """ A netlink attribute of attributes. """
    return nla(kind | NLA_F_NESTED, b"".join(attrs))


def setlink(ifname, *attrs):
    """ RTM_SETLINK with these attributes. """
    index = socket.if_nametoindex(ifname)
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0) + b"".join(attrs)
    head = struct.pack("=IHHII", 16 + len(body), RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.send(head + body)
        answer = sock.recv(8192)
    _, kind = struct.unpack_from("=IH", answer)
    assert kind == NLMSG_ERROR
    return -struct.unpack_from("=i", answer, 16)[0]
