// SPDX-License-Identifier: GPL-2.0
//! Saving and loading of VFs for the VFIO variant driver: `include/linux/ixgbe_migration.h` over
//! `libixgbe::migration::pf`.
//!
//! What is decided is decided there, under [`Adapter::state`](crate::Adapter::state); here are the
//! lock, the clock, the kernel log and the wire. A [`Handle`] is what the variant driver holds. It
//! may outlive the VF and even the PF's network device, and fails from the moment at which
//! [`Migration::resize`](crate::ixgbe_movers::Migration::resize) takes the device away from it.

use crate::{
    ixgbe_common::Hw,
    ixgbe_health::REPORTER_MIGRATION,
    ixgbe_movers::{
        announce_vf,
        due,
        elapsed,
        with_mover,
        Handle,
        Vf,
        MARKING_ANSWER_MS,
        RECORD,
        RUN_MS,
        STATE, //
    },
    ixgbe_sriov,
    Adapter,
    IxgbeDriver,
    State, //
};
use ::ixgbe_migration::{
    provider::Provider,
    Heads,
    Report,
    Rings,
    Tails,
    RESTORE_NONE,
    RESTORE_REARM,
    RESTORE_RESET,
    RESTORE_WRITE, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta,
        Instant, //
    }, //
};
use libixgbe::migration::{
    announced,
    format,
    pf::{
        Error as MoveError,
        Looked,
        Pf, //
    },
    Counted,
    HeadRestore,
    Marking,
    Note, //
};
use nic::{
    devlink,
    net, //
};

fn errno(e: MoveError) -> Error {
    match e {
        MoveError::Stuck(_) => ETIMEDOUT,
        MoveError::NotSuspended => EBUSY,
        MoveError::NoSpace => ENOSPC,
        MoveError::NoVf => ENODEV,
        // As the head of the contract says; the reasons are told in words.
        MoveError::Refused(_) => EINVAL,
    }
}

impl Handle {
    /// Calls `f` with the device; fails once the VF is gone.
    fn with_dev<R>(&self, f: impl FnOnce(&net::Device<Adapter>) -> Result<R>) -> Result<R> {
        let dev = self.dev.lock();
        f(dev.as_ref().ok_or(ENODEV)?)
    }

