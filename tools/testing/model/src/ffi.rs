// SPDX-License-Identifier: GPL-2.0
//! The C ABI for QEMU; `tools/testing/qemu/ixgbe_model.h` declares the same.
//!
//! QEMU calls with its big lock held, so there is never a second thread in here, but there can be a second *call*: DMA of the
//! device may hit its own registers, and a network backend may answer a frame before `transmit` returned. Such a call finds
//! the device busy and is refused.
//!
//! A panic would be a bug of the model. It does not take QEMU with it: the device is then as if it fell off the bus.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_void, CStr, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::host::{Clock, Dma, DmaError, Function, Interrupts, Wire};
use crate::{Config, Device, MAX_VFS};

/// What QEMU does for the device. Functions are counted from 0 for the PF; all are called with the `opaque` of
/// [`ixgbe_model_new`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct IxgbeHostOps {
    /// Reads guest memory as a function; false if the bus refused.
    pub dma_read: unsafe extern "C" fn(*mut c_void, u32, u64, *mut u8, usize) -> bool,
    /// Writes guest memory as a function; false if the bus refused.
    pub dma_write: unsafe extern "C" fn(*mut c_void, u32, u64, *const u8, usize) -> bool,
    /// Whether a function may master the bus.
    pub bus_master: unsafe extern "C" fn(*mut c_void, u32) -> bool,
    /// Sends an MSI-X vector of a function.
    pub msix: unsafe extern "C" fn(*mut c_void, u32, u32),
    /// Level of the PF's interrupt outside MSI-X mode.
    pub legacy: unsafe extern "C" fn(*mut c_void, bool),
    /// Sends a frame; false to pause until [`ixgbe_model_wire_ready`].
    pub transmit: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> bool,
    /// The device takes frames again.
    pub receive_ready: unsafe extern "C" fn(*mut c_void),
    /// Nanoseconds of the guest's clock.
    pub now: unsafe extern "C" fn(*mut c_void) -> u64,
    /// Calls [`ixgbe_model_timer`] then; stops the timer if `on` is false.
    pub arm: unsafe extern "C" fn(*mut c_void, bool, u64),
    /// Calls [`ixgbe_model_work`] soon.
    pub kick: unsafe extern "C" fn(*mut c_void),
}

/// The callbacks with their argument.
struct CHost {
    ops: IxgbeHostOps,
    opaque: *mut c_void,
}

/// The function's number in the ABI.
fn number(function: Function) -> u32 {
    function.index() as u32
}

/// The function of a number.
fn function(number: u32) -> Option<Function> {
    match number.checked_sub(1) {
        None => Some(Function::Pf),
        Some(vf) if vf < u32::from(MAX_VFS) => Some(Function::Vf(vf as u8)),
        Some(_) => None,
    }
}

