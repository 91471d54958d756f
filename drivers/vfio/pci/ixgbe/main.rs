// SPDX-License-Identifier: GPL-2.0
//! VFIO variant driver for VFs of the Intel 82599, X540 and X550: plain vfio-pci with live migration.
//!
//! The PF driver does everything that touches the device, see `include/linux/ixgbe_migration.h`. This driver turns
//! VFIO's states into calls to it, moves the state through files, and keeps the dirty log. What the state is made of,
//! what of it a user could not read otherwise, and what checks it on the destination is in
//! `Documentation/driver-api/vfio/ixgbe-vfio-pci.rst`.
#![deny(unsafe_code)]

mod debugfs;
mod dirty;
mod follow;
mod session;

use ixgbe_migration::client::Vf;
use kernel::{
    device::Core,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use session::Session;
use vfio::{
    log,
    stream::Fd,
    State, //
};

/// Intel's PCI vendor id.
const VENDOR_INTEL: u16 = 0x8086;
/// `IXGBE_DEV_ID_82599_VF`
const DEV_ID_82599_VF: u16 = 0x10ed;
/// `IXGBE_DEV_ID_X540_VF`
const DEV_ID_X540_VF: u16 = 0x1515;
/// `IXGBE_DEV_ID_X550_VF`
const DEV_ID_X550_VF: u16 = 0x1565;

vfio::device_table!(
    ID_TABLE,
    [
        vfio::DeviceId::new(VENDOR_INTEL, DEV_ID_82599_VF),
        vfio::DeviceId::new(VENDOR_INTEL, DEV_ID_X540_VF),
        vfio::DeviceId::new(VENDOR_INTEL, DEV_ID_X550_VF),
    ]
);

/// One VF.
pub(crate) struct IxgbeVf {
    /// `None`: the VF may not be migrated. Then this is vfio-pci.
    vf: Option<Arc<Vf>>,
    followed: Arc<follow::Stats>,
    _debugfs: Option<debugfs::Files>,
}

impl IxgbeVf {
    /// The VF at its PF driver. Only the migration operations ask, and they exist only if it is there.
    pub(crate) fn vf(&self) -> Result<&Arc<Vf>> {
        self.vf.as_ref().ok_or(ENODEV)
    }

    /// What follows the rings of a guest that does not mark, if that is wanted and there is memory for it.
    pub(crate) fn follow(&self, ranges: &[(u64, u64)]) -> Option<KBox<follow::Follow>> {
        let percent = module_parameters::follow_cpu.value();
        if percent == 0 {
            return None;
        }
        let follow = follow::Follow::new(ranges, percent, self.followed.clone()).ok()?;
        KBox::new(follow, GFP_KERNEL).ok()
    }

    /// Keeps who said what the VF had written when it stopped.
    pub(crate) fn reported(&self, who: follow::Who) {
        self.followed.dirty.store(who as u32, Relaxed);
    }
}

impl vfio::Driver for IxgbeVf {
    type Module = DriverModule;
    type Session = Session;
    const NAME: &'static CStr = c"ixgbe-vfio-pci";
    const ID_TABLE: vfio::pci::IdTable = &ID_TABLE;

    fn new(pdev: &kernel::pci::Device<Core<'_>>) -> Result<Self> {
        let vf = match Vf::get(pdev) {
            Ok(vf) => Some(Arc::new(vf, GFP_KERNEL)?),
            Err(e) if e == EOPNOTSUPP => {
                dev_info!(pdev, "not migratable, see devlink port function\n");
                None
            }
            // As vfio-pci it would look as if the VM could be moved, until the first move. The driver core is silent for
            // this errno.
            Err(e) if e == ENODEV => {
                dev_err!(
                    pdev,
                    "refused: live migration needs the driver ixgbe_rust on the PF; without it use vfio-pci\n"
                );
                return Err(e);
            }
            Err(e) => return Err(e),
        };
        let followed = Arc::new(follow::Stats::new(), GFP_KERNEL)?;
        let files = match &vf {
            Some(vf) => Some(debugfs::Files::new(pdev, vf.clone(), followed.clone())?),
            None => None,
        };
        Ok(Self {
            vf,
            followed,
            _debugfs: files,
        })
    }

    fn session() -> Session {
        Session::new()
    }

    fn migratable(&self) -> bool {
        self.vf.is_some()
    }

    fn open(&self, session: &mut Session) {
        session.abandon();
    }

    fn close(&self, session: &mut Session) {
        session.abandon();
        self.log_stop(session);
        if let Some(vf) = &self.vf {
            vf.reset();
        }
    }

    fn step(
        device: &vfio::Device<Self>,
        session: &mut Session,
        from: State,
        to: State,
    ) -> Result<Option<Fd>> {
        session.step(device, from, to)
    }

    fn data_size(&self) -> usize {
        ixgbe_migration::STATE_MAX
    }

    fn log_start(
        device: &vfio::Device<Self>,
        session: &mut Session,
        ranges: log::Ranges<'_>,
        page_size: u64,
    ) -> Result<u64> {
        let stopped = session.suspended();
        session.dirty.start(device, stopped, ranges, page_size)
    }

    fn log_stop(&self, session: &mut Session) {
        if let Some(vf) = &self.vf {
            session.dirty.stop(vf);
        }
    }

    fn log_read(
        device: &vfio::Device<Self>,
        session: &mut Session,
        first: u64,
        last: u64,
        dirty: &mut log::Bitmap<'_>,
    ) -> Result {
        let stopped = session.suspended();
        session.dirty.read(device, stopped, first, last, dirty)
    }

    fn work(device: &vfio::Device<Self>, session: &mut Session) -> Option<u64> {
        let stopped = session.suspended();
        session.dirty.work(device, stopped)
    }

    fn reset(&self, session: &mut Session) {
        session.abandon();
        if let Some(vf) = &self.vf {
            vf.reset();
        }
    }
}

vfio::module_vfio_pci_driver!({
    type: IxgbeVf,
    name: "ixgbe_vfio_pci",
    authors: ["ixgbe live migration developers"],
    description: "VFIO PCI with live migration for Intel(R) 82599, X540 and X550 virtual functions",
    license: "GPL v2",
    imports_ns: ["IOMMUFD", "IXGBE_MIGRATION"],
    params: {
        follow_cpu: u32 {
            default: 2,
            description: "Percent of one CPU that following the rings of one guest that does not mark may cost (2); 0: off",
        },
    },
});
