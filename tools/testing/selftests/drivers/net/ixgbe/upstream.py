#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The kernel's own tests of any NIC (tools/testing/selftests/drivers/net), run on the
PF and on a VF with the peer as their remote end.

Prints each of their cases as one of ours. A case that cannot pass here is listed
with the reason, and is a failure if it passes after all, so that the list stays true.
Each program of the kernel's folder is in one of the tables below, and a case that
skips itself is in KNOWN: what the next kernel brings is a failure until it is looked at.

  upstream.py [PROGRAM...]    those only, such as hw/tso.py
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.py import KSFT_DIR, STRICT, IxgbeEnv, KsftSkipEx, ip

# Programs to run: on which interface, and how long each may take.
PROGRAMS = (
    ("ping.py", ("pf", "vf0"), 240),
    ("stats.py", ("pf", "vf0"), 120),
    ("queues.py", ("pf", "vf0"), 120),
    ("ring_reconfig.py", ("pf", "vf0"), 240),
    ("napi_id.py", ("pf", "vf0"), 60),
    ("napi_threaded.py", ("pf", "vf0"), 120),
    ("xdp.py", ("pf", "vf0"), 300),
    ("hw/csum.py", ("pf", "vf0"), 240),
    ("hw/tso.py", ("pf", "vf0"), 240),
    ("hw/irq.py", ("pf", "vf0"), 60),
    ("hw/rss_api.py", ("pf", ), 60),
    ("hw/rss_drv.py", ("pf", ), 60),
    ("hw/uso.py", ("pf", "vf0"), 120),
    ("hds.py", ("pf", ), 120),
    ("shaper.py", ("pf", ), 120),
)

# Programs of which no case can pass, and why. They are tried on the PF all the same: one case
# that passes is a failure, so that the reason stays true.
TRIED = {
    "macsec.py": "the 82599's drivers offload no MACsec",
    "psp.py": "the hardware has no PSP",
    "hw/devlink_port_split.py": "a port of the 82599 cannot be split",
    "hw/gro_hw.py": "needs receive coalescing (RSC) and ntuple filters; the driver has neither, nor "
                    "has the model",
    "hw/ipsec_vxlan.py": "needs IPsec offload; the driver has none, nor has the model",
    "hw/nic_timestamp.py": "the driver has no hardware time stamps",
    "hw/ntuple.py": "needs ntuple filters; the driver has none, nor has the model",
    "hw/pp_alloc_fail.py": "needs CONFIG_FAIL_FUNCTION, which the lab's kernels do not have",
    "hw/rss_flow_label.py": "the hash of the 82599 does not take the flow label",
    "hw/rss_input_xfrm.py": "the 82599 has no symmetric hash",
    "hw/xdp_metadata.py": "the drivers have no XDP metadata kfuncs",
    "hw/xsk_reconfig.py": "the driver has no AF_XDP zero copy",
}

# Those that are about what the C driver has and the model has not, in part: not tried on it.
NOT_ON_C = ("hw/nic_timestamp.py", "hw/xsk_reconfig.py")

# Programs that are not tried, because of what they need.
NOT_TRIED = {
    "gro.py": "sends segments that must arrive within one interrupt's time, or ntuple filters",
    "so_txtime.py": "the 82599 has no launch time; with the software of the etf qdisc it tests the clock",
    "netpoll_basic.py": "needs bpftrace",
    "hw/devlink_rate_cross_esw.py": "needs a bond of two ports in switchdev mode",
    "hw/devlink_rate_tc_bw.py": "needs switchdev mode",
    "hw/devmem.py": "needs queues of a memory provider, and ncdevmem, which is not built here",
    "hw/ethtool.sh": "needs a second port of the same kind, cabled to the first, and mausezahn",
    "hw/ethtool_extended_state.sh": "needs a second port of the same kind",
    "hw/ethtool_mm.sh": "the 82599 has no MAC merge layer",
    "hw/ethtool_rmon.sh": "needs mausezahn, which is not in the lab's image",
    "hw/ethtool_std_stats.sh": "needs mausezahn, which is not in the lab's image",
    "hw/hw_stats_l3.sh": "needs a router in hardware",
    "hw/hw_stats_l3_gre.sh": "needs a router in hardware",
    "hw/iou-zcrx.py": "needs header split into pages of user space",
    "hw/loopback.sh": "needs mausezahn; the drivers do not have NETIF_F_LOOPBACK",
    "hw/nk_devmem.py": "needs queues of a memory provider",
    "hw/nk_netns.py": "tests netkit, not the NIC",
    "hw/nk_qlease.py": "needs queues that can be leased",
    "hw/rss_ctx.py": "needs ntuple filters and additional contexts; rss.py has what is left",
    "hw/toeplitz.py": "needs more CPUs than the host has, none of them a queue's",
    "hw/userns_devmem.py": "needs queues of a memory provider",
}

