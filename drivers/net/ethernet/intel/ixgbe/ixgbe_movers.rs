// SPDX-License-Identifier: GPL-2.0
//! What is known of each VF that moves or may move, and what its guest is told
//! (`libixgbe::migration::pf`).

use crate::{
    ixgbe_common::Hw,
    ixgbe_sriov::sooner,
    Adapter,
    State,
    EVENT_MAILBOX, //
};
use ::ixgbe_migration::Report;
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use libixgbe::{
    mbx::pf::Events,
    migration::{
        announcement,
        pf::{
            Mover,
            Pf, //
        },
        Announcements,
        HeadRestore,
        Refusal,
        Refusals,
        VfState,
        ANNOUNCEMENT_BYTES, //
    },
    sriov::vf::Handled, //
};
use nic::{
    devlink::Fmsg,
    net, //
};

/// What was refused, for the log.
pub(crate) const RECORD: &str = "compatibility record";
/// Likewise.
pub(crate) const STATE: &str = "state";

/// TIMEOUT: how long a guest has to say that it marks what it receives. Its CPUs run; a busy one
/// takes a few milliseconds to get to its mailbox interrupt. Without an answer all its memory is
/// reported dirty, which costs time and is never wrong.
pub(crate) const MARKING_ANSWER_MS: u32 = 200;

/// TIMEOUT: how long a guest has to re-arm its rings before the VF's addresses are announced and
/// its Rx gate is opened all the same. As long as drivers wait for their PF
/// (`IXGBE_VF_MBX_INIT_TIMEOUT`); a guest that has not got to its mailbox by then is better found,
/// without buffers, than nowhere. It is reminded then, and again each time that this has passed.
pub(crate) const REARM_ANSWER_MS: i64 = 1000;
/// Milliseconds between looks at whether that time is over.
pub(crate) const REARM_PERIOD_MS: u32 = 50;

/// Milliseconds until announcements are tried again that could not be sent.
pub(crate) const ANNOUNCE_AGAIN_MS: u32 = 1000;

/// TIMEOUT: for so long after it was set going a VF is not stopped again. Stopping takes the lock
/// that all VFs' mailboxes are served under a few times, and a user may ask for nothing else; the
/// wait is outside of it.
pub(crate) const RUN_MS: i64 = 20;

/// One VF, for the variant driver.
#[pin_data]
pub(crate) struct Handle {
    pub(crate) vf: u32,
    /// Serialises the calls for this VF. `None`: the VF is gone.
    #[pin]
    pub(crate) dev: Mutex<Option<net::Handle<Adapter>>>,
}

/// What the PF keeps for migration.
pub(crate) struct Migration {
    /// By VF.
    pub(crate) vfs: KVVec<Vf>,
    /// devlink parameter `head_restore`.
    pub(crate) head_restore: HeadRestore,
}

pub(crate) struct Vf {
    pub(crate) mover: Mover,
    pub(crate) report: Report,
    /// Why it was refused last, if it was.
    pub(crate) refusals: Option<Refusals>,
    /// devlink port function `migratable`.
    pub(crate) migratable: bool,
    /// When its guest was asked to re-arm rings, the last time, if it owes that.
    pub(crate) held: Option<Instant<Monotonic>>,
    /// Its addresses are to be announced: the link was down, or it was announced a moment ago.
    pub(crate) unannounced: bool,
    /// When they were announced last.
    pub(crate) announced: Option<Instant<Monotonic>>,
    /// How many more announcements there may be.
    pub(crate) allowance: Announcements,
    /// When it was set going last.
    pub(crate) resumed: Option<Instant<Monotonic>>,
    pub(crate) handle: Option<Arc<Handle>>,
}

impl Vf {
    /// The VF was reset, or its user is gone.
    pub(crate) fn reset(&mut self, pf: &mut Pf<'_>) {
        self.mover.reset(pf);
        self.unannounced = false;
    }
}

