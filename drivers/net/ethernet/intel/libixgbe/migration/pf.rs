// SPDX-License-Identifier: GPL-2.0
//! One VF's migration on its PF: what `include/linux/ixgbe_migration.h` promises, over the PF's software state.
//!
//! The caller serialises everything with the lock that guards the PF's VFs. On the destination the VF's wishes (address,
//! lists, modes) are put to the PF as if the VF asked again by mailbox, so that a state can never get more than the VF
//! could.

use super::capture;
use super::coop::Coop;
use super::coop::Marking;
use super::decode;
use super::decode_compat;
use super::encode;
use super::encode_compat;
use super::format;
use super::program;
use super::quiesce;
use super::quiesce::steering_off;
use super::restore;
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
use super::Restored;
use crate::mbx::pf as mailbox;
use crate::mbx::ApiVersion;
use crate::mbx::McHashes;
use crate::mbx::Request;
use crate::mbx::Words;
use crate::mbx::XcastMode;
use crate::mbx::VT_MSGTYPE_ACK;
use crate::mbx::VT_MSGTYPE_CTS;
use crate::mbx::VT_MSGTYPE_NACK;
use crate::mbx_ext;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::Restore;
use crate::mbx_ext::SaveRequest;
use crate::mbx_ext::VfMessage;
use crate::regs;
use crate::sriov::vf::reply;
use crate::sriov::vf::Handled;
use crate::sriov::vf::Switch;
use crate::sriov::vf::VfState as PfVf;
use crate::Delay;
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
    /// A state or a compatibility record was refused.
    Refused(Refusal),
    /// The VF uses what the PF cannot see, so it cannot be saved.
    Unsupported,
    /// The buffer is too small.
    NoSpace,
    /// No such VF.
    NoVf,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
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

/// A VF that runs, but whose guest has still to re-arm rings: until it has, no PF serves the VF's addresses. Its Rx gate
/// is shut and nothing was announced, so that switches do not send here what would be dropped here.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// Of the message that asks for it.
    generation: u32,
    /// Whether the gate is to be opened then.
    receives: bool,
    /// The addresses are to be announced then.
    arrived: bool,
    /// Rx queues that stand parked, one bit each.
    rx: u32,
    /// Tx queues likewise.
    tx: u32,
}

/// PF messages that wait for the mailbox to be free, in the order in which they go out.
#[derive(Clone, Copy, Debug, Default)]
struct Outbox {
    restore: Option<Restore>,
    marking: Option<PfMessage>,
    save: Option<SaveRequest>,
}

impl Outbox {
    fn put(&mut self, message: PfMessage) {
        match message {
            PfMessage::Restore(m) => self.restore = Some(m),
            PfMessage::SaveRequest(m) => self.save = Some(m),
            PfMessage::StartMarking(_) | PfMessage::StopMarking(_) => self.marking = Some(message),
        }
    }