# Files of the kernel's folders that are no programs.
LIBRARIES = {"hw/devmem_lib.py", "hw/ethtool_lib.sh"}

# Cases that cannot pass: regular expression on their name, whose driver ("c", "rust" or both), reason.
BOTH, C, RUST = ("c", "rust"), ("c", ), ("rust", )
KNOWN = (
    (r"\.xdp\.test_xdp_native_\w+_mb\.|\.xdp\.test_xdp_native_adjst_", BOTH,
     "takes an MTU of 9000 and a program for many buffers; the drivers run programs on one buffer"),
    (r"\.xdp\.test_xdp_native_qstats|\.hw\.tso$", C, "the C drivers have no netdev-genl statistics"),
    (r"\.hw\.tso\.(vxlan|gre|ip6_|ip4_ipv4)", RUST, "the lab's kernel has no VXLAN and no GRE (base.config)"),
    (r"\.hw\.tso\.ip4_ipv6", RUST,
     "sit segments by partial GSO whatever tx-ipxip4-segmentation says: the test's control case fails"),
    (r"\.hw\.irq\.check_irqs_reported", C,
     "the C drivers do not say which interrupt a NAPI instance has"),
    (r"^pf\.napi_threaded\.(change|enable)_", C,
     "the C driver's NAPI instances are others after a change of the queues"),
    (r"^pf\.stats\.procfs_downup_hammer", C,
     "the C driver's counters are those of its rings, which a change of the queues makes anew"),
    (r"^pf\.ring_reconfig\.ringparam", BOTH,
     "wants a ring of 0 descriptors refused; the C driver makes it the smallest one, and so do we"),
    (r"^pf\.hw\.rss_api\.test_rxfh_fields_", BOTH,
     "wants TCP hashed by addresses alone; the 82599 has a switch for UDP only"),
    (r"^pf\.hw\.rss_api\..*ctx", BOTH, "no additional RSS contexts"),
    (r"^vf0\.(ping\.test_xdp_generic_mb|xdp\.test_xdp_native_update_mb_to_sb)", BOTH,
     "a VF must not have jumbo frames while its PF has none (82599 specification update)"),
    (r"^vf0\.(stats\.procfs_downup_hammer|queues\.addremove_queues|ring_reconfig|napi_threaded|"
     r"xdp\.test_xdp_native_qstats|hw\.irq\.check_reconfig_queues)", BOTH,
     "the number of a VF's queues is the PF's to choose: no ethtool -l, as in the C driver"),
)

# ethtool 6.14 of Debian 13 has no JSON for -l, which napi_threaded.py asks for.
ETHTOOL = """#!/usr/bin/env python3
import json, os, re, subprocess, sys
tool, args = "{tool}", sys.argv[1:]
if args[:2] != ["--json", "-l"]:
    os.execv(tool, ["ethtool", *args])
out = subprocess.run([tool, *args[1:]], check=True, text=True, capture_output=True).stdout
maxima, now = ({{m.group(1).lower(): int(m.group(2))
                for m in re.finditer(r"^([A-Z][a-zA-Z]+):\\s+(\\d+)$", part, re.M)}}
               for part in out.split("Current hardware settings:"))
print(json.dumps([now | {{f"{{k}}-max": v for k, v in maxima.items()}}]))
"""


class Ktap:
    """ Result lines in one sequence. """

    def __init__(self):
        self.count = 0
        self.failed = False
        print("TAP version 13", flush=True)

    def result(self, ok, name, comment=""):
        """ One case. """
        self.count += 1
        self.failed |= not ok
        suffix = f" # {comment}" if comment else ""
        print(f"{'' if ok else 'not '}ok {self.count} {name}{suffix}", flush=True)

    def done(self):
        """ The plan, which is only known now. """
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0


def known(name, driver):
    """ Why a case cannot pass here, or None. """
    for pattern, drivers, reason in KNOWN:
        if driver in drivers and re.search(pattern, name):
            return reason
    return None


def put_back(cfg, end):
    """ What a case of the last program left behind does not count against the next program. """
    if end is not cfg.pf:
        end.pci.bind(end.pci.unbind())
        end.ifname = end.pci.wait_netdev()
    for e in (end, cfg.peer):
        ip(f"link set dev {e.ifname} mtu 1500 xdp off", ns=e.ns)
        e.set_addrs()
        e.up()
    cfg.settle(end)