impl Dma for CHost {
    fn read(
        &mut self,
        function: Function,
        address: u64,
        buffer: &mut [u8],
    ) -> Result<(), DmaError> {
        // SAFETY: the callback and `opaque` are valid as long as the model is (contract of ixgbe_model_new), and the
        // buffer is writable for its length.
        let done = unsafe {
            (self.ops.dma_read)(
                self.opaque,
                number(function),
                address,
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        done.then_some(()).ok_or(DmaError)
    }

    fn write(&mut self, function: Function, address: u64, data: &[u8]) -> Result<(), DmaError> {
        // SAFETY: as above; the data is readable for its length.
        let done = unsafe {
            (self.ops.dma_write)(
                self.opaque,
                number(function),
                address,
                data.as_ptr(),
                data.len(),
            )
        };
        done.then_some(()).ok_or(DmaError)
    }

    fn bus_master(&self, function: Function) -> bool {
        // SAFETY: as above.
        unsafe { (self.ops.bus_master)(self.opaque, number(function)) }
    }
}

impl Interrupts for CHost {
    fn msix(&mut self, function: Function, vector: u16) {
        // SAFETY: as above.
        unsafe { (self.ops.msix)(self.opaque, number(function), u32::from(vector)) }
    }

    fn legacy(&mut self, level: bool) {
        // SAFETY: as above.
        unsafe { (self.ops.legacy)(self.opaque, level) }
    }
}

impl Wire for CHost {
    fn transmit(&mut self, frame: &[u8]) -> bool {
        // SAFETY: as above; the frame is readable for its length, and the callback copies what it keeps.
        unsafe { (self.ops.transmit)(self.opaque, frame.as_ptr(), frame.len()) }
    }

    fn receive_ready(&mut self) {
        // SAFETY: as above.
        unsafe { (self.ops.receive_ready)(self.opaque) }
    }
}

impl Clock for CHost {
    fn now(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (self.ops.now)(self.opaque) }
    }

    fn arm(&mut self, deadline: Option<u64>) {
        // SAFETY: as above.
        unsafe { (self.ops.arm)(self.opaque, deadline.is_some(), deadline.unwrap_or(0)) }
    }

    fn kick(&mut self) {
        // SAFETY: as above.
        unsafe { (self.ops.kick)(self.opaque) }
    }
}

/// A device with its host. C sees it as an opaque pointer.
pub struct IxgbeModel {
    inner: RefCell<(Device, CHost)>,
    broken: Cell<bool>,
}

impl IxgbeModel {
    /// Runs `work` unless the device is busy or broken.
    fn with<T>(&self, work: impl FnOnce(&mut Device, &mut CHost) -> T) -> Option<T> {
        if self.broken.get() {
            return None;
        }
        let mut inner = self.inner.try_borrow_mut().ok()?;
        let (device, host) = &mut *inner;
        let outcome = catch_unwind(AssertUnwindSafe(|| work(device, host)));
        if outcome.is_err() {
            self.broken.set(true);
        }
        outcome.ok()
    }
}

/// The model behind a pointer from C.
///
/// # Safety
/// `model` came from [`ixgbe_model_new`] and was not freed.
unsafe fn get<'a>(model: *const IxgbeModel) -> &'a IxgbeModel {
    // SAFETY: by the contract above; only shared references to it are ever made.
    unsafe { &*model }
}

/// What a user chooses, by name.
#[repr(C)]
pub struct IxgbeOptions {
    /// A policy of [`crate::HeadWrite`].
    pub head_write: *const c_char,
    /// Names of [`crate::Quirks`].
    pub quirks: *const c_char,
    /// A [`crate::Chip`].
    pub chip: *const c_char,
    /// A [`crate::Module`].
    pub module: *const c_char,
    /// [`crate::Speeds`] of the link partner.
    pub partner: *const c_char,
    /// Number of the port on its card.
    pub port: u8,
}

/// What a name means.
///
/// # Safety
/// `text` is a C string.
unsafe fn parse<T: std::str::FromStr>(text: *const c_char) -> Option<T> {
    // SAFETY: by the contract above.
    unsafe { CStr::from_ptr(text) }.to_str().ok()?.parse().ok()
}

/// Makes a device. Null if a name of the options is unknown.
///
/// # Safety
/// `ops`, `mac` (6 bytes) and `options` are readable, with C strings in the last, during the call. The callbacks accept
/// `opaque` from any thread that calls the model, until [`ixgbe_model_free`].
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_new(
    ops: *const IxgbeHostOps,
    opaque: *mut c_void,
    mac: *const [u8; 6],
    options: *const IxgbeOptions,
) -> *mut IxgbeModel {
    // SAFETY: by the contract of this function.
    let (ops, mac) = unsafe { (*ops, *mac) };
    // SAFETY: as above.
    let options = unsafe { &*options };
    let parsed = (|| {
        // SAFETY: as above.
        unsafe {
            Some(Config {
                mac,
                head_write: parse(options.head_write)?,
                quirks: parse(options.quirks)?,
                chip: parse(options.chip)?,
                module: parse(options.module)?,
                partner: parse(options.partner)?,
                port: options.port,
            })
        }
    })();
    let Some(config) = parsed else {
        return std::ptr::null_mut();
    };
    let device = Device::new(config);
    Box::into_raw(Box::new(IxgbeModel {
        inner: RefCell::new((device, CHost { ops, opaque })),
        broken: Cell::new(false),
    }))
}

/// Ends a device.
///
/// # Safety
/// `model` came from [`ixgbe_model_new`], was not freed, and no call is under way.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_free(model: *mut IxgbeModel) {
    // SAFETY: by the contract of this function.
    drop(unsafe { Box::from_raw(model) });
}

/// Reads a register of a function; all ones if the device is busy.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_read(
    model: *mut IxgbeModel,
    number: u32,
    address: u32,
) -> u32 {
    // SAFETY: by the contract of this function.
    let model = unsafe { get(model) };
    let Some(function) = function(number) else {
        return u32::MAX;
    };
    model
        .with(|device, host| device.read(host, function, address))
        .unwrap_or(u32::MAX)
}

/// Writes a register of a function.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_write(
    model: *mut IxgbeModel,
    number: u32,
    address: u32,
    value: u32,
) {
    // SAFETY: by the contract of this function.
    let model = unsafe { get(model) };
    if let Some(function) = function(number) {
        model.with(|device, host| device.write(host, function, address, value));
    }
}

/// Whether a frame may come now. Yes while the device is busy: [`ixgbe_model_receive`] then says so and its caller tries
/// again, whereas a backend that heard "no" here would wait for [`IxgbeHostOps::receive_ready`].
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_can_receive(model: *mut IxgbeModel) -> bool {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }
        .with(|device, _| device.can_receive())
        .unwrap_or(true)
}

