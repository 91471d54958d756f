// SPDX-License-Identifier: GPL-2.0
//! What `ethtool` asks of a network device.
//!
//! C header: [`include/linux/ethtool.h`](srctree/include/linux/ethtool.h)

mod callbacks;
mod types;

pub use types::{
    Channels,
    Coalesce,
    LinkModes,
    LinkSettings,
    ModuleEeprom,
    PauseParam,
    PhysId,
    Port,
    RingParam,
    RxfhFields,
    RxfhSet,
    StringSet,
    Strings,
    TestResult,
    RXH_IP,
    RXH_L4, //
};

use super::{
    ops::{
        Device,
        Driver, //
    },
    rtnl::Rtnl, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// What `ethtool` asks of a driver. Everything runs under RTNL, in process context.
#[vtable]
pub trait Ops: Driver {
    /// Firmware version as `ethtool -i` shows it, into `out`; the rest of `-i` the core fills in.
    fn fw_version(dev: &Device<Self>, out: &mut dyn fmt::Write) {
        let _ = (dev, out);
    }

    /// Size of the register dump in dwords.
    fn regs_len(dev: &Device<Self>) -> usize {
        let _ = dev;
        0
    }

    /// Dumps registers; returns the version of the dump.
    fn get_regs(dev: &Device<Self>, rtnl: &Rtnl, out: &mut [u32]) -> u32 {
        let _ = (dev, rtnl, out);
        0
    }

    /// Size of the EEPROM in bytes.
    fn eeprom_len(dev: &Device<Self>) -> usize {
        let _ = dev;
        0
    }

    /// Reads the EEPROM from byte `offset`; returns a magic number that identifies the device.
    fn get_eeprom(dev: &Device<Self>, rtnl: &Rtnl, offset: u32, out: &mut [u8]) -> Result<u32> {
        let _ = (dev, rtnl, offset, out);
        Err(EOPNOTSUPP)
    }

    /// Negotiates the link anew.
    fn nway_reset(dev: &Device<Self>, rtnl: &Rtnl) -> Result {
        let _ = (dev, rtnl);
        Err(EOPNOTSUPP)
    }

    /// Message level (`NETIF_MSG_*`).
    fn get_msglevel(dev: &Device<Self>) -> u32 {
        let _ = dev;
        0
    }

    /// Sets the message level.
    fn set_msglevel(dev: &Device<Self>, level: u32) {
        let _ = (dev, level);
    }

    /// Ring lengths.
    fn get_ringparam(dev: &Device<Self>, rtnl: &Rtnl) -> RingParam {
        let _ = (dev, rtnl);
        RingParam::default()
    }

    /// Sets ring lengths; the core has checked the maxima.
    fn set_ringparam(dev: &Device<Self>, rtnl: &Rtnl, ring: &RingParam) -> Result {
        let _ = (dev, rtnl, ring);
        Err(EOPNOTSUPP)
    }

    /// Interrupt moderation.
    fn get_coalesce(dev: &Device<Self>, rtnl: &Rtnl) -> Result<Coalesce> {
        let _ = (dev, rtnl);
        Err(EOPNOTSUPP)
    }

    /// Sets interrupt moderation.
    fn set_coalesce(dev: &Device<Self>, rtnl: &Rtnl, c: &Coalesce) -> Result {
        let _ = (dev, rtnl, c);
        Err(EOPNOTSUPP)
    }

    /// Numbers of queues.
    fn get_channels(dev: &Device<Self>, rtnl: &Rtnl) -> Channels {
        let _ = (dev, rtnl);
        Channels::default()
    }

    /// Sets numbers of queues; the core has checked the maxima.
    fn set_channels(dev: &Device<Self>, rtnl: &Rtnl, c: &Channels) -> Result {
        let _ = (dev, rtnl, c);
        Err(EOPNOTSUPP)
    }

    /// Flow control.
    fn get_pauseparam(dev: &Device<Self>, rtnl: &Rtnl) -> PauseParam {
        let _ = (dev, rtnl);
        PauseParam::default()
    }

    /// Sets flow control.
    fn set_pauseparam(dev: &Device<Self>, rtnl: &Rtnl, p: &PauseParam) -> Result {
        let _ = (dev, rtnl, p);
        Err(EOPNOTSUPP)
    }

    /// Pause frames sent and received.
    fn get_pause_stats(dev: &Device<Self>) -> (u64, u64) {
        let _ = dev;
        (0, 0)
    }

    /// Tests the device; one result per name of [`StringSet::Test`], 0 for passed. `offline` tests
    /// may interrupt traffic.
    fn self_test(
        dev: &Device<Self>,
        rtnl: &Rtnl,
        offline: bool,
        results: &mut [u64],
    ) -> TestResult {
        let _ = (dev, rtnl, offline, results);
        TestResult::Passed
    }

    /// How many strings there are in a set; `None` if the driver does not have the set.
    fn sset_count(dev: &Device<Self>, set: StringSet) -> Option<usize> {
        let _ = (dev, set);
        None
    }

    /// The strings of a set, in the order of their values.
    fn strings(dev: &Device<Self>, set: StringSet, out: &mut Strings<'_>) {
        let _ = (dev, set, out);
    }

    /// Statistics, as many as [`Ops::sset_count`] says, in the order of their names.
    fn get_stats(dev: &Device<Self>, rtnl: &Rtnl, out: &mut [u64]) {
        let _ = (dev, rtnl, out);
    }

    /// Private flags, one bit per name.
    fn get_priv_flags(dev: &Device<Self>, rtnl: &Rtnl) -> u32 {
        let _ = (dev, rtnl);
        0
    }

    /// Sets private flags.
    fn set_priv_flags(dev: &Device<Self>, rtnl: &Rtnl, flags: u32) -> Result {
        let _ = (dev, rtnl, flags);
        Err(EOPNOTSUPP)
    }

    /// Moves the identification light. For [`PhysId::Active`] returns how often per second to
    /// alternate.
    fn set_phys_id(dev: &Device<Self>, rtnl: &Rtnl, state: PhysId) -> Result<u32> {
        let _ = (dev, rtnl, state);
        Err(EOPNOTSUPP)
    }

    /// Number of receive queues that RSS can name.
    fn rx_ring_count(dev: &Device<Self>) -> u32 {
        let _ = dev;
        0
    }

    /// Entries of the RSS table. The core allocates for it what it is told once.
    const RXFH_INDIR_SIZE: u32 = 0;

    /// Bytes of the RSS key, likewise.
    const RXFH_KEY_SIZE: u32 = 0;

    /// Reads RSS table and key, those that are asked for. The hash is Toeplitz.
    fn get_rxfh(
        dev: &Device<Self>,
        rtnl: &Rtnl,
        indir: Option<&mut [u32]>,
        key: Option<&mut [u8]>,
    ) -> Result {
        let _ = (dev, rtnl, indir, key);
        Err(EOPNOTSUPP)
    }

    /// Sets RSS table and key.
    fn set_rxfh(dev: &Device<Self>, rtnl: &Rtnl, set: &RxfhSet<'_>) -> Result {
        let _ = (dev, rtnl, set);
        Err(EOPNOTSUPP)
    }

    /// Which fields RSS hashes for `flow_type`, as `RXH_*`.
    fn get_rxfh_fields(dev: &Device<Self>, rtnl: &Rtnl, flow_type: u32) -> Result<u64> {
        let _ = (dev, rtnl, flow_type);
        Err(EOPNOTSUPP)
    }

    /// Sets which fields RSS hashes.
    fn set_rxfh_fields(dev: &Device<Self>, rtnl: &Rtnl, fields: &RxfhFields) -> Result {
        let _ = (dev, rtnl, fields);
        Err(EOPNOTSUPP)
    }

    /// Settings of the link.
    fn get_link_settings(dev: &Device<Self>, rtnl: &Rtnl) -> Result<LinkSettings>;

    /// What kind of EEPROM the module in the cage has.
    fn module_eeprom_len(dev: &Device<Self>, rtnl: &Rtnl) -> Result<ModuleEeprom> {
        let _ = (dev, rtnl);
        Err(EOPNOTSUPP)
    }

    /// Reads the module's EEPROM from byte `offset`; the core has checked the length.
    fn get_module_eeprom(dev: &Device<Self>, rtnl: &Rtnl, offset: u32, out: &mut [u8]) -> Result {
        let _ = (dev, rtnl, offset, out);
        Err(EOPNOTSUPP)
    }

    /// Changes settings of the link: `supported` is not meant.
    fn set_link_settings(dev: &Device<Self>, rtnl: &Rtnl, s: &LinkSettings) -> Result {
        let _ = (dev, rtnl, s);
        Err(EOPNOTSUPP)
    }
}