impl Migration {
    pub(crate) const fn new() -> Self {
        Self {
            vfs: KVVec::new(),
            head_restore: HeadRestore::Auto,
        }
    }

    /// Makes room for `num_vfs` VFs that have just been made, and takes the device away from the
    /// handles of those that are gone.
    pub(crate) fn resize(dev: &net::Device<Adapter>, num_vfs: u32) -> Result {
        let mut vfs = KVVec::with_capacity(num_vfs as usize, GFP_KERNEL)?;
        for _ in 0..num_vfs {
            vfs.push(
                Vf {
                    mover: Mover::new(),
                    report: pin_init::zeroed(),
                    refusals: None,
                    migratable: false,
                    held: None,
                    unannounced: false,
                    announced: None,
                    allowance: Announcements::new(),
                    resumed: None,
                    handle: None,
                },
                GFP_KERNEL,
            )?;
        }
        let old = core::mem::replace(&mut dev.data().state.lock().migration.vfs, vfs);
        // Outside the lock, which a running call takes inside its handle's.
        for handle in old.into_iter().filter_map(|vf| vf.handle) {
            *handle.dev.lock() = None;
        }
        Ok(())
    }

    /// Whether the operator lets VF `vf` be migrated.
    pub(crate) fn migratable(&self, vf: u32) -> Result<bool> {
        Ok(self.vfs.get(vf as usize).ok_or(EINVAL)?.migratable)
    }

    /// Lets VF `vf` be migrated or not, from the next time at which the variant driver is bound to
    /// it.
    pub(crate) fn set_migratable(&mut self, vf: u32, on: bool) -> Result {
        self.vfs.get_mut(vf as usize).ok_or(EINVAL)?.migratable = on;
        Ok(())
    }

    /// Whether VF `vf` stands still: its mailbox is not served and its queues are not judged.
    pub(crate) fn active(&self, vf: u32) -> bool {
        self.vfs
            .get(vf as usize)
            .is_some_and(|vf| vf.mover.active())
    }
}

