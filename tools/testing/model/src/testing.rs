// SPDX-License-Identifier: GPL-2.0
//! A machine around the device, all in one process: memory, a wire that records, a clock that only tests move.
//!
//! For host tests, benchmarks and fuzz targets. [`Port`] gives a function's registers the traits of `libixgbe`, so that the
//! drivers' own code runs against the model.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use libixgbe::{Delay, Regs};

use crate::host::{Clock, Dma, DmaError, Function, Interrupts, Wire};
use crate::{Chip, Config, Device, HeadWrite, Module, Speeds, MAX_VFS};

/// What the machine saw the device do.
#[derive(Debug)]
struct World {
    memory: Vec<u8>,
    /// Where each function may do DMA, by [`Function::index`]; `None` is everywhere.
    mapped: Vec<Option<Vec<Range<u64>>>>,
    masters: Vec<bool>,
    messages: Vec<(Function, u16)>,
    level: bool,
    sent: Vec<Vec<u8>>,
    /// Frames that the wire takes before it asks to wait.
    room: usize,
    written: Vec<(Function, Range<u64>)>,
    now: u64,
    deadline: Option<u64>,
    kicked: bool,
    receive_ready: u32,
}

impl World {
    fn allowed(
        &self,
        function: Function,
        address: u64,
        length: usize,
    ) -> Result<Range<usize>, DmaError> {
        let end = address.checked_add(length as u64).ok_or(DmaError)?;
        if !self.bus_master(function) || end > self.memory.len() as u64 {
            return Err(DmaError);
        }
        match self.mapped.get(function.index()) {
            Some(Some(ranges))
                if !ranges
                    .iter()
                    .any(|range| range.start <= address && end <= range.end) =>
            {
                return Err(DmaError)
            }
            _ => {}
        }
        Ok(address as usize..end as usize)
    }
}

impl Dma for World {
    fn read(
        &mut self,
        function: Function,
        address: u64,
        buffer: &mut [u8],
    ) -> Result<(), DmaError> {
        let range = self.allowed(function, address, buffer.len())?;
        buffer.copy_from_slice(self.memory.get(range).ok_or(DmaError)?);
        Ok(())
    }

    fn write(&mut self, function: Function, address: u64, data: &[u8]) -> Result<(), DmaError> {
        let range = self.allowed(function, address, data.len())?;
        self.memory
            .get_mut(range)
            .ok_or(DmaError)?
            .copy_from_slice(data);
        self.written
            .push((function, address..address + data.len() as u64));
        Ok(())
    }

    fn bus_master(&self, function: Function) -> bool {
        self.masters.get(function.index()).copied().unwrap_or(false)
    }
}

impl Interrupts for World {
    fn msix(&mut self, function: Function, vector: u16) {
        self.messages.push((function, vector));
    }

    fn legacy(&mut self, level: bool) {
        self.level = level;
    }
}

impl Wire for World {
    fn transmit(&mut self, frame: &[u8]) -> bool {
        self.sent.push(frame.to_vec());
        self.room = self.room.saturating_sub(1);
        self.room > 0
    }

    fn receive_ready(&mut self) {
        self.receive_ready += 1;
    }
}

impl Clock for World {
    fn now(&self) -> u64 {
        self.now
    }

    fn arm(&mut self, deadline: Option<u64>) {
        self.deadline = deadline;
    }

    fn kick(&mut self) {
        self.kicked = true;
    }
}

/// A device with a machine around it.
pub struct Machine {
    device: RefCell<Device>,
    world: RefCell<World>,
    /// Bump allocator of [`Machine::allocate`].
    free: Cell<u64>,
}

impl Machine {
    /// A machine with `memory` bytes at bus address 0, where every function masters the bus and may access everything.
    pub fn new(head_write: HeadWrite, memory: usize) -> Self {
        Self::with(Config::new([0x02, 0, 0, 0, 0, 0x01], head_write), memory)
    }

