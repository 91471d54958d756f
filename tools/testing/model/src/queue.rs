// SPDX-License-Identifier: GPL-2.0
//! Descriptor rings: the registers that both directions share, and their enable and head rules.
//!
//! A queue has two states that software cannot tell apart by reading: `control` holds ENABLE as written, `active` says
//! whether the DMA engine runs. A VFLR stops the engine and leaves the register (82599 Specification Update: VFLR resets
//! none of VFRDH/T, VFTDH/T, VFRXDCTL, VFTXDCTL, and "is not re-enabling queues correctly", which is why the C driver
//! toggles ENABLE after it, K: `ixgbe_vf_reset_event`).

/// Bytes of a descriptor.
pub(crate) const DESC: u64 = 16;

/// ENABLE of RXDCTL and TXDCTL.
const ENABLE: u32 = libixgbe::regs::TXDCTL_ENABLE;
/// Head write-back enable of TDWBAL (K: `IXGBE_TDWBAL_HEAD_WB_ENABLE`).
const HEAD_WRITE_BACK: u32 = 1;
/// Write-back flush of either; clears itself.
const SWFLSH: u32 = libixgbe::regs::TXDCTL_SWFLSH;

/// What a write to RDH or TDH does; no public source says (hardware-82599 notes, "Head registers").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadWrite {
    /// A write while the queue is disabled is taken as it is.
    #[default]
    Value,
    /// Whatever is written while the queue is disabled, the head becomes 0.
    Zero,
    /// Writes do nothing; the head becomes 0 when the queue is enabled.
    Ignore,
}

impl std::str::FromStr for HeadWrite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "value" => Ok(Self::Value),
            "zero" => Ok(Self::Zero),
            "ignore" => Ok(Self::Ignore),
            _ => Err(format!("head-write is value, zero or ignore, not {text:?}")),
        }
    }
}

/// What a queue does at an access: policy, quirks, and the link where they ask for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// What a write to the head does.
    pub head: HeadWrite,
    /// ENABLE cannot be cleared.
    pub sticks: bool,
    /// Enabling makes the head 0.
    pub zeroes_head: bool,
    /// Descriptors that are fetched before they are done.
    pub fetch_ahead: u32,
    /// ENABLE reads 0.
    pub hides_enable: bool,
    /// ENABLE does not fall.
    pub holds_enable: bool,
}

/// A register of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueReg {
    /// Base, low.
    BaseLow,
    /// Base, high.
    BaseHigh,
    /// Length in bytes.
    Length,
    /// Direct cache access.
    Dca,
    /// Head.
    Head,
    /// SRRCTL (receive only).
    SplitControl,
    /// Tail.
    Tail,
    /// RXDCTL or TXDCTL.
    Control,
    /// RSCCTL (receive only).
    Coalesce,
    /// TDWBAL (transmit only).
    HeadAddressLow,
    /// TDWBAH (transmit only).
    HeadAddressHigh,
}

impl QueueReg {
    /// By the offset in the block of a receive queue.
    pub(crate) fn receive(offset: u32) -> Option<Self> {
        Some(match offset {
            0x14 => Self::SplitControl,
            0x2C => Self::Coalesce,
            other => Self::common(other)?,
        })
    }

    /// By the offset in the block of a transmit queue.
    pub(crate) fn transmit(offset: u32) -> Option<Self> {
        Some(match offset {
            0x38 => Self::HeadAddressLow,
            0x3C => Self::HeadAddressHigh,
            other => Self::common(other)?,
        })
    }

    fn common(offset: u32) -> Option<Self> {
        Some(match offset {
            0x00 => Self::BaseLow,
            0x04 => Self::BaseHigh,
            0x08 => Self::Length,
            0x0C => Self::Dca,
            0x10 => Self::Head,
            0x18 => Self::Tail,
            0x28 => Self::Control,
            _ => return None,
        })
    }
}

/// What a register write means for whoever runs the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// The queue began to run, or has more descriptors.
    Work,
    /// The queue stopped.
    Stopped,
}

/// One ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    base_low: u32,
    base_high: u32,
    length: u32,
    dca: u32,
    head: u32,
    tail: u32,
    control: u32,
    /// SRRCTL of a receive queue.
    pub split_control: u32,
    coalesce: u32,
    head_address_low: u32,
    head_address_high: u32,
    active: bool,
    /// ENABLE was cleared while it could not fall, and reads 1.
    held: bool,
    /// ENABLE was cleared, and this many descriptors that were fetched are still to be done.
    fetched: Option<u32>,
}

impl Ring {
    /// Reads a register.
    pub(crate) fn read(&mut self, reg: QueueReg, rules: Rules) -> u32 {
        self.held &= rules.holds_enable;
        match reg {
            QueueReg::BaseLow => self.base_low,
            QueueReg::BaseHigh => self.base_high,
            QueueReg::Length => self.length,
            QueueReg::Dca => self.dca,
            QueueReg::Head => self.fetched_head(rules.fetch_ahead),
            QueueReg::SplitControl => self.split_control,
            QueueReg::Tail => self.tail,
            QueueReg::Control if rules.hides_enable => self.control & !ENABLE,
            QueueReg::Control if self.held || self.fetched.is_some() => self.control | ENABLE,
            QueueReg::Control => self.control,
            QueueReg::Coalesce => self.coalesce,
            QueueReg::HeadAddressLow => self.head_address_low,
            QueueReg::HeadAddressHigh => self.head_address_high,
        }
    }

