// SPDX-License-Identifier: GPL-2.0
//! One VF's migration on its PF: what `include/linux/ixgbe_migration.h` promises, over the PF's software state.
//!
//! The caller serialises everything with the lock that guards the PF's VFs. On the destination the VF's wishes (address,
//! lists, modes) are put to the PF as if the VF asked again by mailbox, so that a state can never get more than the VF
//! could.

mod apart;
mod destination;
mod follow;
mod messages;
mod source;

pub use apart::{
    Begun,
    Going,
    Look,
    Looked,
    Program, //
};

use super::coop::Coop;
use super::coop::Marking;
use super::state::Limits;
use super::state::Link;
use super::state::List;
use super::state::VfState;
use super::state::Xcast;
use super::state::MAX_UNICAST;
use super::state::MAX_VLANS;
use super::HeadRestore;
use super::Host;
use super::Identity;
use super::NoSpace;
use super::Place;
use super::Policy;
use super::QuiesceError;
use super::Quiesced;
use super::Refusal;
use super::Refusals;
use super::Restored;
use super::Stop;
use crate::mbx::ApiVersion;
use crate::mbx::XcastMode;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::Restore;
use crate::mbx_ext::MAX_QUEUES;
use crate::sriov::vf::LinkState;
use crate::sriov::vf::Outbox;
use crate::sriov::vf::Switch;
use crate::sriov::vf::VfState as PfVf;
use crate::Regs;

/// Frame of standard length without FCS (`ETH_FRAME_LEN`).
const ETH_FRAME_LEN: u32 = 1514;
/// Bytes of the FCS, which `SET_LPE` counts.
const ETH_FCS_LEN: u32 = 4;
/// Largest frame of the hardware without FCS (`IXGBE_MAX_JUMBO_FRAME_SIZE`).
const MAX_FRAME: u32 = 9728;

/// Mailbox APIs that [`ApiVersion::from_wire`] accepts, as the state names them.
const APIS: [u16; 7] = [0x0100, 0x0101, 0x0102, 0x0103, 0x0104, 0x0106, 0x0107];

fn api_code(api: ApiVersion) -> u16 {
    0x0100 | api.minor() as u16
}

fn api_of(code: u16) -> Option<ApiVersion> {
    ApiVersion::NEWEST_FIRST
        .into_iter()
        .find(|api| api_code(*api) == code)
}

/// The PF's side of a call: shared state, all VFs, and which of them.
pub struct Pf<'a> {
    /// The internal switch.
    pub switch: &'a mut Switch,
    /// All VFs.
    pub vfs: &'a mut [PfVf],
    /// Number of the VF.
    pub vf: u32,
    /// PCI device id of VFs.
    pub device: u16,
    /// devlink parameter `head_restore`.
    pub head_restore: HeadRestore,
}

/// What the VF is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Being stopped, see [`Mover::suspend_step`].
    Stopping(Stop),
    /// Stopped on this host.
    Suspended(Quiesced),
    /// Programmed with `state`, not started. The [`Quiesced`] holds this host's VMOLR and gates for it.
    Loaded(Quiesced),
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The VF did not stop; it runs as before.
    Stuck(QuiesceError),
    /// The VF must be suspended first.
    NotSuspended,
    /// A state or a compatibility record was refused: by its destination, or by its source because
    /// every destination would.
    Refused(Refusals),
    /// The buffer is too small.
    NoSpace,
    /// No such VF.
    NoVf,
}

impl From<Refusals> for Error {
    fn from(refusals: Refusals) -> Self {
        Self::Refused(refusals)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<NoSpace> for Error {
    fn from(_: NoSpace) -> Self {
        Self::NoSpace
    }
}

/// What [`Mover::resume`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// How heads came back.
    pub restored: Restored,
    /// The VF came from another host.
    pub arrived: bool,
}

/// A message that is out and asks the guest to re-arm rings. It has an effect, so no other is sent before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// Its number.
    generation: u32,
    /// Rx queues, one bit each, that it names and that stand parked.
    rx: u32,
    /// Tx queues likewise.
    tx: u32,
    /// The guest has acknowledged it, and will do what it says, once.
    taken: bool,
}

/// A VF that runs, but whose guest has still to re-arm rings. They stay as they are over moves and cancelled moves, until the
/// guest has answered or resets the VF.
///
/// Until then no PF serves the addresses of a VF with an Rx ring among them. Its Rx gate is shut and nothing was announced, so
/// that switches do not send here what would be dropped here.
#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    asked: Option<Asked>,
    /// Rx queues that stand parked, one bit each, whether they were asked for or not.
    rx: u32,
    /// Tx queues likewise.
    tx: u32,
    /// The guest is asked on behalf of another host, and is to be told then that it is here now.
    tell: bool,
    /// The VF is not served yet.
    waiting: bool,
    /// The addresses are to be announced then.
    arrived: bool,
}

