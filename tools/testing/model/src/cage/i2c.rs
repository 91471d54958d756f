// SPDX-License-Identifier: GPL-2.0
//! The module's end of the I2C bus: two open-drain wires, on which the driver plays master bit by bit.

use super::module::Module;

/// What the slave is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nobody speaks to it.
    #[default]
    Idle,
    /// Takes the bits of a byte.
    Taking,
    /// Pulls SDA down for the ninth clock.
    Acknowledging,
    /// Puts out the bits of a byte.
    Giving,
    /// Lets go of SDA, to see whether the master wants another byte.
    Asking,
}

/// What the next byte of the master is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Address,
    Offset,
    Data,
}

/// The slave's state.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    scl: bool,
    sda: bool,
    phase: Phase,
    expect: Expect,
    /// Bits of the byte that passed.
    bits: u8,
    byte: u8,
    /// What the slave pulls down.
    low: bool,
    /// After the acknowledgement: give bytes.
    read: bool,
    /// The byte of SDA that the master left on its ninth clock.
    wants_more: bool,
    /// Which of the two devices of a module speaks.
    device: u8,
    /// Byte counters of both.
    offset: [u8; 2],
    /// Bytes that were read, for tests.
    pub(crate) bytes: u64,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            scl: true,
            sda: true,
            phase: Phase::Idle,
            expect: Expect::Address,
            bits: 0,
            byte: 0,
            low: false,
            read: false,
            wants_more: false,
            device: 0,
            offset: [0; 2],
            bytes: 0,
        }
    }
}

impl Bus {
    /// Levels of SCL and SDA as everybody sees them.
    pub(crate) fn levels(&self) -> (bool, bool) {
        (self.scl, self.sda && !self.low)
    }

    /// The module went, and what it pulled down is up.
    pub(crate) fn release(&mut self) {
        self.phase = Phase::Idle;
        self.low = false;
    }

    /// The master drives the wires; `module` is what is in the cage.
    pub(crate) fn drive(&mut self, scl: bool, sda: bool, module: &mut Module) {
        let (was_scl, was_sda) = self.levels();
        self.scl = scl;
        self.sda = sda;
        let (_, now) = self.levels();
        match (was_scl, scl) {
            // SDA moves while SCL is high: start or stop.
            (true, true) if was_sda && !now => self.start(),
            (true, true) if !was_sda && now => self.release(),
            (false, true) => self.rise(now),
            (true, false) => self.fall(module),
            _ => {}
        }
    }

    fn start(&mut self) {
        self.phase = Phase::Taking;
        self.expect = Expect::Address;
        self.bits = 0;
        self.byte = 0;
        self.low = false;
    }

    fn rise(&mut self, sda: bool) {
        match self.phase {
            Phase::Taking => {
                self.byte = self.byte << 1 | u8::from(sda);
                self.bits += 1;
            }
            Phase::Giving => self.bits += 1,
            Phase::Asking => self.wants_more = !sda,
            Phase::Idle | Phase::Acknowledging => {}
        }
    }

    fn fall(&mut self, module: &mut Module) {
        match self.phase {
            Phase::Taking if self.bits == 8 => {
                if self.take(module) {
                    self.phase = Phase::Acknowledging;
                    self.low = true;
                } else {
                    self.release();
                }
            }
            Phase::Acknowledging => {
                self.bits = 0;
                self.byte = 0;
                self.low = false;
                if self.read {
                    self.give(module);
                } else {
                    self.phase = Phase::Taking;
                }
            }
            Phase::Giving if self.bits == 8 => {
                self.phase = Phase::Asking;
                self.low = false;
            }
            Phase::Giving => self.put(),
            Phase::Asking if self.wants_more => self.give(module),
            Phase::Asking => self.release(),
            Phase::Idle | Phase::Taking => {}
        }
    }

    /// A byte of the master is complete. Whether it is acknowledged.
    fn take(&mut self, module: &mut Module) -> bool {
        let device = usize::from(self.device);
        match self.expect {
            Expect::Address => {
                let Some(device) = module.answers(self.byte) else {
                    return false;
                };
                self.device = device;
                self.read = self.byte & 1 == 1;
                self.expect = Expect::Offset;
                true
            }
            _ if module.is_broken() => false,
            Expect::Offset => {
                if let Some(offset) = self.offset.get_mut(device) {
                    *offset = self.byte;
                }
                self.expect = Expect::Data;
                true
            }
            Expect::Data => {
                if let Some(offset) = self.offset.get_mut(device) {
                    module.write(self.device, *offset, self.byte);
                    *offset = offset.wrapping_add(1);
                }
                true
            }
        }
    }

    /// Starts to put out the byte that the counter names.
    fn give(&mut self, module: &Module) {
        self.phase = Phase::Giving;
        self.bits = 0;
        if let Some(offset) = self.offset.get_mut(usize::from(self.device)) {
            self.byte = module.read(self.device, *offset);
            *offset = offset.wrapping_add(1);
        }
        self.bytes += 1;
        self.put();
    }

    /// Puts out the next bit, the highest first.
    fn put(&mut self) {
        self.low = self.byte >> (7 - self.bits.min(7)) & 1 == 0;
    }
}
