// SPDX-License-Identifier: GPL-2.0
//! Checks at run time what no type of `rust/net` can: bind it to an 82599 that has no driver.
//!
//! Each check prints a line `nic_test: NAME ok` or `nic_test: NAME FAILED`. The first probe fails at
//! its end and leaves behind what holds up its unbinding; the second one checks that it did.
#![deny(unsafe_code)]

use kernel::{
    device::Core,
    dma::DmaMask,
    pci,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue, //
};
use nic::{
    irq::{
        Kinds,
        Vectors, //
    },
    net::{
        self,
        Device,
        Fill,
        LinkStats,
        Napi,
        NapiRef,
        NapiSetup,
        Poll,
        Polled,
        Rtnl,
        RxRing,
        SkBuff,
        TxProducer,
        TxResult,
        TxRing,
        Unmask,
        Unregistered, //
    },
    pci::{
        Bar,
        Enabled, //
    },
};

/// Queues of each kind.
const QUEUES: u32 = 2;
/// Descriptors of a ring.
const DESCS: u32 = 64;
/// Headroom and length of a buffer.
const LAYOUT: (u16, u16) = (256, 2048);
/// How long the first probe's BAR is kept, in milliseconds.
const KEPT_MS: i64 = 500;

/// BARs that were kept, and how many of them are gone.
static KEPT: Atomic<u32> = Atomic::new(0);
static GONE: Atomic<u32> = Atomic::new(0);

fn check(name: &str, ok: bool) {
    if ok {
        pr_info!("{} ok\n", name);
    } else {
        pr_warn!("{} FAILED\n", name);
    }
}

fn is<T>(result: Result<T>, error: Error) -> bool {
    result.is_err_and(|e| e == error)
}

/// The network device, which does nothing.
#[pin_data]
struct Net {}

#[vtable]
impl net::Driver for Net {
    type TxQueue = TxProducer;

    fn open(_dev: &Device<Self>, _rtnl: &Rtnl) -> Result {
        Err(EOPNOTSUPP)
    }

    fn stop(_dev: &Device<Self>, _rtnl: &Rtnl) {}

    fn start_xmit(_dev: &Device<Self>, _queue: &mut TxProducer, skb: SkBuff) -> TxResult {
        TxResult::Busy(skb)
    }

    fn get_stats64(_dev: &Device<Self>, _stats: &mut LinkStats) {}
}

struct NoIrq;

impl Unmask for NoIrq {
    fn unmask(&self) {}
}

struct Vector(Option<RxRing>);

impl Poll for Vector {
    type Driver = Net;
    type Irq = NoIrq;

    fn poll(&mut self, _: &Device<Net>, _: &NoIrq, _: &NapiRef, _: u32) -> Polled {
        Polled::Done(0)
    }

    fn netpoll(&mut self, _dev: &Device<Net>) {}
}

fn vector(dev: &Device<Net>, napi: &NapiSetup, queue: u32) -> Result<Vector> {
    Ok(Vector(Some(RxRing::new(dev, napi, queue, DESCS, LAYOUT, false)?)))
}

fn instance(dev: &Device<Net>, index: u32, queue: u32) -> Result<Napi<Vector>> {
    Napi::new(dev, index, NoIrq, |napi| vector(dev, napi, queue))
}

fn transmit(dev: &Device<Net>) -> Result {
    let ring = |queue| TxRing::of_queue(dev, queue, DESCS, 8);
    check("tx_no_such_queue", is(ring(QUEUES), EINVAL));
    let (producer, consumer) = ring(0)?;
    check("tx_queue_in_use", is(ring(0), EBUSY));
    drop(producer);
    check("tx_queue_half_in_use", is(ring(0), EBUSY));
    drop(consumer);
    check("tx_queue_free_again", ring(0).is_ok());
    Ok(())
}