impl Hold {
    const fn owes(&self) -> bool {
        self.asked.is_some() || self.rx | self.tx != 0
    }
}

/// One VF's migration.
#[derive(Clone, Debug)]
pub struct Mover {
    phase: Phase,
    coop: Coop,
    /// VLANs that the VF asked for. Software, because looking through 64 VLVF entries would take as many reads.
    vlans: List<u16, MAX_VLANS>,
    /// Largest frame that the VF asked for, without FCS.
    max_frame: u32,
    /// What the guest counted: rings re-armed, frames saved by it.
    rearmed: (u64, u64),
    /// What the guest has still to do before the VF is served.
    hold: Option<Hold>,
    /// The VF came from another host and is served now: its addresses are to be announced on the wire.
    announce: bool,
    /// The same, when its driver has begun anew: it had rings to re-arm, and resets the VF instead.
    announce_anew: bool,
    /// The device was reset since `state` was captured or programmed.
    stale: bool,
    /// Rx queues, one bit each, whose ring the VF's driver has programmed.
    programmed: u32,
    /// Counts what makes all that was seen of the VF's rings void, see [`Self::tails`].
    epoch: u32,
    state: VfState,
}

/// What one Rx queue of a stopped VF may have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxWritten {
    /// DMA address of the ring.
    pub base: u64,
    /// Bytes of the ring, 0: none.
    pub length: u32,
    /// Next descriptor that the device would have filled. Outside of the ring if nobody knows.
    pub head: u32,
    /// First descriptor that the device did not own. Likewise.
    pub tail: u32,
    /// DMA address of the shadow array, or 0.
    pub shadow: u64,
    /// Bytes that the DMA of one descriptor can touch.
    pub buffer_len: u32,
}

/// What one Tx queue of a stopped VF may have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxWritten {
    /// DMA address of the ring.
    pub base: u64,
    /// Bytes of the ring, 0: none.
    pub length: u32,
    /// DMA address of the head write-back, or 0.
    pub writeback: u64,
}

/// What a stopped VF may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// This, and what the guest has marked, is all.
    pub complete: bool,
    /// Rx queues of the VF.
    pub rx: [RxWritten; MAX_QUEUES],
    /// Tx queues likewise.
    pub tx: [TxWritten; MAX_QUEUES],
}

/// The receive address registers of a VF: its own, and its list.
type Rars = List<u32, { MAX_UNICAST + 1 }>;

fn rars(pf: &Pf<'_>) -> Rars {
    let mut list = Rars::new(0);
    for rar in pf.switch.macs.rars_of_pool(pf.vf) {
        // A VF that has more than a state can carry is refused by `fill_software`, but it is stopped like any other:
        // what is left over leads to a queue that is off.
        if !list.push(rar) {
            break;
        }
    }
    list
}

impl Pf<'_> {
    fn queues_per_pool(&self) -> u32 {
        self.switch.pools.map_or(2, |p| p.queues())
    }

    fn place<'a>(&self, rars: &'a Rars) -> Place<'a> {
        Place {
            vf: self.vf,
            queues_per_pool: self.queues_per_pool(),
            own_rss: self.switch.chip.has_rss_of_pools(),
            rars: rars.as_slice(),
        }
    }

    fn this(&self) -> Result<&PfVf, Error> {
        self.vfs.get(self.vf as usize).ok_or(Error::NoVf)
    }

    fn this_mut(&mut self) -> Result<&mut PfVf, Error> {
        self.vfs.get_mut(self.vf as usize).ok_or(Error::NoVf)
    }

    /// Whether the PF's MTU needs jumbo frames, where these cannot be mixed with standard ones.
    fn jumbo(&self) -> bool {
        self.switch.excludes_standard_frames()
    }

    fn host(&self) -> Result<Host<'static>, Error> {
        let vf = self.this()?;
        let queues = self.queues_per_pool() as u16;
        let mixes = self.switch.chip.mixes_frames();
        Ok(Host {
            identity: Identity {
                device: self.device,
                queues_per_pool: queues,
                queue_pairs: queues,
                api: 0,
                features: self.switch.features,
                max_frame: if self.jumbo() || mixes {
                    MAX_FRAME
                } else {
                    ETH_FRAME_LEN
                },
            },
            mixes_frames: mixes,
            promiscuous: self.switch.chip.has_promiscuous_vfs(),
            apis: &APIS,
            policy: policy(vf),
            limits: limits(vf),
            mac: vf.host_mac,
        })
    }
}

fn policy(vf: &PfVf) -> Policy {
    Policy {
        admin_mac: vf.pf_set_mac,
        trusted: vf.trusted,
        spoofchk: vf.spoofchk,
        port_vlan: vf.pf_vlan,
        port_qos: vf.pf_qos.into(),
    }
}

