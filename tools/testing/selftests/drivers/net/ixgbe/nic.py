#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" What the abstractions for network drivers check at run time: nic_test.ko tries it. """

from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, KsftSkipEx
from lib.py import IxgbeEnv, KernelLog, load_module, unload_module

CHECKS = [
    "enabled_once", "vectors_once", "vectors_again",
    "tx_no_such_queue", "tx_queue_in_use", "tx_queue_half_in_use", "tx_queue_free_again",
    "rx_no_such_queue", "rx_own_instance", "rx_other_instance", "rx_fill", "rx_fill",
    "rx_rings_given_up", "napi_queues", "not_registered",
]


def _module(cfg):
    """ Path of the module, beside the PF driver's. """
    path = Path(cfg.pf_module).parent / "nic_test.ko"
    if not path.is_file():
        raise KsftSkipEx(f"no {path}")
    return str(path)


def checks(cfg):
    """ Each check of the module is made, and none fails. """
    module = _module(cfg)
    cfg.unload_pf()
    log = KernelLog()
    load_module(module)
    said = [l.removeprefix("nic_test: ") for l in log.matching("^nic_test: ")]
    ksft_eq(said, [f"{name} ok" for name in CHECKS])
    ksft_eq(log.faults(), [])


def unbinding_waits(cfg):
    """ A device is bound to its driver until the driver has let go of all it has of it. """
    log = KernelLog()
    cfg.pci.bind("nic_test")
    ksft_in("nic_test: unbinding_waits ok", log.lines())
    unload_module(_module(cfg))
    ksft_eq(cfg.pci.driver, None)
    ksft_eq(log.faults(), [])


def main():
    with IxgbeEnv() as cfg:
        try:
            ksft_run([checks, unbinding_waits], args=(cfg, ))
        finally:
            unload_module("nic_test")
            cfg.load_pf()
    ksft_exit()


if __name__ == "__main__":
    main()