fn receive(dev: &Device<Net>) -> Result {
    check("rx_no_such_queue", is(instance(dev, 0, QUEUES), EINVAL));
    let (mut a, mut b) = (instance(dev, 0, 0)?, instance(dev, 1, 1)?);
    let (va, _, idle_a) = a.parts_mut().ok_or(EINVAL)?;
    let (vb, _, idle_b) = b.parts_mut().ok_or(EINVAL)?;
    let (mut of_a, mut of_b) = (va.0.take().ok_or(EINVAL)?, vb.0.take().ok_or(EINVAL)?);
    check("rx_own_instance", of_a.idle(idle_a).is_some());
    check("rx_other_instance", of_b.idle(idle_a).is_none());
    for (ring, idle) in [(&mut of_a, idle_a), (&mut of_b, idle_b)] {
        if let Some(mut ring) = ring.idle(idle) {
            check(
                "rx_fill",
                ring.fill(|_, addr, _| [addr, 0u64]) == (DESCS - 1, true),
            );
        }
    }
    // Given up while its instance can be polled.
    a.enable();
    drop(of_a);
    a.schedule();
    fsleep(Delta::from_millis(10));
    a.disable();
    // Given up after its instance.
    drop(b);
    drop(of_b);
    check("rx_rings_given_up", true);

    let rtnl = Rtnl::lock();
    let mut c = instance(dev, 0, 0)?;
    c.set_queues(&rtnl, u32::MAX);
    c.set_queues(&rtnl, 0);
    drop(c);
    let mut c = instance(dev, 0, 0)?;
    c.set_queues(&rtnl, 0);
    c.clear_queues(&rtnl);
    check("napi_queues", true);
    Ok(())
}

struct NicTest {
    _enabled: Enabled,
}

kernel::pci_device_table!(
    PCI_TABLE,
    <NicTest as nic::pci::Driver>::IdInfo,
    [
        (pci::DeviceId::from_id(pci::Vendor::INTEL, 0x10F7), ()),
        (pci::DeviceId::from_id(pci::Vendor::INTEL, 0x10FB), ())
    ]
);

#[vtable]
impl nic::pci::Driver for NicTest {
    type IdInfo = ();
    type Data = Self;
    const ID_TABLE: pci::IdTable<()> = &PCI_TABLE;

    fn probe(
        pdev: &pci::Device<Core<'_>>,
        _info: Option<&()>,
    ) -> Result<impl PinInit<Self, Error>> {
        let enable = || Enabled::new(pdev, c"nic_test", DmaMask::new::<64>());
        let enabled = enable()?;
        if KEPT.load(Relaxed) != 0 {
            check("unbinding_waits", GONE.load(Relaxed) == KEPT.load(Relaxed));
            return Ok(Ok::<_, Error>(Self { _enabled: enabled }));
        }
        check("enabled_once", is(enable(), EBUSY));

        let alloc = || Vectors::alloc(pdev, 1, 4, Kinds::MSIX);
        let vectors = alloc()?;
        check("vectors_once", is(alloc(), EBUSY));
        drop(vectors);
        check("vectors_again", alloc().is_ok());

        let data = try_pin_init!(Net {}? Error);
        let dev = Unregistered::new(pdev.as_ref(), QUEUES, QUEUES, data)?;
        transmit(&dev)?;
        receive(&dev)?;
        let name = CString::try_from_fmt(fmt!("{}", dev.name()))?;
        check(
            "not_registered",
            !dev.running() && !name.to_bytes().is_empty(),
        );
        drop(dev);

        let bar = Arc::new(Bar::new(pdev, 0, 4)?, GFP_KERNEL)?;
        KEPT.store(1, Relaxed);
        workqueue::system().try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(KEPT_MS));
            GONE.store(1, Relaxed);
            drop(bar);
        })?;
        Err(ENODEV)
    }
}

nic::module_pci_driver! {
    type: NicTest,
    name: "nic_test",
    authors: ["The ixgbe live migration project"],
    description: "Checks of the abstractions for network drivers",
    license: "GPL v2",
}
