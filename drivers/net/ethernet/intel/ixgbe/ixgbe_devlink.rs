// SPDX-License-Identifier: GPL-2.0
//! devlink: the device, its port and those of its VFs, and what an operator sets for migration.

use crate::{
    ixgbe_health::{
        self,
        REPORTER_MIGRATION,
        REPORTER_TX, //
    },
    ixgbe_movers,
    ixgbe_sriov,
    Adapter, //
};
use kernel::{
    fmt,
    prelude::*, //
};
use libixgbe::{
    dump::{
        self,
        REGS_LEN, //
    },
    migration::HeadRestore, //
};
use nic::{
    devlink::{
        Fmsg,
        Info,
        Ops,
        Param,
        Region,
        Reporter, //
    },
    net::{
        self,
        MacAddr, //
    }, //
};

/// Index of the parameter `head_restore`.
const HEAD_RESTORE: usize = 0;
/// Values of `head_restore`.
const WAYS: [(&str, HeadRestore); 4] = [
    ("auto", HeadRestore::Auto),
    ("write", HeadRestore::Write),
    ("rearm", HeadRestore::Rearm),
    ("reset", HeadRestore::Reset),
];

#[vtable]
impl Ops for Adapter {
    const REPORTERS: &'static [Reporter] = &[
        Reporter {
            name: c"migration",
            recovers: false,
        },
        Reporter {
            name: c"tx",
            recovers: true,
        },
        Reporter {
            name: c"mailbox",
            recovers: false,
        },
        Reporter {
            name: c"malicious_vf",
            recovers: false,
        },
    ];
    const REGION: Option<Region> = Some(Region {
        name: c"registers",
        size: REGS_LEN * size_of::<u32>(),
        max_snapshots: 4,
    });
    const PARAMS: &'static [Param] = &[Param {
        name: c"head_restore",
    }];

    fn info(dev: &net::Device<Self>, info: &mut Info) -> Result {
        let state = dev.data().state.lock();
        info.running(
            c"driver.state_format",
            fmt!("{}", libixgbe::migration::format::VERSION),
        )?;
        info.running(c"driver.mailbox_features", fmt!("{:#x}", state.sw.features))?;
        info.fixed(c"board.vfs", fmt!("{}", state.sw.num_vfs))
    }

    fn vf_hw_addr_get(dev: &net::Device<Self>, vf: u32) -> Result<MacAddr> {
        Ok(ixgbe_sriov::get_vf_config(dev, vf)?.mac)
    }

    fn vf_hw_addr_set(dev: &net::Device<Self>, vf: u32, addr: &MacAddr) -> Result {
        ixgbe_sriov::set_vf_mac(dev, vf, addr)
    }

    fn vf_migratable_get(dev: &net::Device<Self>, vf: u32) -> Result<bool> {
        dev.data().state.lock().migration.migratable(vf)
    }

    fn vf_migratable_set(dev: &net::Device<Self>, vf: u32, on: bool) -> Result {
        dev.data().state.lock().migration.set_migratable(vf, on)
    }

    fn health_diagnose(dev: &net::Device<Self>, reporter: usize, msg: &mut Fmsg) -> Result {
        match reporter {
            REPORTER_MIGRATION => ixgbe_movers::diagnose(dev, msg),
            _ => ixgbe_health::dump(dev, reporter, msg),
        }
        Ok(())
    }

    fn health_recover(dev: &net::Device<Self>, reporter: usize) -> Result {
        match reporter {
            REPORTER_TX => ixgbe_health::recover(dev),
            _ => Err(EOPNOTSUPP),
        }
    }

    /// The registers as `ethtool -d` shows them.
    fn region_snapshot(dev: &net::Device<Self>, out: &mut [u8]) -> Result {
        let mut words: KVVec<u32> = KVVec::from_elem(0, REGS_LEN, GFP_KERNEL)?;
        let a = dev.data();
        dump::dump(&a.hw, &a.state.lock().hw_stats, &mut words);
        for (to, from) in out.chunks_exact_mut(4).zip(&words) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        Ok(())
    }

    fn health_dump(dev: &net::Device<Self>, reporter: usize, msg: &mut Fmsg) -> Result {
        Self::health_diagnose(dev, reporter, msg)
    }

    fn param_get(dev: &net::Device<Self>, param: usize, out: &mut dyn fmt::Write) -> Result {
        if param != HEAD_RESTORE {
            return Err(EINVAL);
        }
        let now = dev.data().state.lock().migration.head_restore;
        let name = WAYS.iter().find(|(_, way)| *way == now);
        out.write_str(name.map_or("", |(name, _)| name))
            .map_err(|_| EMSGSIZE)
    }

    fn param_set(dev: &net::Device<Self>, param: usize, value: &str) -> Result {
        if param != HEAD_RESTORE {
            return Err(EINVAL);
        }
        let way = WAYS.iter().find(|(name, _)| *name == value).ok_or(EINVAL)?;
        dev.data().state.lock().migration.head_restore = way.1;
        Ok(())
    }
}