/// Runs `f` on the mover of `vf`, if there is such a VF.
pub(crate) fn with_mover<R>(
    state: &mut State,
    vf: u32,
    f: impl FnOnce(&mut Vf, &mut Pf<'_>) -> R,
) -> Option<R> {
    let State {
        sw, vfs, migration, ..
    } = state;
    let head_restore = migration.head_restore;
    let slot = migration.vfs.get_mut(vf as usize)?;
    let device = sw.chip.vf_device();
    let mut pf = Pf {
        switch: sw,
        vfs,
        vf,
        device,
        head_restore,
    };
    Some(f(slot, &mut pf))
}

/// Deals with the messages that `vf` announced.
pub(crate) fn serve(hw: &Hw, state: &mut State, vf: u32, events: &Events) -> Option<Handled> {
    with_mover(state, vf, |slot, pf| slot.mover.serve(hw, pf, events)).flatten()
}

/// `vf` was reset by a function level reset.
pub(crate) fn was_reset(state: &mut State, vf: u32) {
    with_mover(state, vf, |slot, pf| {
        slot.mover.was_reset(pf);
        slot.unannounced = false;
    });
}

/// Sends what waits for `vf`, and sees to it that [`announce_arrived`] is called if the VF asks for
/// that. True if something is to be sent and the VF holds its mailbox.
pub(crate) fn flush(dev: &net::Device<Adapter>, hw: &Hw, state: &mut State, vf: u32) -> bool {
    let flushed = with_mover(state, vf, |slot, pf| {
        (slot.mover.flush(hw, pf), slot.mover.announcement())
    });
    let (busy, announce) = flushed.unwrap_or_default();
    if announce {
        Adapter::raise(dev, EVENT_MAILBOX);
    }
    busy
}

/// The device is about to be reset: what stands still is kept in memory.
pub(crate) fn before_pf_reset(hw: &Hw, state: &mut State) {
    for vf in 0..state.sw.num_vfs {
        with_mover(state, vf, |slot, pf| slot.mover.before_pf_reset(hw, pf));
    }
}

/// The device was reset and its VFs are set up again: what stood still is put back.
pub(crate) fn after_pf_reset(hw: &Hw, state: &mut State) {
    for vf in 0..state.sw.num_vfs {
        with_mover(state, vf, |slot, pf| slot.mover.after_pf_reset(hw, pf));
    }
}

/// Sees to VFs whose guests have rings to re-arm. Returns in how many milliseconds to call it
/// again.
pub(crate) fn check_held(dev: &net::Device<Adapter>, state: &mut State) -> Option<u32> {
    let mut again: Option<u32> = None;
    for vf in 0..state.sw.num_vfs {
        with_mover(state, vf, |slot, pf| {
            if !slot.mover.owes_rearm() {
                slot.held = None;
                return;
            }
            let since = *slot.held.get_or_insert_with(Instant::now);
            let period = if slot.mover.waits_for_guest() {
                REARM_PERIOD_MS
            } else {
                // CAST: A second.
                REARM_ANSWER_MS as u32
            };
            again = Some(again.unwrap_or(period).min(period));
            if since.elapsed().as_millis() < REARM_ANSWER_MS {
                return;
            }
            if slot.mover.waits_for_guest() {
                if net::ratelimit() {
                    dev_warn!(
                        dev.parent(),
                        "VF {}: its driver did not re-arm its rings in time\n",
                        vf
                    );
                }
                slot.mover.serve_now(&dev.data().hw, pf);
            }
            slot.mover.remind(&dev.data().hw, pf);
            slot.held = Some(Instant::now());
        });
    }
    again
}

/// Tells the switches of VFs that have arrived and are served where their addresses are now.
/// Returns in how many milliseconds to call it again.
///
/// Called without the lock over the VFs, after whatever may have ended a guest's time to re-arm,
/// and when the link comes up: what cannot be said without one is said then. The lock is taken once
/// and once more for each VF that is announced, not for each that there is: VFs that move together
/// would wait for each other here.
pub(crate) fn announce_arrived(dev: &net::Device<Adapter>) -> Option<u32> {
    let link = dev.carrier_ok();
    let mut again = None;
    let mut first = 0;
    loop {
        let found = {
            let state = &mut *dev.data().state.lock();
            (first..state.sw.num_vfs).find_map(|vf| {
                let due = with_mover(state, vf, |slot, _| due(slot, link))?;
                let addresses = due.unwrap_or_else(|wait| {
                    again = sooner(again, Some(wait));
                    None
                })?;
                Some((vf, addresses))
            })
        };
        let Some((vf, addresses)) = found else {
            return again;
        };
        again = sooner(again, announce_vf(dev, vf, &addresses));
        first = vf.saturating_add(1);
    }
}

/// What a VF sends from, if it is to be announced now. `Err`: it is, in so many milliseconds.
pub(crate) fn due(slot: &mut Vf, link: bool) -> Result<Option<Addresses>, u32> {
    slot.unannounced |= slot.mover.take_announcement();
    if !slot.unannounced || !link {
        return Ok(None);
    }
    let (macs, vlans) = addresses(slot.mover.state());
    // CAST: Time does not run backwards. Both lists are short, see `VfState`.
    let elapsed = slot
        .announced
        .map_or(u64::MAX, |at| at.elapsed().as_millis() as u64);
    let frames = macs.len().saturating_mul(vlans.len()) as u32;
    slot.allowance.take(elapsed, frames)?;
    slot.unannounced = false;
    slot.announced = Some(Instant::now());
    Ok(Some((macs, vlans)))
}

/// Announces a VF. Returns in how many milliseconds to try it again if it cannot be said now.
///
/// Called without the lock over the VFs.
pub(crate) fn announce_vf(
    dev: &net::Device<Adapter>,
    vf: u32,
    (macs, vlans): &Addresses,
) -> Option<u32> {
    if announce(dev, macs, vlans).is_ok() {
        return None;
    }
    if net::ratelimit() {
        dev_warn!(
            dev.parent(),
            "VF {}: could not announce its addresses yet\n",
            vf
        );
    }
    with_mover(&mut dev.data().state.lock(), vf, |slot, _| {
        slot.unannounced = true
    });
    Some(ANNOUNCE_AGAIN_MS)
}

/// Addresses and VLANs.
pub(crate) type Addresses = (KVec<[u8; 6]>, KVec<u16>);

/// What a VF sends from: its addresses, and its VLANs, 0 for none.
fn addresses(state: &VfState) -> Addresses {
    let (mut macs, mut vlans) = (KVec::new(), KVec::new());
    let f = &state.filters;
    let port_vlan = state.policy.port_vlan;
    // Without memory nothing is announced: switches learn from the VF's first frame.
    let _ = macs.push(f.mac, GFP_KERNEL);
    let _ = macs.extend_from_slice(f.unicast.as_slice(), GFP_KERNEL);
    let _ = if port_vlan != 0 {
        vlans.push(port_vlan, GFP_KERNEL)
    } else {
        // Frames without a tag are always its to send.
        let mut tagged = f.vlans.as_slice().iter().filter(|vid| **vid != 0);
        vlans
            .push(0, GFP_KERNEL)
            .and_then(|()| tagged.try_for_each(|vid| vlans.push(*vid, GFP_KERNEL)))
    };
    (macs, vlans)
}

/// Announces a VF's addresses on the wire.
fn announce(dev: &net::Device<Adapter>, macs: &[[u8; 6]], vlans: &[u16]) -> Result {
    let mut buffer = [0; ANNOUNCEMENT_BYTES];
    for mac in macs.iter().filter(|mac| **mac != [0; 6]) {
        for vlan in vlans {
            dev.send_frame(announcement(mac, *vlan, &mut buffer))?;
        }
    }
    Ok(())
}

/// Says for the user how migration of each VF stands that may be migrated.
pub(crate) fn diagnose(dev: &net::Device<Adapter>, msg: &mut Fmsg) {
    let state = dev.data().state.lock();
    msg.array(c"VFs", |msg| {
        for (number, vf) in (0u32..).zip(&state.migration.vfs) {
            if !vf.migratable {
                continue;
            }
            msg.object(|msg| {
                let r = &vf.report;
                msg.u32(c"vf", number);
                msg.bool(c"stopped", vf.mover.active());
                msg.u32(c"saved", r.saves);
                msg.u32(c"loaded", r.loads);
                msg.u32(c"refused", r.refused);
                msg.u32(c"state_bytes", r.state_bytes);
                msg.u64(c"suspend_ns", r.suspend_ns);
                msg.u64(c"resume_ns", r.resume_ns);
                let (rings, frames) = vf.mover.rearmed();
                msg.u64(c"rings_rearmed", rings);
                msg.u64(c"frames_saved_by_rearm", frames);
                if let Some(refusals) = &vf.refusals {
                    msg.array(c"refused_because", |msg| {
                        refusals.iter().for_each(|r| explain(msg, r));
                    });
                }
            });
        }
    });
}

/// Says for the user why a move was refused, and what can be done.
fn explain(msg: &mut Fmsg, refusal: Refusal) {
    let text = |text: &str| CString::try_from_fmt(fmt!("{}", text));
    msg.object(|msg| {
        for (name, value) in [
            (c"name", refusal.name()),
            (c"reason", refusal.reason()),
            (c"remedy", refusal.remedy()),
        ] {
            // Without memory the number is there.
            if let Ok(value) = text(value) {
                msg.string(name, &value);
            }
        }
        msg.u32(c"detail", refusal.detail());
    });
}

/// Nanoseconds since `start`.
pub(crate) fn elapsed(start: Instant<Monotonic>) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(0)
}