    /// The same with a device of one's own choice.
    pub fn with(config: Config, memory: usize) -> Self {
        let functions = usize::from(MAX_VFS) + 1;
        let machine = Self {
            device: RefCell::new(Device::new(config)),
            world: RefCell::new(World {
                memory: vec![0; memory],
                mapped: vec![None; functions],
                masters: vec![true; functions],
                messages: Vec::new(),
                level: false,
                sent: Vec::new(),
                room: usize::MAX,
                written: Vec::new(),
                now: 1,
                deadline: None,
                kicked: false,
                receive_ready: 0,
            }),
            // Address 0 is nobody's, as a driver expects.
            free: Cell::new(4096),
        };
        machine.enter(|device, world| device.set_link(world, true));
        machine
    }

    /// Switches quirks on by their names, and all others off.
    ///
    /// # Panics
    /// If there is no such quirk.
    pub fn set_quirks(&self, names: &str) {
        let quirks = names.parse().expect("names of quirks");
        self.enter(|device, _| device.set_quirks(quirks));
    }

    /// Calls into the device, then lets it do what it asked to do later.
    fn enter<T>(&self, call: impl FnOnce(&mut Device, &mut World) -> T) -> T {
        let (device, world) = (
            &mut *self.device.borrow_mut(),
            &mut *self.world.borrow_mut(),
        );
        let result = call(device, world);
        while std::mem::take(&mut world.kicked) {
            device.work(world);
        }
        result
    }

    /// The registers of a function.
    pub fn port(&self, function: Function) -> Port<'_> {
        Port {
            machine: self,
            function,
        }
    }

    /// The PF's registers.
    pub fn pf(&self) -> Port<'_> {
        self.port(Function::Pf)
    }

    /// A VF's registers.
    pub fn vf(&self, vf: u8) -> Port<'_> {
        self.port(Function::Vf(vf))
    }

    /// Switches SR-IOV on or off, as its capability would.
    pub fn set_vfs(&self, vfs: u8) {
        self.enter(|device, world| device.set_vfs(world, vfs));
    }

    /// A PCIe function level reset.
    pub fn reset(&self, function: Function) {
        self.enter(|device, world| match function {
            Function::Pf => device.pf_reset(world),
            Function::Vf(vf) => device.vf_reset(world, vf),
        });
    }

    /// Plugs or unplugs the cable.
    pub fn set_link(&self, up: bool) {
        self.enter(|device, world| device.set_link(world, up));
    }

    /// Changes what is in the cage.
    pub fn set_module(&self, module: Module) {
        self.enter(|device, world| device.set_module(world, module));
    }

    /// Changes the speeds of the partner at the other end of the cable.
    pub fn set_partner(&self, speeds: Speeds) {
        self.enter(|device, world| device.set_partner(world, speeds));
    }

    /// Firmware takes these bits of SW_FW_SYNC, counted as software's, and returns all others.
    pub fn firmware_holds(&self, bits: u32) {
        self.enter(|device, _| device.firmware_holds(bits));
    }

    /// The chip is too hot.
    pub fn overheat(&self) {
        self.enter(|device, world| device.overheat(world));
    }

    /// Which chip its device is.
    pub fn chip(&self) -> Chip {
        self.device.borrow().config.chip
    }

    /// Sets or clears a function's bus master bit.
    pub fn set_bus_master(&self, function: Function, on: bool) {
        if let Some(master) = self.world.borrow_mut().masters.get_mut(function.index()) {
            *master = on;
        }
        self.enter(|device, world| device.bus_master_changed(world));
    }

    /// Lets a function access these ranges only, as an IOMMU does.
    pub fn map_only(&self, function: Function, ranges: &[Range<u64>]) {
        if let Some(mapped) = self.world.borrow_mut().mapped.get_mut(function.index()) {
            *mapped = Some(ranges.to_vec());
        }
    }

    /// A frame arrives from the wire. False if the device held the wire back.
    pub fn receive(&self, frame: &[u8]) -> bool {
        self.enter(|device, world| {
            let takes = device.can_receive();
            if takes {
                device.receive(world, frame);
            }
            takes
        })
    }

    /// Frames that left since the last call.
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.world.borrow_mut().sent)
    }

    /// Lets the wire take `frames` more, then wait; `wire_ready` ends the wait.
    pub fn set_wire_room(&self, frames: usize) {
        self.world.borrow_mut().room = frames;
    }

    /// The wire takes frames again.
    pub fn wire_ready(&self) {
        self.enter(|device, world| device.wire_ready(world));
    }

    /// How often the device said that it can receive again.
    pub fn receive_ready_count(&self) -> u32 {
        self.world.borrow().receive_ready
    }

    /// MSI-X messages since the last call.
    pub fn take_messages(&self) -> Vec<(Function, u16)> {
        std::mem::take(&mut self.world.borrow_mut().messages)
    }

    /// Level of the PF's interrupt outside MSI-X mode.
    pub fn level(&self) -> bool {
        self.world.borrow().level
    }

    /// What the device wrote since the last call.
    pub fn take_written(&self) -> Vec<(Function, Range<u64>)> {
        std::mem::take(&mut self.world.borrow_mut().written)
    }

    /// Counters of a function.
    pub fn counts(&self, function: Function) -> crate::debug::Counts {
        self.device.borrow_mut().debug().counts(function)
    }

    /// Lets time pass, with timers at their times.
    pub fn advance(&self, nanoseconds: u64) {
        let end = self.world.borrow().now.saturating_add(nanoseconds);
        loop {
            let due = {
                let world = &mut *self.world.borrow_mut();
                match world.deadline {
                    Some(deadline) if deadline <= end => {
                        world.now = world.now.max(deadline);
                        world.deadline = None;
                        true
                    }
                    _ => {
                        world.now = end;
                        false
                    }
                }
            };
            if !due {
                return;
            }
            self.enter(|device, world| device.timer(world));
        }
    }

    /// Nanoseconds since the machine began.
    pub fn now(&self) -> u64 {
        self.world.borrow().now
    }

    /// Memory that was never handed out before, zeroed, aligned to `align` (a power of two). Panics when there is no more.
    pub fn allocate(&self, bytes: usize, align: u64) -> u64 {
        let start = self.free.get().next_multiple_of(align);
        let end = start + bytes as u64;
        assert!(
            end <= self.world.borrow().memory.len() as u64,
            "the machine's memory is too small"
        );
        self.free.set(end);
        start
    }

    /// Takes over all memory of another machine, and what of it is handed out.
    pub fn copy_memory(&self, from: &Self) {
        self.world
            .borrow_mut()
            .memory
            .clone_from(&from.world.borrow().memory);
        self.free.set(from.free.get());
    }

    /// Copies from memory; panics outside it.
    pub fn load(&self, address: u64, bytes: usize) -> Vec<u8> {
        let start = address as usize;
        self.world.borrow().memory[start..start + bytes].to_vec()
    }

    /// Copies to memory; panics outside it.
    pub fn store(&self, address: u64, data: &[u8]) {
        let start = address as usize;
        self.world.borrow_mut().memory[start..start + data.len()].copy_from_slice(data);
    }
}

