// SPDX-License-Identifier: GPL-2.0
//! `/sys/kernel/debug/<VF>/report`, the VF by its PCI address: figures of the last suspend, save, load and resume, one name and
//! number a line. The state itself is in `/sys/kernel/debug/vfio/<VF>/migration`, from VFIO core.

use crate::follow::{
    Stats,
    Who,
    REASONS, //
};
use ixgbe_migration::{
    client::Vf,
    RESTORE_REARM,
    RESTORE_RESET,
    RESTORE_WRITE, //
};
use kernel::{
    debugfs::{
        Dir,
        File,
        Writer, //
    },
    fmt,
    prelude::*,
    str::CString,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};

struct Figures(Arc<Vf>, Arc<Stats>);

impl Writer for Figures {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0.report();
        let restore = match r.restore {
            RESTORE_WRITE => "write",
            RESTORE_REARM => "rearm",
            RESTORE_RESET => "reset",
            _ => "none",
        };
        writeln!(f, "restore {restore}")?;
        for (name, value) in [
            ("suspend_ns", r.suspend_ns),
            ("save_ns", r.save_ns),
            ("load_ns", r.load_ns),
            ("resume_ns", r.resume_ns),
            ("mmio_save", r.mmio_save.into()),
            ("mmio_load", r.mmio_load.into()),
            ("state_bytes", r.state_bytes.into()),
            ("saves", r.saves.into()),
            ("loads", r.loads.into()),
            ("refused", r.refused.into()),
            ("follow_looks", self.1.looks.load(Relaxed)),
            ("follow_owed", self.1.owed.load(Relaxed)),
            ("follow_pages", self.1.pages.load(Relaxed)),
            ("follow_ns", self.1.ns.load(Relaxed)),
        ] {
            writeln!(f, "{name} {value}")?;
        }
        writeln!(f, "dirty {}", Who::name(self.1.dirty.load(Relaxed)))?;
        for (why, n) in REASONS.iter().zip(&self.1.reasons) {
            writeln!(f, "follow_owed_{} {}", why.name(), n.load(Relaxed))?;
        }
        Ok(())
    }
}

/// The files of one VF; they go away with it.
pub(crate) struct Files {
    _file: Pin<KBox<File<Figures>>>,
}

impl Files {
    pub(crate) fn new(
        pdev: &kernel::pci::Device,
        vf: Arc<Vf>,
        followed: Arc<Stats>,
    ) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("{}", pdev.as_ref().name()))?;
        let dir = Dir::new(&name);
        let file = KBox::pin_init(
            dir.read_only_file(c"report", Figures(vf, followed)),
            GFP_KERNEL,
        )?;
        Ok(Self { _file: file })
    }
}