    /// Writes a register. Read-only bits as in K: `reg_test_82599`.
    pub(crate) fn write(&mut self, reg: QueueReg, value: u32, rules: Rules) -> Change {
        self.held &= rules.holds_enable;
        match reg {
            QueueReg::BaseLow => self.base_low = value & 0xFFFF_FF80,
            QueueReg::BaseHigh => self.base_high = value,
            QueueReg::Length => self.length = value & 0x000F_FF80,
            QueueReg::Dca => self.dca = value,
            QueueReg::SplitControl => self.split_control = value,
            QueueReg::Coalesce => self.coalesce = value,
            QueueReg::HeadAddressLow => self.head_address_low = value,
            QueueReg::HeadAddressHigh => self.head_address_high = value,
            QueueReg::Head => {
                if !self.active && !self.held {
                    match rules.head {
                        HeadWrite::Value => self.head = value & 0xFFFF,
                        HeadWrite::Zero => self.head = 0,
                        HeadWrite::Ignore => {}
                    }
                }
            }
            QueueReg::Tail => {
                self.tail = value & 0xFFFF;
                return Change::Work;
            }
            QueueReg::Control => return self.write_control(value & !SWFLSH, rules),
        }
        Change::None
    }

    fn write_control(&mut self, value: u32, rules: Rules) -> Change {
        let enable = value & ENABLE != 0;
        if self.active && !enable && rules.sticks {
            self.control = value | ENABLE;
            return Change::None;
        }
        self.control = value;
        match (self.active, enable) {
            (false, true) => {
                self.active = true;
                self.held = false;
                if rules.head == HeadWrite::Ignore || rules.zeroes_head {
                    self.head = 0;
                }
                Change::Work
            }
            (true, true) => {
                self.fetched = None;
                Change::None
            }
            (true, false) => {
                let fetched = self.pending().min(rules.fetch_ahead);
                if fetched > 0 {
                    self.fetched = Some(fetched);
                    return Change::Work;
                }
                self.active = false;
                self.held = rules.holds_enable;
                Change::Stopped
            }
            (false, false) => Change::None,
        }
    }

    /// Where the head is, for who counts what was fetched.
    fn fetched_head(&self, ahead: u32) -> u32 {
        let fetched = if self.active {
            self.pending().min(ahead)
        } else {
            0
        };
        match self.head + fetched {
            head if fetched > 0 && head >= self.count() => head - self.count(),
            head => head,
        }
    }

    /// Whether the queue was to stop once it had done what it had fetched, and now has.
    pub(crate) fn finished(&mut self) -> bool {
        let finished = self.fetched == Some(0);
        if finished {
            self.fetched = None;
            self.active = false;
        }
        finished
    }

    /// Stops the engine without touching a register, as a VFLR does.
    pub(crate) fn halt(&mut self) {
        self.active = false;
        self.held = false;
        self.fetched = None;
    }

    /// Whether the engine runs and the ring is one.
    pub(crate) fn runs(&self) -> bool {
        self.active && self.count() > 0
    }

    /// Whether the engine runs, on whatever ring.
    pub(crate) fn active(&self) -> bool {
        self.active
    }

    /// RXDCTL or TXDCTL.
    pub(crate) fn control(&self) -> u32 {
        self.control
    }

    /// Descriptors in the ring.
    pub(crate) fn count(&self) -> u32 {
        self.length / DESC as u32
    }

    /// Descriptors that belong to the device: from head to before tail. A head or tail outside the ring gives 0, so that
    /// a ring shrunk under the device stands still.
    pub(crate) fn pending(&self) -> u32 {
        let count = self.count();
        let given = if self.head >= count || self.tail >= count {
            0
        } else if self.tail >= self.head {
            self.tail - self.head
        } else {
            count - self.head + self.tail
        };
        self.fetched.map_or(given, |fetched| given.min(fetched))
    }

    /// Bus address of the descriptor at the head.
    pub(crate) fn head_descriptor(&self) -> u64 {
        let base = u64::from(self.base_high) << 32 | u64::from(self.base_low);
        base.wrapping_add(u64::from(self.head) * DESC)
    }

    /// The head.
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// Takes the descriptor at the head.
    pub(crate) fn advance(&mut self) {
        self.head += 1;
        if let Some(fetched) = &mut self.fetched {
            *fetched = fetched.saturating_sub(1);
        }
        if self.head >= self.count() {
            self.head = 0;
        }
    }

    /// Where the head is to be written instead of descriptors, if it is (TDWBAL bit 0).
    pub(crate) fn head_address(&self) -> Option<u64> {
        let low = self.head_address_low;
        (low & HEAD_WRITE_BACK != 0)
            .then(|| u64::from(self.head_address_high) << 32 | u64::from(low & !3))
    }
}
