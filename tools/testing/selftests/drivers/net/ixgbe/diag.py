#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The drivers' own self-test, `ethtool -t`: each of its parts is a case. It is the
best judge of a device model, since it writes patterns into every register that
the datasheet calls writable, raises every interrupt and sends through the MAC
loopback.
"""

import functools

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, ksft_true, ksft_variants, KsftNamedVariant
from lib.py import IxgbeEnv, cmd, ping


def run_diag(end, mode):
    """ Run the self-test; return result of each part by its first word. """
    res = cmd(f"ethtool -t {end.ifname} {mode}", ns=end.ns, fail=False, timeout=180)
    parts = {}
    for line in res.stdout.splitlines():
        words = line.split()
        if len(words) > 2 and words[-1].lstrip("-").isdigit():
            parts[words[0].lower()] = int(words[-1])
    return res.ret, parts, res.stdout


@functools.lru_cache(maxsize=None)
def pf_diag(cfg, mode):
    """ One run of the PF's self-test serves all the cases. """
    return run_diag(cfg.pf, mode)


@ksft_variants([KsftNamedVariant(f"{mode}_{part}", mode, part)
                for mode in ("offline", "online")
                for part in ("register", "eeprom", "interrupt", "loopback", "link")])
def pf_part(cfg, mode, part):
    """ One part of the PF's self-test passes. """
    _, parts, out = pf_diag(cfg, mode)
    ksft_in(part, parts, out)
    ksft_eq(parts.get(part), 0, out)


@ksft_variants(["offline", "online"])
def pf_verdict(cfg, mode):
    """ The run as a whole passes, and the interface works afterwards. """
    ret, _, out = pf_diag(cfg, mode)
    ksft_eq(ret, 0, out)
    cfg.pf.wait_carrier()
    ping(cfg.pf, cfg.peer)


@ksft_variants(["offline", "online"])
def vf(cfg, mode):
    """ Both parts of the VF's self-test pass, and the VF works afterwards. """
    cfg.create_vfs(1)
    ret, parts, out = run_diag(cfg.vfs[0], mode)
    ksft_eq(parts, {"register": 0, "link": 0}, out)
    ksft_eq(ret, 0, out)
    cfg.vfs[0].wait_carrier()
    ping(cfg.vfs[0], cfg.peer)


def pf_offline_refused(cfg):
    """ With a VF in use the PF refuses the offline test, and disturbs nobody. """
    cfg.create_vfs(1)
    ret, parts, out = run_diag(cfg.pf, "offline")
    ksft_true(ret != 0, out)
    ksft_eq(parts.get("register"), 1, out)
    ping(cfg.pf, cfg.peer)
    ping(cfg.vfs[0], cfg.peer)


def main():
    with IxgbeEnv() as cfg:
        ksft_run([pf_part, pf_verdict, vf, pf_offline_refused], args=(cfg, ))
        cfg.reload_after_self_test()
    ksft_exit()


if __name__ == "__main__":
    main()