/// The registers of one function, and the machine's time.
#[derive(Clone, Copy)]
pub struct Port<'a> {
    machine: &'a Machine,
    function: Function,
}

impl Regs for Port<'_> {
    fn read32(&self, reg: u32) -> u32 {
        self.machine
            .enter(|device, world| device.read(world, self.function, reg))
    }

    fn write32(&self, reg: u32, val: u32) {
        self.machine
            .enter(|device, world| device.write(world, self.function, reg, val));
    }
}

impl Delay for Port<'_> {
    fn udelay(&self, us: u32) {
        self.machine.advance(u64::from(us) * 1000);
    }

    fn usleep(&self, us: u32) {
        self.machine.advance(u64::from(us) * 1000);
    }
}

/// A machine with a PF's driver, which runs while a VF's driver waits.
pub trait Host {
    /// The machine.
    fn machine(&self) -> &Machine;

    /// The PF's driver does what is to be done.
    fn serve(&self);
}

/// Registers of a function of a [`Host`].
pub struct Served<'a, H>(pub &'a H, pub Function);

impl<H: Host> Regs for Served<'_, H> {
    fn read32(&self, reg: u32) -> u32 {
        self.0.machine().port(self.1).read32(reg)
    }

    fn write32(&self, reg: u32, val: u32) {
        self.0.machine().port(self.1).write32(reg, val);
    }
}

impl<H: Host> Delay for Served<'_, H> {
    fn udelay(&self, us: u32) {
        self.0.machine().port(self.1).udelay(us);
        if matches!(self.1, Function::Vf(_)) {
            self.0.serve();
        }
    }

    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}