fn limits(vf: &PfVf) -> Limits {
    Limits {
        link: match vf.link_state {
            LinkState::Auto => Link::Auto,
            LinkState::Enable => Link::Enable,
            LinkState::Disable => Link::Disable,
        },
        tx_rate: vf.tx_rate,
    }
}

fn xcast(mode: XcastMode) -> Xcast {
    match mode {
        XcastMode::None => Xcast::None,
        XcastMode::Multi => Xcast::Multi,
        XcastMode::AllMulti => Xcast::AllMulti,
        XcastMode::Promisc => Xcast::Promisc,
    }
}

impl Default for Mover {
    fn default() -> Self {
        Self::new()
    }
}

impl Mover {
    /// A VF that runs.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Running,
            coop: Coop::new(),
            vlans: List::new(0),
            max_frame: ETH_FRAME_LEN,
            rearmed: (0, 0),
            hold: None,
            announce: false,
            announce_anew: false,
            stale: false,
            programmed: 0,
            epoch: 0,
            state: VfState::EMPTY,
        }
    }

    /// Whether the VF stands still: the PF must neither reset it for a stuck Tx queue nor serve its mailbox.
    pub fn active(&self) -> bool {
        self.phase != Phase::Running
    }

    /// Where the guest's marking stands.
    pub fn marking(&self) -> Marking {
        self.coop.marking()
    }

    /// Rings that the guest re-armed, and frames that it took from them before, since the VF was made.
    pub fn rearmed(&self) -> (u64, u64) {
        self.rearmed
    }

    /// The state last captured, decoded or restored, for dumps.
    pub fn state(&self) -> &VfState {
        &self.state
    }

    /// What was seen of the VF's rings says nothing of what comes.
    fn new_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn forget_driver(&mut self) {
        self.new_epoch();
        self.coop.reset();
        self.vlans.clear();
        self.max_frame = ETH_FRAME_LEN;
        self.hold = None;
    }

    /// Whether the VF runs is known to all who may touch its mailbox or its gates.
    fn enter(&mut self, pf: &mut Pf<'_>, phase: Phase) {
        self.phase = phase;
        let stands = self.active();
        if let Ok(vf) = pf.this_mut() {
            vf.stands = stands;
        }
    }

    /// The VF was reset (FLR), by its driver or by VFIO.
    pub fn was_reset(&mut self, pf: &mut Pf<'_>) {
        let unserved = self.hold.is_some_and(|h| h.waiting && h.arrived);
        let anew = !self.active() && (unserved || self.announce_anew);
        self.reset(pf);
        self.announce_anew = anew;
    }

    /// VFIO has reset the VF, or its user is gone.
    pub fn reset(&mut self, pf: &mut Pf<'_>) {
        self.enter(pf, Phase::Running);
        self.stale = false;
        self.announce = false;
        self.announce_anew = false;
        self.forget_driver();
        if let Ok(vf) = pf.this_mut() {
            vf.outbox = Outbox::new();
        }
    }

    /// DMA logging begins. The guest's answer shows in [`Self::marking`].
    pub fn start_marking(&mut self, io: &impl Regs, pf: &mut Pf<'_>) {
        if let Some(message) = self.coop.start() {
            self.say(io, pf, PfMessage::StartMarking(message));
        }
    }

    /// The guest has had its time to answer.
    pub fn give_up_waiting(&mut self) -> Marking {
        self.coop.give_up_waiting()
    }

    /// Number of the request by which the guest marks, 0 if it does not. If it is another one than at the last look, there was
    /// a time in between in which nobody marked.
    pub fn marks(&self) -> u32 {
        self.coop.marks()
    }

    /// DMA logging ended.
    pub fn stop_marking(&mut self, io: &impl Regs, pf: &mut Pf<'_>) {
        if let Ok(vf) = pf.this_mut() {
            vf.outbox.drop_marking();
        }
        if let Some(message) = self.coop.stop() {
            self.say(io, pf, PfMessage::StopMarking(message));
        }
    }

    /// Queues a message and sends what can be sent.
    fn say(&mut self, io: &impl Regs, pf: &mut Pf<'_>, message: PfMessage) {
        if let Ok(vf) = pf.this_mut() {
            vf.outbox.put(message);
        }
        self.flush(io, pf);
    }

    /// Queues a restore; the marking that it ends at the guest is asked for again.
    fn say_restore(&mut self, pf: &mut Pf<'_>, message: Restore) {
        if !self.coop.cooperates() {
            return;
        }
        let marking = self.coop.restored();
        if let Ok(vf) = pf.this_mut() {
            vf.outbox.put(PfMessage::Restore(message));
            if let Some(message) = marking {
                vf.outbox.put(PfMessage::StartMarking(message));
            }
        }
    }
}