def compare_with_folder(ktap):
    """ Each program that is there is in a table, and the reverse. """
    listed = {p for p, _, _ in PROGRAMS} | set(TRIED) | set(NOT_TRIED)
    folder = KSFT_DIR / "drivers/net"
    there = {p.relative_to(folder).as_posix() for d in (folder, folder / "hw")
             for kind in ("*.py", "*.sh") for p in d.glob(kind)} - LIBRARIES
    for program in sorted(there - listed):
        ktap.result(False, f"folder.{program}", "is in no table of upstream.py")
    for program in sorted(listed - there):
        ktap.result(False, f"folder.{program}", "is in upstream.py, and not in the kernel")
    ktap.result(listed == there, "folder")


def judge(ktap, case, ok, comment, reason):
    """ One result of a program, of which @reason says why it cannot pass, if so. """
    skipped = ok and comment.startswith("SKIP")
    if reason and ok and not skipped:
        ktap.result(False, case, f"passes, though it is listed as: {reason}")
    elif reason:
        ktap.result(True, case, f"SKIP {reason}")
    elif skipped and STRICT:
        ktap.result(False, case, f"skips itself, and is not listed: {comment}")
    else:
        ktap.result(ok, case, comment)


def run(ktap, program, end, cfg, limit, tools):
    """ Run one of the kernel's programs on one interface. """
    driver = "rust" if "/" in (cfg.pf_module if end is cfg.pf else cfg.vf_module) else "c"
    env = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}",
               NETIF=end.ifname,
               LOCAL_V4=end.addr("4"), REMOTE_V4=cfg.peer.addr("4"),
               LOCAL_V6=end.addr("6"), REMOTE_V6=cfg.peer.addr("6"),
               REMOTE_TYPE="netns", REMOTE_ARGS=cfg.peer.ns, NO_COLOR="1")
    path = KSFT_DIR / "drivers/net" / program
    label = f"{end.name}.{program.removesuffix('.py').replace('/', '.')}"
    seen = 0
    with subprocess.Popen(["timeout", "-k", "5", str(limit), sys.executable, path.as_posix()],
                          cwd=path.parent, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as proc:
        for line in proc.stdout:
            line = line.rstrip("\n")
            m = re.match(r"(not )?ok \d+ (\S+)(?: # (.*))?$", line)
            if not m:
                print("# " + line, flush=True)
                continue
            seen += 1
            case = f"{label}.{m.group(2).split('.', 1)[-1]}"
            reason = TRIED.get(program) or known(case, driver)
            judge(ktap, case, not m.group(1), m.group(3) or "", reason)
        code = proc.wait()
    if not seen or code == 124:
        reason = TRIED.get(program) or known(label, driver)
        ktap.result(bool(reason), label,
                    f"SKIP {reason}" if reason else f"no result, exit status {code}")


def main():
    ktap = Ktap()
    only = sys.argv[1:]
    # The programs take the interface down and expect to have their addresses still when it is up again.
    Path("/proc/sys/net/ipv6/conf/all/keep_addr_on_down").write_text("1")
    try:
        with IxgbeEnv() as cfg, tempfile.TemporaryDirectory() as tools:
            wrapper = Path(tools) / "ethtool"
            wrapper.write_text(ETHTOOL.format(tool=shutil.which("ethtool")))
            wrapper.chmod(0o755)
            for name in ("pf", "vf0"):
                if name == "vf0":
                    cfg.create_vfs(1)
                    # The kernel's tests look for the interface in their own namespace.
                    vf = cfg.vfs[0]
                    ip(f"link set dev {vf.ifname} netns 1", ns=vf.ns)
                    vf.ns = None
                    # Two interfaces of one namespace must not share a network.
                    cfg.pf.down()
                    cfg.pf.link("up")
                    ip(f"addr flush dev {cfg.pf.ifname}")
                    vf.set_addrs()
                    vf.up()
                    cfg.settle(vf)
                tried = [(p, ("pf", ), 60) for p in sorted(TRIED)]
                ours = "/" in cfg.pf_module
                for program, ends, limit in [*PROGRAMS, *tried]:
                    if program in NOT_ON_C and not ours:
                        continue
                    if name in ends and (not only or program in only):
                        end = cfg.endpoint(name)
                        put_back(cfg, end)
                        run(ktap, program, end, cfg, limit, tools)
            for program, reason in sorted(NOT_TRIED.items()):
                if not only:
                    ktap.result(True, program.removesuffix(".py").replace("/", "."),
                                f"SKIP {reason}")
            compare_with_folder(ktap)
    except KsftSkipEx as e:
        ktap.result(True, "upstream", f"SKIP {e}")
    sys.exit(ktap.done())


if __name__ == "__main__":
    main()
