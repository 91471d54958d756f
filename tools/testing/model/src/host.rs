// SPDX-License-Identifier: GPL-2.0
//! What the device needs of the machine around it: memory, interrupts, the wire and time.
//!
//! QEMU implements these through `ffi`, tests through `testing`. The device holds no reference to its host: every entry
//! point takes it, so that the core stays plain data.

/// A PCI function of the adapter: the bus identity of a DMA or of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// The physical function.
    Pf,
    /// A virtual function, counted from 0; below [`crate::MAX_VFS`].
    Vf(u8),
}

impl Function {
    /// Position in tables that have the PF first: 0 for the PF, 1 + v for VF v.
    pub fn index(self) -> usize {
        match self {
            Self::Pf => 0,
            Self::Vf(v) => usize::from(v) + 1,
        }
    }
}

/// The bus refused an access: bus mastering is off, the IOMMU has no mapping, or nothing is at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaError;

/// Memory as one function sees it, through the IOMMU of the machine.
pub trait Dma {
    /// Reads at a bus address.
    fn read(&mut self, function: Function, address: u64, buffer: &mut [u8])
        -> Result<(), DmaError>;

    /// Writes at a bus address. A guest CPU may look at any time: what must be seen last is written last, in a call of its
    /// own of at most 8 bytes.
    fn write(&mut self, function: Function, address: u64, data: &[u8]) -> Result<(), DmaError>;

    /// Whether the function may master the bus (command register, power state). Rings stand still while not.
    fn bus_master(&self, function: Function) -> bool;
}

/// Interrupts towards the machine.
pub trait Interrupts {
    /// Sends the message of an MSI-X vector, or marks it pending if the vector is masked.
    fn msix(&mut self, function: Function, vector: u16);

    /// Level of the PF's one interrupt outside MSI-X mode; the machine turns a rise into a message if MSI is enabled.
    fn legacy(&mut self, level: bool);
}

/// The cable.
pub trait Wire {
    /// Sends a frame without FCS. `false`: the frame is taken, but no further one should come before
    /// [`crate::Device::wire_ready`] is called.
    fn transmit(&mut self, frame: &[u8]) -> bool;

    /// The receiver has space again after [`crate::Device::can_receive`] said no.
    fn receive_ready(&mut self);
}

/// Time, in nanoseconds of the guest's clock.
pub trait Clock {
    /// Now.
    fn now(&self) -> u64;

    /// Calls [`crate::Device::timer`] at this time, instead of any time asked for before; `None` stops the timer.
    fn arm(&mut self, deadline: Option<u64>);

    /// Calls [`crate::Device::work`] soon, after the guest had a chance to run.
    fn kick(&mut self);
}

/// All of it.
pub trait Host: Dma + Interrupts + Wire + Clock {}

impl<T: Dma + Interrupts + Wire + Clock + ?Sized> Host for T {}
