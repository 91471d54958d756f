# SPDX-License-Identifier: GPL-2.0

"""
The kernel log since a point in time, and announcing messages that a test
provokes on purpose (see README.rst of the selftests).
"""

import os
import re
import time

# Nothing of this may ever appear while a driver is tested.
FAULTS = re.compile(r"WARNING:|BUG:|Oops|general protection|KASAN|UBSAN|"
                    r"possible recursive locking|inconsistent lock state|"
                    r"circular locking|DMAR: \[DMA|DMA-API:|"
                    r"NETDEV WATCHDOG|Unhandled Msg|hung_task|soft lockup")


class KernelLog:
    """ Lines of the kernel log written after this object was made. """

    def __init__(self):
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._lines = []

    def __del__(self):
        os.close(self._fd)

    def lines(self):
        """ All lines so far, oldest first, without prefix. """
        while True:
            try:
                record = os.read(self._fd, 8192).decode("utf-8", "replace")
            except BlockingIOError:
                return self._lines
            except BrokenPipeError:
                # The ring was overwritten under us: go on with what is left.
                continue
            text = record.split(";", 1)[-1]
            self._lines.append(text.split("\n", 1)[0])

    def matching(self, regex):
        """ Lines so far that match @regex. """
        return [l for l in self.lines() if re.search(regex, l)]

    def wait(self, regex, deadline=5):
        """ Wait for a line that matches @regex; return it, or None. """
        end = time.monotonic() + deadline
        while True:
            found = self.matching(regex)
            if found:
                return found[0]
            if time.monotonic() > end:
                return None
            time.sleep(0.05)

    def faults(self):
        """ Lines so far that no driver may cause. """
        return [l for l in self.lines() if FAULTS.search(l)]

    @staticmethod
    def write(text):
        """ Put a line of our own into the kernel log. """
        with open("/dev/kmsg", "w", encoding="utf-8") as kmsg:
            kmsg.write(text + "\n")


class Expect:
    """ Announce that lines that match @regex are provoked on purpose. """

    def __init__(self, regex):
        self.regex = regex
        self.log = None

    def __enter__(self):
        KernelLog.write("ksft: expect " + self.regex)
        self.log = KernelLog()
        return self.log

    def __exit__(self, ex_type, ex_value, ex_tb):
        KernelLog.write("ksft: expect-end")
