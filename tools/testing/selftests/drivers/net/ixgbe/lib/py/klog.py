# SPDX-License-Identifier: GPL-2.0

"""
The kernel log since a point in time, and announcing messages that a test
provokes on purpose (see README.rst of the selftests).
"""

import os
import re
import time
from collections import namedtuple
from pathlib import Path

from .strict import PATIENCE

# A line of the log: severity, number, and text without prefix.
Record = namedtuple("Record", "level seq text")

ERROR = 3
# Records for which a trace belongs to a report that came before it.
REPORT = 64


def _patterns():
    """ What klog-patterns.txt says, as one expression of each kind. """
    kinds = {}
    for line in (Path(__file__).parent / "klog-patterns.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            kind, regex = line.split(" ", 1)
            kinds.setdefault(kind, []).append(f"(?:{regex})")
    return {kind: re.compile("|".join(rows)) for kind, rows in kinds.items()}


KINDS = _patterns()


class KernelLog:
    """ Lines of the kernel log written after this object was made. """

    def __init__(self):
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._records = []

    def __del__(self):
        os.close(self._fd)

    def _read(self):
        while True:
            try:
                raw = os.read(self._fd, 8192).decode("utf-8", "replace")
            except BlockingIOError:
                return self._records
            except BrokenPipeError:
                # The ring was overwritten under us: faults() sees it by the numbers.
                continue
            head, _, text = raw.partition(";")
            prio, seq = head.split(",")[:2]
            self._records.append(Record(int(prio) & 7, int(seq), text.split("\n", 1)[0]))

    def lines(self):
        """ All lines so far, oldest first, without prefix. """
        return [r.text for r in self._read()]

    def matching(self, regex):
        """ Lines so far that match @regex. """
        return [l for l in self.lines() if re.search(regex, l)]

    def wait(self, regex, deadline=PATIENCE):
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
        """
        Lines so far that no driver may cause, and where lines are missing: what the lab takes
        for a fault of the boot, but for what was announced.
        """
        out, report, last = [], 0, None
        for r in self._read():
            if last is not None and r.seq != last + 1:
                out.append(f"{r.seq - last - 1} records are missing before: {r.text}")
            last = r.seq
            begins = KINDS["fault"].search(r.text) or \
                (r.level <= ERROR and KINDS["error"].search(r.text))
            stray = not report and KINDS["trace"].search(r.text)
            if begins or stray:
                out.append(r.text)
            report = REPORT if begins or stray or KINDS["cause"].search(r.text) \
                else max(report - 1, 0)
        return out

    @staticmethod
    def write(text):
        """ Put a line of our own into the kernel log. """
        with open("/dev/kmsg", "w", encoding="utf-8") as kmsg:
            kmsg.write(text + "\n")


class Expect:
    """
    Announce that lines that match @regex are provoked on purpose. It is in force for the whole
    machine: name the device in it. No backslash, which the kernel's log does not give back.
    """

    def __init__(self, regex):
        assert "\\" not in regex, regex
        self.regex = regex
        self.log = None

    def __enter__(self):
        KernelLog.write("ksft: expect " + self.regex)
        self.log = KernelLog()
        return self.log

    def __exit__(self, ex_type, ex_value, ex_tb):
        KernelLog.write("ksft: expect-end")