    fn take(&mut self) -> Option<PfMessage> {
        let restore = self.restore.take().map(PfMessage::Restore);
        restore
            .or_else(|| self.marking.take())
            .or_else(|| self.save.take().map(PfMessage::SaveRequest))
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
    /// The VF has taken the last message of the PF.
    acked: bool,
    outbox: Outbox,
    /// Sent, and neither acknowledged nor overwritten.
    in_flight: Option<PfMessage>,
    /// What the guest counted: rings re-armed, frames saved by it.
    rearmed: (u64, u64),
    /// What the guest has still to do before the VF is served.
    hold: Option<Hold>,
    /// The VF came from another host and is served now: its addresses are to be announced on the wire.
    announce: bool,
    /// The device was reset since `state` was captured or programmed.
    stale: bool,
    state: VfState,
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
            rars: rars.as_slice(),
        }
    }

    fn this(&self) -> Result<&PfVf, Error> {
        self.vfs.get(self.vf as usize).ok_or(Error::NoVf)
    }

    fn this_mut(&mut self) -> Result<&mut PfVf, Error> {
        self.vfs.get_mut(self.vf as usize).ok_or(Error::NoVf)
    }

    /// Whether the PF's MTU needs jumbo frames, which the 82599 cannot mix with standard ones.
    fn jumbo(&self) -> bool {
        self.switch.mtu.saturating_add(14) > ETH_FRAME_LEN
    }

    fn host(&self) -> Result<Host<'static>, Error> {
        let vf = self.this()?;
        let queues = self.queues_per_pool() as u16;
        Ok(Host {
            identity: Identity {
                device: self.device,
                queues_per_pool: queues,
                queue_pairs: queues,
                api: 0,
                features: self.switch.features,
                max_frame: if self.jumbo() {
                    MAX_FRAME
                } else {
                    ETH_FRAME_LEN
                },
            },
            apis: &APIS,
            policy: policy(vf),
            mac: vf.mac,
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
            acked: true,
            outbox: Outbox {
                restore: None,
                marking: None,
                save: None,
            },
            in_flight: None,
            rearmed: (0, 0),
            hold: None,
            announce: false,
            stale: false,
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

    /// Whether the VF runs and is not yet served, because its guest has rings to re-arm.
    pub fn waits_for_guest(&self) -> bool {
        self.hold.is_some() && !self.active()
    }

    /// The guest has re-armed, or had its time to: the VF is served from here on.
    pub fn serve_now(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        // The administrator may have taken the link away meanwhile.
        if hold.receives && pf.this().is_ok_and(|vf| vf.link_enable) {
            restore::open_rx_gate(io, pf.vf);
        }
        self.announce |= hold.arrived;
    }

    /// Whether the VF's addresses are to be announced now.
    pub fn announcement(&self) -> bool {
        self.announce
    }

    /// The same; says so once.
    pub fn take_announcement(&mut self) -> bool {
        core::mem::take(&mut self.announce)
    }

    /// The state last captured, decoded or restored, for dumps.
    pub fn state(&self) -> &VfState {
        &self.state
    }

    fn forget_driver(&mut self) {
        self.coop.reset();
        self.vlans.clear();
        self.max_frame = ETH_FRAME_LEN;
        self.outbox = Outbox::default();
        self.in_flight = None;
    }

    /// Whether the VF runs is known to all who may touch its mailbox or its gates.
    fn enter(&mut self, pf: &mut Pf<'_>, phase: Phase) {
        self.phase = phase;
        let stands = self.active();
        if let Ok(vf) = pf.this_mut() {
            vf.stands = stands;
        }
    }

    /// The VF was reset (FLR), or VFIO's user is gone.
    pub fn reset(&mut self, pf: &mut Pf<'_>) {
        self.enter(pf, Phase::Running);
        self.stale = false;
        self.acked = true;
        self.hold = None;
        self.announce = false;
        self.forget_driver();
    }

    /// Deals with the messages that a VF announced (`ixgbe_msg_task`), and says what became of one that it sent.
    ///
    /// What a VF asks for while it stands still travels with it. Of the rest its acknowledgement comes first: a VF takes
    /// the PF's message before it answers, and what it has taken must not be sent again over the answer to its own.
    pub fn serve(
        &mut self,
        io: &impl Regs,
        pf: &mut Pf<'_>,
        events: &mailbox::Events,
    ) -> Option<Handled> {
        let bit = 1u64 << (pf.vf & 63);
        if self.active() {
            return None;
        }
        if events.acks & bit != 0 {
            pf.switch.handle_ack(io, pf.vfs, pf.vf);
            self.acknowledged(io, pf);
        }
        if events.messages & bit == 0 {
            return None;
        }
        let what = pf.switch.handle_message(io, pf.vfs, pf.vf);
        self.handled(io, pf, &what);
        Some(what)
    }

    /// The VF acknowledged a message of the PF.
    fn acknowledged(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        self.acked = true;
        self.in_flight = None;
        self.flush(io, pf);
    }

    /// The PF has dealt with a message of the VF: keeps what migration needs of it, and answers the extension's.
    fn handled(&mut self, io: &impl Regs, pf: &mut Pf<'_>, what: &Handled) {
        if matches!(what, Handled::Busy | Handled::Ignored) {
            return;
        }
        // The VF's message overwrote one that it had not read, and the answer is now what it reads next.
        if let Some(lost) = self.in_flight.take() {
            self.outbox.put(lost);
        }
        self.acked = false;
        match *what {
            Handled::Reset => {
                // The answer has opened the gates, and the driver that comes up programs its rings itself.
                self.announce |= self.hold.take().is_some_and(|hold| hold.arrived);
                self.forget_driver();
            }
            Handled::Done(Request::SetVlan { add, vid }) => self.keep_vlan(vid, add),
            Handled::Done(Request::SetLpe(bytes)) => {
                self.max_frame = bytes
                    .saturating_sub(ETH_FCS_LEN)
                    .clamp(ETH_FRAME_LEN, MAX_FRAME);
            }
            Handled::Done(Request::FeaturesNegotiate(_)) => {
                self.coop.negotiated(pf.this().map_or(0, |vf| vf.features));
            }
            Handled::Extension(words) => self.extension(io, pf, &words),
            _ => (),
        }
    }

    fn keep_vlan(&mut self, vid: u16, add: bool) {
        let mut kept = List::new(0);
        // Sorted, as the state has it. 64 is what the device has entries for, so the list cannot overflow unseen.
        let mut done = !add;
        for old in self.vlans.as_slice() {
            if !done && vid <= *old {
                done = kept.push(vid);
            }
            if *old != vid {
                let _ = kept.push(*old);
            }
        }
        if !done {
            let _ = kept.push(vid);
        }
        self.vlans = kept;
    }

    fn extension(&mut self, io: &impl Regs, pf: &Pf<'_>, words: &Words) {
        let mut answer = *words;
        let ok = match VfMessage::parse(words) {
            Ok(VfMessage::RegisterQueue(m)) => match self.coop.register(&m) {
                Ok(marking) => {
                    answer =
                        VfMessage::RegisterQueue(mbx_ext::RegisterQueue { marking, ..m }).words();
                    true
                }
                Err(()) => false,
            },
            Ok(VfMessage::MarkingReply(m)) => {
                self.coop.reply(&m);
                true
            }
            Ok(VfMessage::RestoreDone(m)) => {
                self.rearmed.0 = self.rearmed.0.saturating_add(m.rearmed.into());
                self.rearmed.1 = self.rearmed.1.saturating_add(m.frames.into());
                // Before the answer: the guest then sends what waited, and the answers to that must find it.
                if self.hold.is_some_and(|h| h.generation == m.generation) {
                    self.serve_now(io, pf);
                }
                true
            }
            // A hint for who reads the mailbox; the heads come from the hardware.
            Ok(VfMessage::SaveReply(_)) => true,
            Err(_) => false,
        };
        // A VF that holds the mailbox asks again.
        let _ = reply(io, pf.vf, &answer, ok);
    }

    /// Sends what waits, if the VF can take it. Called after every event of the VF, and periodically.
    pub fn flush(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        let clear_to_send = pf.this().is_ok_and(|vf| vf.clear_to_send);
        if !self.acked
            || self.in_flight.is_some()
            || self.active()
            || !clear_to_send
            || !self.coop.cooperates()
        {
            return;
        }
        let Some(message) = self.outbox.take() else {
            return;
        };
        let mut words = message.words();
        words[0] |= VT_MSGTYPE_CTS;
        if mailbox::notify(io, pf.vf, &words).is_ok() {
            self.in_flight = Some(message);
            self.acked = false;
        } else {
            self.outbox.put(message);
        }
    }

    /// Fills the parts of the state that the PF has in software.
    fn fill_software(&mut self, io: &impl Regs, pf: &Pf<'_>) -> Result<(), Error> {
        let vf = pf.this()?;
        let s = &mut self.state;
        let queues = pf.queues_per_pool() as u16;
        s.identity = Identity {
            device: pf.device,
            queues_per_pool: queues,
            queue_pairs: queues,
            api: api_code(vf.api),
            features: vf.features,
            max_frame: self.max_frame,
        };
        s.policy = policy(vf);
        let f = &mut s.filters;
        f.mac = vf.mac;
        f.xcast = xcast(vf.xcast_mode);
        f.unicast.clear();
        for mac in pf.switch.macs.macvlans_of_pool(pf.vf) {
            if !f.unicast.push(*mac) {
                return Err(Error::Unsupported);
            }
        }
        f.vlans = self.vlans;
        f.multicast.clear();
        for hash in vf.mc.as_slice() {
            // The register's index has 12 bits, whatever the VF sent.
            if !f.multicast.push(hash & 0xfff) {
                return Err(Error::Unsupported);
            }
        }
        s.registrations = *self.coop.queues();
        let mut counted = *vf;
        counted.update_stats(io, pf.vf);
        s.statistics = super::Statistics {
            rx_packets: counted.stats.gprc,
            rx_bytes: counted.stats.gorc,
            rx_multicast: counted.stats.mprc,
            tx_packets: counted.stats.gptc,
            tx_bytes: counted.stats.gotc,
        };
        Ok(())
    }

    /// Notes in the captured state what either side of the mailbox has sent and the other not taken.
    fn note_mailbox(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        let m = &mut self.state.mailbox;
        let [head, ..] = m.words;
        let of_pf =
            head & (VT_MSGTYPE_ACK | VT_MSGTYPE_NACK) != 0 || mbx_ext::PfMessage::is_type(head);
        m.request = mailbox::message_pending(io, pf.vf);
        m.pf_message = of_pf && !self.acked && !m.request;
        m.cts = pf.this().is_ok_and(|vf| vf.clear_to_send);
    }

    /// Reads the hardware's part of the state of the suspended VF.
    fn capture(&mut self, io: &impl Regs, pf: &Pf<'_>, was: &Quiesced) {
        let none = Rars::new(0);
        let (rx, tx) = (self.state.rx, self.state.tx);
        self.state.identity.queues_per_pool = pf.queues_per_pool() as u16;
        capture(io, &pf.place(&none), was, &mut self.state);
        // What the guest has not come to re-arm stands where it stood when it arrived.
        let hold = self.hold.map_or((0, 0), |hold| (hold.rx, hold.tx));
        for (i, (now, before)) in self.state.rx.iter_mut().zip(rx).enumerate() {
            if hold.0 >> i & 1 != 0 && !now.enabled() {
                *now = before;
            }
        }
        for (i, (now, before)) in self.state.tx.iter_mut().zip(tx).enumerate() {
            if hold.1 >> i & 1 != 0 && !now.enabled() {
                *now = before;
            }
        }
        self.state.registrations = *self.coop.queues();
    }

    /// Stops the VF; once stopped it stays so.
    ///
    /// # Errors
    /// [`Error::Stuck`]; the VF was started again.
    pub fn suspend(&mut self, io: &(impl Regs + Delay), pf: &mut Pf<'_>) -> Result<(), Error> {
        if self.active() {
            return Ok(());
        }
        let rars = rars(pf);
        let place = pf.place(&rars);
        let opened = self.hold.is_some_and(|hold| hold.receives);
        match quiesce(io, &place) {
            Ok(mut was) => {
                was.vfre |= opened;
                self.enter(pf, Phase::Suspended(was));
                Ok(())
            }
            Err((mut was, why)) => {
                was.vfre |= opened;
                self.capture(io, pf, &was);
                self.start(io, pf, &was, false)?;
                self.flush(io, pf);
                Err(Error::Stuck(why))
            }
        }
    }

    /// Writes the compatibility record and returns its length. Asks a cooperating guest to prepare.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Unsupported`].
    pub fn compat(&mut self, io: &impl Regs, pf: &Pf<'_>, out: &mut [u8]) -> Result<usize, Error> {
        self.fill_software(io, pf)?;
        if self.coop.cooperates() && !self.active() {
            let generation = self.coop.next_generation();
            self.outbox
                .put(PfMessage::SaveRequest(SaveRequest::new(generation)));
            self.flush(io, pf);
        }
        Ok(encode_compat(&self.state, out)?)
    }

    /// Compares a compatibility record with this host.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn check_compat(&mut self, pf: &Pf<'_>, record: &[u8]) -> Result<(), Error> {
        let host = pf.host()?;
        let mut seen = VfState::EMPTY;
        Ok(decode_compat(record, &host, &mut seen)?)
    }

    /// Writes the state of the suspended VF and returns its length.
    ///
    /// # Errors
    /// [`Error::NotSuspended`], [`Error::NoSpace`], [`Error::Unsupported`].
    pub fn save(&mut self, io: &impl Regs, pf: &Pf<'_>, out: &mut [u8]) -> Result<usize, Error> {
        match self.phase {
            Phase::Running => return Err(Error::NotSuspended),
            // Not started since it was loaded: what came is what goes on.
            Phase::Loaded(_) => return Ok(encode(&self.state, out)?),
            Phase::Suspended(was) => {
                self.fill_software(io, pf)?;
                self.capture(io, pf, &was);
            }
        }
        let s = &mut self.state;
        let beyond =
            s.rx.iter()
                .skip(super::VISIBLE_PAIRS)
                .any(super::RxQueue::enabled)
                || s.tx
                    .iter()
                    .skip(super::VISIBLE_PAIRS)
                    .any(super::TxQueue::enabled);
        if beyond {
            return Err(Error::Unsupported);
        }
        self.note_mailbox(io, pf);
        Ok(encode(&self.state, out)?)
    }

    /// Checks a state and programs it into the suspended VF. Nothing is written before all of it has been checked.
    ///
    /// # Errors
    /// [`Error::NotSuspended`], [`Error::Refused`].
    pub fn load(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        blob: &[u8],
    ) -> Result<(), Error> {
        let (Phase::Suspended(was) | Phase::Loaded(was)) = self.phase else {
            return Err(Error::NotSuspended);
        };
        let host = pf.host()?;
        // Not into `self.state`: a refused state must leave no trace.
        let mut state = VfState::EMPTY;
        decode(blob, &host, &mut state)?;
        let f = &state.filters;
        let mut macs = core::iter::once(&f.mac).chain(f.unicast.as_slice());
        if macs.any(|mac| *mac != [0; 6] && pf.switch.macs.is_anothers(mac, pf.vf)) {
            return Err(Refusal::MacInUse.into());
        }
        let wanted = f.unicast.as_slice().len().saturating_add(1);
        if pf.switch.macs.available(pf.vf) < wanted {
            return Err(Refusal::Unsupported.into());
        }

        if let Err(refusal) = self.apply(io, pf, &state) {
            // Filters ran out: the VF is left as after a reset, its queues untouched.
            pf.switch.vf_reset_event(io, pf.vfs, pf.vf);
            let rars = rars(pf);
            steering_off(io, &pf.place(&rars), io.read32(regs::vmolr(pf.vf)));
            return Err(refusal.into());
        }
        let vmolr = io.read32(regs::vmolr(pf.vf));
        let rars = rars(pf);
        let place = pf.place(&rars);
        steering_off(io, &place, vmolr);
        program(io, &place, &state);
        let vf = pf.this_mut()?;
        let open = state.filters.enabled && vf.link_enable;
        let api = vf.api;
        self.coop
            .adopt(state.identity.features, &state.registrations);
        self.vlans = state.filters.vlans;
        self.max_frame = state.identity.max_frame;
        self.acked = true;
        self.state = state;
        let receives = open && (!pf.jumbo() || api >= ApiVersion::V11);
        self.phase = Phase::Loaded(Quiesced {
            vmolr,
            vfre: receives,
            vfte: open,
            ..was
        });
        Ok(())
    }

    /// Puts the VF's wishes to this host's PF, in the order in which a driver would.
    fn apply(&self, io: &impl Regs, pf: &mut Pf<'_>, state: &VfState) -> Result<(), Refusal> {
        let vf = pf.vf;
        let i = &state.identity;
        let f = &state.filters;
        {
            let Ok(this) = pf.this_mut() else {
                return Err(Refusal::Unsupported);
            };
            this.api = api_of(i.api).unwrap_or_default();
            this.features = i.features;
            this.clear_to_send = state.mailbox.cts;
            this.xcast_mode = XcastMode::None;
            let s = &state.statistics;
            this.rebase_stats(io, vf);
            this.stats.gprc = s.rx_packets;
            this.stats.gorc = s.rx_bytes;
            this.stats.mprc = s.rx_multicast;
            this.stats.gptc = s.tx_packets;
            this.stats.gotc = s.tx_bytes;
        }
        pf.switch.admit(io, pf.vfs, vf);
        let mut ask = |request: Request, kind: u16| {
            pf.switch
                .apply(io, pf.vfs, vf, &request)
                .map_err(|_| Refusal::Rights(kind))
        };
        if f.mac != [0; 6] {
            ask(Request::SetMac(f.mac), format::FILTERS)?;
        }
        for (n, addr) in (1u8..).zip(f.unicast.as_slice()) {
            ask(
                Request::SetMacvlan {
                    index: n,
                    addr: *addr,
                },
                format::UNICAST,
            )?;
        }
        let mc = McHashes::from_hashes(f.multicast.as_slice().iter().copied());
        if !mc.is_empty() {
            ask(Request::SetMulticast(mc), format::MULTICAST)?;
        }
        if f.xcast != Xcast::None {
            ask(Request::UpdateXcastMode(f.xcast as u32), format::FILTERS)?;
        }
        for vid in f.vlans.as_slice().iter().filter(|vid| **vid != 0) {
            ask(
                Request::SetVlan {
                    add: true,
                    vid: *vid,
                },
                format::VLANS,
            )?;
        }
        if i.max_frame > ETH_FRAME_LEN {
            ask(
                Request::SetLpe(i.max_frame.saturating_add(ETH_FCS_LEN)),
                format::IDENTITY,
            )?;
        }
        Ok(())
    }

    /// Lets a suspended or loaded VF run; `None` if it runs already.
    ///
    /// # Errors
    /// [`Error::NoVf`]
    pub fn resume(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
    ) -> Result<Option<Resumed>, Error> {
        self.after_pf_reset(io, pf);
        let (was, arrived) = match self.phase {
            Phase::Running => return Ok(None),
            Phase::Suspended(was) => {
                self.capture(io, pf, &was);
                (was, false)
            }
            Phase::Loaded(was) => (was, true),
        };
        let restored = self.start(io, pf, &was, arrived)?;
        if arrived && self.state.mailbox.request {
            let what = pf.switch.handle_message(io, pf.vfs, pf.vf);
            self.handled(io, pf, &what);
        }
        self.flush(io, pf);
        Ok(Some(Resumed { restored, arrived }))
    }

    /// Sets the VF going that stands as [`Self::state`] says.
    fn start(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        was: &Quiesced,
        arrived: bool,
    ) -> Result<Restored, Error> {
        let rars = rars(pf);
        let place = pf.place(&rars);
        // The administrator may have taken the link away meanwhile.
        let link = pf.this()?.link_enable;
        let gates = (was.vfre && link, was.vfte && link);
        let restored = restore::resume(io, &place, &self.state, was.vmolr, gates, pf.head_restore);
        // Who was to be announced when the guest had re-armed is announced after this, too.
        let arrived_before = self.hold.take().is_some_and(|hold| hold.arrived);
        self.enter(pf, Phase::Running);
        if arrived && self.state.mailbox.pf_message {
            // The memory holds the message; raising it again is all that was lost.
            io.write32(regs::pfmailbox(pf.vf), regs::PFMAILBOX_STS);
            self.acked = false;
        }
        if restored.way == HeadRestore::Reset {
            let (switch, vf) = (&*pf.switch, pf.vf);
            if let Some(state) = pf.vfs.get_mut(vf as usize) {
                switch.restart(io, vf, state);
            }
        } else if arrived || restored.way == HeadRestore::Rearm {
            let message = self.restore_message(&restored);
            if restored.waits_for_guest() {
                self.hold = Some(Hold {
                    generation: message.generation,
                    receives: was.vfre,
                    arrived: arrived || arrived_before,
                    rx: restored.rearm_rx,
                    tx: restored.rearm_tx,
                });
            }
            // Sent if the guest knows it, see `flush`.
            self.outbox.put(PfMessage::Restore(message));
        }
        if self.hold.is_none() {
            self.announce |= arrived || arrived_before;
        }
        Ok(restored)
    }

    fn restore_message(&mut self, restored: &Restored) -> Restore {
        let mut heads = [0; mbx_ext::MAX_QUEUES];
        for (to, (rx, tx)) in heads
            .iter_mut()
            .zip(self.state.rx.iter().zip(&self.state.tx))
        {
            // Heads are below 4096, see `check`.
            *to = (rx.head & 0xffff) | (tx.head & 0xffff) << 16;
        }
        Restore {
            head: mbx_ext::PF_RESTORE,
            version: mbx_ext::EXT_VERSION,
            generation: self.coop.next_generation(),
            queues: self.state.used_pairs(),
            rearm_rx: restored.rearm_rx,
            rearm_tx: restored.rearm_tx,
            heads,
            reserved: [0; 2],
        }
    }

    /// The PF will reset the device: keeps all of a VF that stands still, so that it can be put back. The PF then resets,
    /// sets up its VFs as always, and calls [`Self::after_pf_reset`].
    pub fn before_pf_reset(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        match self.phase {
            Phase::Running => return,
            Phase::Loaded(_) => (),
            Phase::Suspended(was) => {
                // A VF with more than a state can carry loses what does not fit, as all of it at any other reset.
                let _ = self.fill_software(io, pf);
                self.capture(io, pf, &was);
                self.note_mailbox(io, pf);
                self.phase = Phase::Loaded(was);
            }
        }
        self.stale = true;
    }

    /// The PF has reset the device and runs: a VF that stands still is programmed again.
    pub fn after_pf_reset(&mut self, io: &(impl Regs + Delay), pf: &mut Pf<'_>) {
        let Phase::Loaded(was) = self.phase else {
            return;
        };
        if !core::mem::take(&mut self.stale) {
            return;
        }
        let state = self.state;
        // What this host no longer grants is gone, as after any reset.
        let _ = self.apply(io, pf, &state);
        let vmolr = io.read32(regs::vmolr(pf.vf));
        let rars = rars(pf);
        let place = pf.place(&rars);
        restore::close_gates(io, &place);
        steering_off(io, &place, vmolr);
        program(io, &place, &self.state);
        self.phase = Phase::Loaded(Quiesced { vmolr, ..was });
    }

    /// DMA logging begins. The guest's answer shows in [`Self::marking`].
    pub fn start_marking(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        if let Some(message) = self.coop.start() {
            self.outbox.put(PfMessage::StartMarking(message));
            self.flush(io, pf);
        }
    }

    /// The guest has had its time to answer.
    pub fn give_up_waiting(&mut self) -> Marking {
        self.coop.give_up_waiting()
    }

    /// DMA logging ended.
    pub fn stop_marking(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        self.outbox.marking = None;
        if let Some(message) = self.coop.stop() {
            self.outbox.put(PfMessage::StopMarking(message));
            self.flush(io, pf);
        }
    }

    /// Reads the rings of the suspended VF into [`Self::state`], and says whether they, the shadow arrays and the guest's
    /// marks are all that was written.
    ///
    /// # Errors
    /// [`Error::NotSuspended`]
    pub fn rings(&mut self, io: &impl Regs, pf: &Pf<'_>) -> Result<bool, Error> {
        match self.phase {
            Phase::Running => return Err(Error::NotSuspended),
            Phase::Suspended(was) => self.capture(io, pf, &was),
            Phase::Loaded(_) => (),
        }
        let running = self.state.rx_queues().iter().map(super::RxQueue::enabled);
        Ok(self.coop.knows_every_page(running))
    }
}
