#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Names that scripts go by: statistics, private flags, self-tests and features are called as in the
mainline C driver, which is loaded first and asked.
"""

import os
import re

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_pr
from lib.py import KsftSkipEx, ethtool
from badinput import Env

# Statistics of the C drivers that this project does not have: why.
WITHOUT = {
    "pf": (
        (r"fcoe_|rx_fcoe_|tx_fcoe_", "no FCoE"),
        (r"rx_hwtstamp_|tx_hwtstamp_", "no hardware time stamps"),
        (r"fdir_", "no flow director"),
        (r"lro_|rsc_|rx_.*rsc", "no receive coalescing"),
        (r"os2bmc_", "the 82599 has no such firmware"),
        (r"(tx|rx)_ipsec", "IPsec is not offloaded"),
    ),
    "vf": ((r"(tx|rx)_ipsec", "IPsec is not offloaded"), ),
}


def _names(end):
    """ What ethtool calls things: each list of strings, and the features that can be switched. """
    def rows(flag):
        out = ethtool(f"{flag} {end}").stdout
        return [m.group(1) for m in re.finditer(r"^\s*([^:\n]+?)\s*:\s", out, re.M)
                if m.group(1) not in ("NIC statistics", "Private flags for " + end)]
    features = re.findall(r"^\s*([\w-]+): (?:on|off)[^\[\n]*$", ethtool(f"-k {end}").stdout, re.M)
    return {"statistics": rows("-S"), "flags": rows("--show-priv-flags"), "features": features}


class NamesEnv(Env):
    """ As for values, but asks for names. """

    def ask(self, which, ifname):
        """ Both functions are up. """
        return _names(ifname)


def _compare(which, ours):
    if all("/" not in m for m in ours):
        raise KsftSkipEx("the C drivers are what is compared with")
    reference = NamesEnv("ixgbe", "ixgbevf").answers(which)
    names = NamesEnv(*ours).answers(which)
    ksft_ge(len(reference["statistics"]), 20)
    known = [regex for regex, _ in WITHOUT[which]]
    missing = [s for s in reference["statistics"] if s not in names["statistics"] and
               not any(re.match(k, s) for k in known)]
    ksft_eq(missing, [], "statistics of the C driver")
    # Those of this project's own come behind, so that the others stay in their order.
    common = [s for s in reference["statistics"] if s in names["statistics"]]
    ksft_eq([s for s in names["statistics"] if s in common], common, "their order")
    ksft_pr(f"{which}: {len(common)} statistics as in the C driver, "
            f"{len(names['statistics']) - len(common)} of our own")
    ksft_eq(names["flags"], reference["flags"], "private flags")
    return reference, names


def pf(_):
    """ Of the PF. """
    _compare("pf", (os.environ.get("KSFT_PF_MODULE", "ixgbe"), "ixgbevf"))


def vf(_):
    """ Of a VF. """
    reference, names = _compare("vf", ("ixgbe", os.environ.get("KSFT_VF_MODULE", "ixgbevf")))
    ksft_eq(sorted(set(reference["features"]) - set(names["features"])), [], "features")


def main():
    ksft_run([pf, vf], args=(None, ))
    ksft_exit()


if __name__ == "__main__":
    main()