    /// Calls `f` with the VF's mover under the lock over all VFs, after what the VF announced has
    /// been dealt with, so that nothing old is taken for new.
    fn with<R>(
        &self,
        dev: &net::Device<Adapter>,
        f: impl FnOnce(&Hw, &mut Vf, &mut Pf<'_>) -> R,
    ) -> Result<R> {
        self.locked(dev, f, |state| {
            if let Some(ms) = ixgbe_sriov::msg_task_of(dev, state, self.vf) {
                dev.schedule_service(ms);
            }
        })
    }

    /// The same without a look at what the VF announced: for what goes on with a call.
    fn go_on<R>(
        &self,
        dev: &net::Device<Adapter>,
        f: impl FnOnce(&Hw, &mut Vf, &mut Pf<'_>) -> R,
    ) -> Result<R> {
        self.locked(dev, f, |_| ())
    }

    /// Calls `first`, and then `f` with the VF's mover, under the lock over all VFs.
    fn locked<R>(
        &self,
        dev: &net::Device<Adapter>,
        f: impl FnOnce(&Hw, &mut Vf, &mut Pf<'_>) -> R,
        first: impl FnOnce(&mut State),
    ) -> Result<R> {
        let a = dev.data();
        if a.hw.removed() {
            return Err(ENODEV);
        }
        let state = &mut *a.state.lock();
        first(state);
        with_mover(state, self.vf, |slot, pf| f(&a.hw, slot, pf)).ok_or(ENODEV)
    }

    /// Reads the registers of the stopped VF, which takes no lock. Returns the accesses as well.
    fn look(&self, dev: &net::Device<Adapter>) -> Result<(Option<Looked>, u32)> {
        let look = self
            .with(dev, |_, slot, pf| slot.mover.look(pf))?
            .map_err(errno)?;
        let hw = Counted::new(&dev.data().hw);
        let looked = look.map(|look| look.read(&hw));
        Ok((looked, hw.accesses()))
    }

    /// Tells of settings that differ from the source's and are this host's.
    fn remark(&self, dev: &net::Device<Adapter>, notes: &[Note]) {
        if notes.is_empty() || !net::ratelimit() {
            return;
        }
        for note in notes {
            dev_info!(
                dev.parent(),
                "VF {}: note: {} ({}) [{}]\n",
                self.vf,
                note.text(),
                note.detail(),
                note.name()
            );
        }
    }

    fn complain(&self, dev: &net::Device<Adapter>, what: &str, e: MoveError) -> Error {
        // Whoever holds the VF can write states without end; the counter of the refusals goes on.
        if !net::ratelimit() {
            return errno(e);
        }
        devlink::health_report(dev, REPORTER_MIGRATION, c"a VF could not be moved");
        match e {
            MoveError::Refused(refusals) => {
                for r in refusals.iter() {
                    dev_warn!(
                        dev.parent(),
                        "VF {}: {} refused: {} ({:#x}) [{}]\n",
                        self.vf,
                        what,
                        r.reason(),
                        r.detail(),
                        r.name()
                    );
                }
            }
            e => dev_warn!(dev.parent(), "VF {}: {} failed: {:?}\n", self.vf, what, e),
        }
        errno(e)
    }
}

impl Vf {
    /// Keeps why something was refused.
    fn note<T>(&mut self, result: &Result<T, MoveError>) {
        if let Err(MoveError::Refused(refusals)) = result {
            self.refusals = Some(*refusals);
            self.report.refused = self.report.refused.saturating_add(1);
        }
    }
}

impl Provider for Handle {
    type Pf = IxgbeDriver;

    fn find(pf: &IxgbeDriver, vf: u32) -> Result<Arc<Self>> {
        let dev = &*pf.netdev;
        let state = &mut *dev.data().state.lock();
        let slot = state.migration.vfs.get_mut(vf as usize).ok_or(ENODEV)?;
        if !slot.migratable {
            return Err(EOPNOTSUPP);
        }
        if let Some(handle) = &slot.handle {
            return Ok(handle.clone());
        }
        let handle = Arc::pin_init(
            pin_init!(Self {
                vf,
                dev <- new_mutex!(Some(dev.handle())),
            }),
            GFP_KERNEL,
        )?;
        slot.handle = Some(handle.clone());
        Ok(handle)
    }

    fn suspend(&self) -> Result {
        self.with_dev(|dev| {
            let ran = self.with(dev, |_, slot, _| slot.resumed.map(|at| at.elapsed()))?;
            let wait = ran.map_or(0, |ran| RUN_MS.saturating_sub(ran.as_millis()));
            if wait > 0 {
                fsleep(Delta::from_millis(wait));
            }
            let start = Instant::now();
            let mut accesses = 0u32;
            // The lock over the VFs is given away while the hardware wants time, so that VFs which
            // stop together wait together. From the first step on the VF stands for all others, and
            // `self.dev` keeps this handle's own calls out.
            let mut step = |hw: &Hw, slot: &mut Vf, pf: &mut Pf<'_>| {
                let hw = Counted::new(hw);
                let step = slot.mover.suspend_step(&hw, pf);
                accesses = accesses.saturating_add(hw.accesses());
                slot.report.suspend_ns = elapsed(start);
                slot.report.mmio_save = accesses;
                step
            };
            let mut result = self.with(dev, &mut step)?;
            loop {
                match result.map_err(|e| self.complain(dev, "suspend", e))? {
                    Some(us) => fsleep(Delta::from_micros(us.into())),
                    None => return Ok(()),
                }
                result = self.go_on(dev, &mut step)?;
            }
        })
    }

    fn resume(&self) -> Result {
        self.with_dev(|dev| {
            let start = Instant::now();
            let going = self
                .with(dev, |hw, slot, pf| {
                    let hw = Counted::new(hw);
                    let going = slot.mover.resume_begin(&hw, pf);
                    slot.report.mmio_load = slot.report.mmio_load.saturating_add(hw.accesses());
                    going
                })?
                .map_err(|e| self.complain(dev, "resume", e))?;
            let Some(going) = going else {
                return Ok(());
            };
            let hw = Counted::new(&dev.data().hw);
            let begun = going.start(&hw);
            let started = hw.accesses();
            let link = dev.carrier_ok();
            let mut announce = None;
            let resumed = self
                .go_on(dev, |hw, slot, pf| {
                    let hw = Counted::new(hw);
                    let resumed = slot.mover.resume_end(&hw, pf, &begun);
                    if let Ok(Some(r)) = &resumed {
                        slot.resumed = Some(Instant::now());
                        slot.report.resume_ns = elapsed(start);
                        let accesses = started.saturating_add(hw.accesses());
                        slot.report.mmio_load = slot.report.mmio_load.saturating_add(accesses);
                        slot.report.restore = match r.restored.way {
                            HeadRestore::Write => RESTORE_WRITE,
                            HeadRestore::Rearm => RESTORE_REARM,
                            HeadRestore::Reset => RESTORE_RESET,
                            HeadRestore::Auto => RESTORE_NONE,
                        };
                        slot.held = None;
                        // Under the same hold of the lock: all that move together come by here.
                        // What has to wait is the service task's.
                        announce = due(slot, link).ok().flatten();
                    }
                    resumed
                })?
                .map_err(|e| self.complain(dev, "resume", e))?;
            if let Some(r) = resumed {
                if let Some(addresses) = &announce {
                    announce_vf(dev, self.vf, addresses);
                }
                if net::ratelimit() {
                    dev_info!(
                        dev.parent(),
                        "VF {}: runs{}, ring heads by {:?}\n",
                        self.vf,
                        if r.arrived { " here now" } else { " again" },
                        r.restored.way
                    );
                }
                dev.schedule_service(0);
            }
            Ok(())
        })
    }

    fn compat(&self, out: &mut [u8]) -> Result<usize> {
        self.with_dev(|dev| {
            self.with(dev, |hw, slot, pf| {
                let result = slot.mover.compat(hw, pf, out);
                slot.note(&result);
                result
            })?
            .map_err(|e| self.complain(dev, RECORD, e))
        })
    }

    fn record(&self, out: &mut [u8]) -> Result<usize> {
        self.with_dev(|dev| {
            self.with(dev, |hw, slot, pf| {
                let result = slot.mover.record(hw, pf, out);
                slot.note(&result);
                result
            })?
            .map_err(|e| self.complain(dev, RECORD, e))
        })
    }

    fn check(&self, blob: &[u8]) -> Result {
        self.with_dev(|dev| {
            let link = dev.carrier_ok();
            let head = announced(blob).ok().flatten();
            let state = head.is_some_and(|head| head.content == format::CONTENT_STATE);
            let notes = self
                .with(dev, |hw, slot, pf| {
                    let result = slot.mover.check(hw, pf, blob, link);
                    slot.note(&result);
                    result
                })?
                .map_err(|e| self.complain(dev, if state { STATE } else { RECORD }, e))?;
            // Once a move: the state says the same again.
            if !state {
                self.remark(dev, notes.as_slice());
            }
            Ok(())
        })
    }

    fn save(&self, out: &mut [u8]) -> Result<usize> {
        self.with_dev(|dev| {
            let start = Instant::now();
            let (looked, accesses) = self.look(dev)?;
            self.go_on(dev, |hw, slot, pf| {
                let hw = Counted::new(hw);
                let result = slot.mover.save_seen(&hw, pf, looked.as_ref(), out);
                slot.note(&result);
                let r = &mut slot.report;
                r.save_ns = elapsed(start);
                let accesses = accesses.saturating_add(hw.accesses());
                r.mmio_save = r.mmio_save.saturating_add(accesses);
                if let Ok(length) = &result {
                    r.state_bytes = *length as u32;
                    r.saves = r.saves.saturating_add(1);
                }
                result
            })?
            .map_err(|e| self.complain(dev, STATE, e))
        })
    }

    fn load(&self, blob: &[u8]) -> Result {
        self.with_dev(|dev| {
            let start = Instant::now();
            let program = self
                .with(dev, |hw, slot, pf| {
                    let hw = Counted::new(hw);
                    let result = slot.mover.load_begin(&hw, pf, blob);
                    slot.note(&result);
                    slot.report.mmio_load = hw.accesses();
                    result
                })?
                .map_err(|e| self.complain(dev, STATE, e))?;
            let hw = Counted::new(&dev.data().hw);
            program.run(&hw);
            self.go_on(dev, |_, slot, _| {
                let r = &mut slot.report;
                r.load_ns = elapsed(start);
                r.mmio_load = r.mmio_load.saturating_add(hw.accesses());
                r.state_bytes = blob.len() as u32;
                r.loads = r.loads.saturating_add(1);
            })
        })
    }

    fn start_marking(&self) {
        let _ = self.with_dev(|dev| {
            self.with(dev, |hw, slot, pf| slot.mover.start_marking(hw, pf))?;
            for _ in 0..MARKING_ANSWER_MS {
                let marking = self.with(dev, |hw, slot, pf| {
                    // The mailbox may have been the VF's, or have held what it had not read yet.
                    slot.mover.flush(hw, pf);
                    slot.mover.marking()
                })?;
                if marking != Marking::Asked {
                    break;
                }
                fsleep(Delta::from_millis(1));
            }
            let marking = self.with(dev, |_, slot, _| slot.mover.give_up_waiting())?;
            if marking == Marking::Late && net::ratelimit() {
                dev_info!(
                    dev.parent(),
                    "VF {}: guest did not say within {} ms that it marks what it receives\n",
                    self.vf,
                    MARKING_ANSWER_MS
                );
            }
            Ok(())
        });
    }

    fn marks(&self) -> u32 {
        self.with_dev(|dev| self.with(dev, |_, slot, _| slot.mover.marks()))
            .unwrap_or(0)
    }

    fn stop_marking(&self) {
        let _ = self.with_dev(|dev| {
            self.with(dev, |hw, slot, pf| slot.mover.stop_marking(hw, pf))?;
            dev.schedule_service(1);
            Ok(())
        });
    }

    fn rings(&self, rings: &mut Rings) -> Result {
        self.with_dev(|dev| {
            let (looked, _) = self.look(dev)?;
            self.go_on(dev, |_, slot, pf| {
                let written = slot.mover.rings_seen(pf, looked.as_ref())?;
                *rings = pin_init::zeroed();
                rings.complete = written.complete.into();
                rings.queues = slot.mover.state().pairs() as u32;
                for (to, rx) in rings.rx.iter_mut().zip(&written.rx) {
                    to.base = rx.base;
                    to.length = rx.length;
                    to.head = rx.head;
                    to.tail = rx.tail;
                    to.shadow = rx.shadow;
                    to.buffer_len = rx.buffer_len;
                }
                for (to, tx) in rings.tx.iter_mut().zip(&written.tx) {
                    to.base = tx.base;
                    to.length = tx.length;
                    to.writeback = tx.writeback;
                }
                Ok(())
            })?
            .map_err(errno)
        })
    }

    fn tails(&self, tails: &mut Tails) -> Result {
        self.with_dev(|dev| {
            // A reset of the VF that was announced is dealt with first, and begins another epoch.
            let seen = self
                .with(dev, |hw, slot, pf| slot.mover.tails(hw, pf))?
                .map_err(errno)?;
            *tails = pin_init::zeroed();
            tails.epoch = seen.epoch;
            tails.queues = seen.queues as u32;
            tails.stopped = seen.stopped.into();
            tails.frames = seen.before.frames;
            tails.octets = seen.before.octets;
            for (to, rx) in tails.rx.iter_mut().zip(&seen.rx) {
                to.base = rx.ring.base;
                to.length = rx.ring.length;
                to.srrctl = rx.ring.srrctl;
                to.tail = rx.tail;
                to.runs = rx.ring.runs.into();
                to.tx = rx.ring.tx;
            }
            Ok(())
        })
    }

    fn heads(&self, heads: &mut Heads) -> Result {
        self.with_dev(|dev| {
            // What the VF announced meanwhile shows in the next look.
            let seen = self
                .go_on(dev, |hw, slot, pf| slot.mover.heads(hw, pf))?
                .map_err(errno)?;
            *heads = pin_init::zeroed();
            heads.epoch = seen.epoch;
            heads.frames = seen.after.frames;
            heads.octets = seen.after.octets;
            heads.head = seen.heads;
            Ok(())
        })
    }

    fn reset(&self) {
        // Its FLR, if it had one, is dealt with by the look at events that comes first.
        let _ = self.with_dev(|dev| self.with(dev, |_, slot, pf| slot.reset(pf)));
    }

    fn report(&self) -> Report {
        self.with_dev(|dev| self.with(dev, |_, slot, _| slot.report))
            .unwrap_or(pin_init::zeroed())
    }
}
