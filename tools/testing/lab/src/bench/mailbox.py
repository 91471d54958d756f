# SPDX-License-Identifier: GPL-2.0
"""
Send messages from a VF to its PF, each when the one before it was answered,
and print how many were. Arguments: the VF's folder in sysfs, and how many.

The registers are VFMAILBOX and VFMBMEM (82599 datasheet 8.3.5.9).
"""

import mmap
import os
import random
import sys

VFMAILBOX = 0x2fc // 4
VFMBMEM = 0x200 // 4
REQ, ACK, PFSTS = 1, 2, 0x10
VFU = 4

device, count = sys.argv[1], int(sys.argv[2])
fd = os.open(device + "/resource0", os.O_RDWR | os.O_SYNC)
regs = memoryview(mmap.mmap(fd, 0x4000)).cast("I")
rand = random.Random(1)


def send(*words):
    """ Send one message; return 1 if it is answered, 0 if not in time. """
    regs[VFMAILBOX] = VFU
    for i, word in enumerate(words):
        regs[VFMBMEM + i] = word
    regs[VFMAILBOX] = REQ
    for _ in range(100000):
        if regs[VFMAILBOX] & PFSTS:
            regs[VFMAILBOX] = ACK
            return 1
    return 0


send(1)
send(8, 4)
print(sum(send(rand.randrange(2, 0x48),
               *(rand.choice((0, 1, rand.getrandbits(32))) for _ in range(15)))
          for _ in range(count)))