/// A frame arrives; false if the device is busy and it must come again.
///
/// # Safety
/// `model` is live, `frame` is readable for `length`.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_receive(
    model: *mut IxgbeModel,
    frame: *const u8,
    length: usize,
) -> bool {
    // SAFETY: by the contract of this function.
    let (model, frame) = unsafe { (get(model), std::slice::from_raw_parts(frame, length)) };
    if model.broken.get() {
        return true;
    }
    model
        .with(|device, host| device.receive(host, frame))
        .is_some()
        || model.broken.get()
}

/// The wire takes frames again.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_wire_ready(model: *mut IxgbeModel) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }.with(|device, host| device.wire_ready(host));
}

/// The time that was asked for has come.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_timer(model: *mut IxgbeModel) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }.with(|device, host| device.timer(host));
}

/// The work that was asked for can go on.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_work(model: *mut IxgbeModel) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }.with(|device, host| device.work(host));
}

/// The cable was plugged or unplugged.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_set_link(model: *mut IxgbeModel, up: bool) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }.with(|device, host| device.set_link(host, up));
}

/// PCI device id of the PF.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_device_id(model: *mut IxgbeModel) -> u16 {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }
        .with(|device, _| device.config.chip.device_id())
        .unwrap_or_default()
}

/// PCI device id of the VFs.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_vf_device_id(model: *mut IxgbeModel) -> u16 {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }
        .with(|device, _| device.config.chip.vf_device_id())
        .unwrap_or_default()
}

/// The chip is too hot.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_overheat(model: *mut IxgbeModel) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }.with(|device, host| device.overheat(host));
}

/// Puts another module into the cage; false if there is no such module or no cage.
///
/// # Safety
/// `model` is live, `module` a C string.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_set_module(
    model: *mut IxgbeModel,
    module: *const c_char,
) -> bool {
    // SAFETY: by the contract of this function.
    let (model, module) = unsafe { (get(model), parse(module)) };
    let set = module.and_then(|module| {
        model.with(|device, host| {
            device.set_module(host, module);
            device.has_cage()
        })
    });
    set.unwrap_or(false)
}

/// Changes the speeds of the link partner; false if they are unknown or do not matter.
///
/// # Safety
/// `model` is live, `speeds` a C string.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_set_partner(
    model: *mut IxgbeModel,
    speeds: *const c_char,
) -> bool {
    // SAFETY: by the contract of this function.
    let (model, speeds) = unsafe { (get(model), parse(speeds)) };
    let set = speeds.and_then(|speeds| {
        model.with(|device, host| {
            device.set_partner(host, speeds);
            device.has_partner()
        })
    });
    set.unwrap_or(false)
}

/// Bus mastering of some function may have been switched on.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_bus_master_changed(model: *mut IxgbeModel) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }.with(|device, host| device.bus_master_changed(host));
}

/// SR-IOV has this many VFs now.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_set_vfs(model: *mut IxgbeModel, vfs: u32) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }
        .with(|device, host| device.set_vfs(host, u8::try_from(vfs).unwrap_or(MAX_VFS)));
}

/// A reset of a function by PCIe.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_reset(model: *mut IxgbeModel, number: u32) {
    // SAFETY: by the contract of this function.
    let model = unsafe { get(model) };
    model.with(|device, host| match function(number) {
        Some(Function::Pf) => device.pf_reset(host),
        Some(Function::Vf(vf)) => device.vf_reset(host, vf),
        None => {}
    });
}

/// The counters of all functions as JSON, to be freed with [`ixgbe_model_free_string`].
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_counters(model: *mut IxgbeModel) -> *mut c_char {
    // SAFETY: by the contract of this function.
    let json = unsafe { get(model) }.with(|device, _| device.debug().json());
    CString::new(json.unwrap_or_default())
        .unwrap_or_default()
        .into_raw()
}

/// Starts or stops remembering the pages that the device writes.
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_log_pages(model: *mut IxgbeModel, on: bool) {
    // SAFETY: by the contract of this function.
    unsafe { get(model) }.with(|device, _| device.debug().log_pages(on));
}

/// Takes the pages written since the last call, as lines `function page`, both in hexadecimal, and a line `overflow` if
/// some were left out. To be freed with [`ixgbe_model_free_string`].
///
/// # Safety
/// `model` is live.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_take_pages(model: *mut IxgbeModel) -> *mut c_char {
    // SAFETY: by the contract of this function.
    let (pages, overflow) = unsafe { get(model) }
        .with(|device, _| device.debug().take_pages())
        .unwrap_or_default();
    let mut text: String = pages
        .iter()
        .map(|(function, page)| format!("{function:x} {page:x}\n"))
        .collect();
    if overflow {
        text.push_str("overflow\n");
    }
    CString::new(text).unwrap_or_default().into_raw()
}

/// Frees a string that the model returned.
///
/// # Safety
/// `text` came from the model and was not freed.
#[no_mangle]
pub unsafe extern "C" fn ixgbe_model_free_string(text: *mut c_char) {
    // SAFETY: by the contract of this function.
    drop(unsafe { CString::from_raw(text) });
}
