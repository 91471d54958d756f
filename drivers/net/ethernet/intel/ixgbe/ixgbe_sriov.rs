// SPDX-License-Identifier: GPL-2.0
//! Virtual functions: making and removing them, their mailbox, and what the administrator sets.

use crate::{
    ixgbe_common::Hw,
    ixgbe_lib,
    ixgbe_movers::{
        self,
        Migration, //
    },
    Adapter,
    State, //
};
use core::ops::Range;
use kernel::{
    device::Core,
    pci,
    prelude::*,
    time::{
        Delta,
        Instant, //
    }, //
};
use libixgbe::{
    mbx::pf as mailbox,
    sriov::{
        vf::{
            self,
            Handled,
            LinkState,
            Refusal,
            VfState, //
        },
        Pools,
        MAX_VFS, //
    }, //
};
use nic::{
    devlink,
    net::{
        self,
        MacAddr,
        Rtnl,
        VfConfig,
        VfStats, //
    },
    pci::{
        DeviceExt,
        VirtFns, //
    }, //
};

/// Time between two looks at what lies unread in the mailboxes: as long as a driver waits for an
/// answer (`IXGBE_VF_MBX_INIT_TIMEOUT`).
const MAILBOX_AGE: Delta = Delta::from_secs(1);
/// EtherType of a VLAN tag.
const ETH_P_8021Q: u16 = 0x8100;

/// Sets the number of VFs, from sysfs (`ixgbe_pci_sriov_configure`).
pub(crate) fn configure(
    pdev: &pci::Device<Core<'_>>,
    dev: &net::Device<Adapter>,
    num_vfs: u32,
) -> Result<u32> {
    let now = pdev.num_vf();
    if num_vfs == now {
        return Ok(num_vfs);
    }
    if num_vfs > MAX_VFS {
        dev_err!(pdev, "Creating more than {} VFs is not allowed\n", MAX_VFS);
        return Err(EPERM);
    }
    if num_vfs != 0 && dev.data().single_vector {
        dev_warn!(pdev, "SR-IOV needs MSI-X\n");
        return Err(EOPNOTSUPP);
    }
    if num_vfs != 0 && dev.data().xdp_prog.is_some() {
        dev_warn!(pdev, "SRIOV is not supported with XDP\n");
        return Err(EINVAL);
    }
    if now != 0 {
        // Removing it would hang until its user gives it up, and QEMU takes it from the running VM.
        if let Some(vf) = in_use(pdev) {
            dev_warn!(
                pdev,
                "VF {} is in use by a VFIO user: shut down its VM before VFs are removed\n",
                vf
            );
            return Err(EBUSY);
        }
        if pdev.vfs_assigned() {
            dev_warn!(
                pdev,
                "VFs are assigned to guests - they will not be deallocated\n"
            );
            return Err(EPERM);
        }
        // Their drivers still get answers while they let go.
        pdev.disable_sriov();
        devlink::remove_vf_ports(dev);
    }
    if num_vfs == 0 {
        no_vfs(pdev, dev);
        return Ok(0);
    }
    set_num_vfs(dev, num_vfs).inspect_err(|_| no_vfs(pdev, dev))?;
    // Before the VFs, so that an operator can say what may be done with one before a driver binds
    // to it.
    for vf in 0..num_vfs {
        if let Err(e) = devlink::add_vf_port(dev, 0, vf as u16) {
            dev_warn!(pdev, "No devlink port for VF {}: {:?}\n", vf, e);
        }
    }
    if let Err(e) = pdev.enable_sriov(num_vfs) {
        dev_warn!(pdev, "Failed to enable PCI sriov: {:?}\n", e);
        devlink::remove_vf_ports(dev);
        no_vfs(pdev, dev);
        return Err(e);
    }
    dev_info!(pdev, "SR-IOV enabled with {} VFs\n", num_vfs);
    Ok(num_vfs)
}

/// A VF that a VFIO user has opened, whichever of VFIO's drivers it is bound to.
///
/// Unknown without an IOMMU. A user that comes between this and the removal of the VFs is asked for
/// the VF.
fn in_use(pdev: &pci::Device<Core<'_>>) -> Option<u32> {
    let mut vfs = VirtFns::of(pdev);
    while let Some(vf) = vfs.advance() {
        if vf.in_use() {
            return Some(vf.index());
        }
    }
    None
}

/// Removes all VFs before the driver goes. That cannot be refused: a VF that a VFIO user has opened
/// is asked back, and the removal waits until it is given (QEMU unplugs it from its VM).
pub(crate) fn remove(pdev: &pci::Device<Core<'_>>, dev: &net::Device<Adapter>) {
    if pdev.num_vf() == 0 {
        return;
    }
    if pdev.vfs_assigned() {
        dev_warn!(
            pdev,
            "Unloading driver while VFs are assigned - VFs will not be deallocated\n"
        );
        return;
    }
    if let Some(vf) = in_use(pdev) {
        dev_warn!(
            pdev,
            "Unloading driver while VF {} is in use: its VFIO user is asked to give it up\n",
            vf
        );
    }
    pdev.disable_sriov();
    devlink::remove_vf_ports(dev);
    no_vfs(pdev, dev);
}

/// Divides the device anew, which takes a reset.
fn set_num_vfs(dev: &net::Device<Adapter>, num_vfs: u32) -> Result {
    let a = dev.data();
    let mut vfs = KVec::with_capacity(num_vfs as usize, GFP_KERNEL)?;
    for _ in 0..num_vfs {
        vfs.push(VfState::new(), GFP_KERNEL)?;
    }
    Migration::resize(dev, num_vfs)?;
    a.state.lock().health.resize(num_vfs)?;
    let rtnl = Rtnl::lock();
    let up = ixgbe_lib::wanted_up(dev, &rtnl);
    if up {
        ixgbe_lib::down(dev, &rtnl);
    }
    {
        let state = &mut *a.state.lock();
        if state.sw.pools.is_some() {
            libixgbe::sriov::deconfigure(&a.hw);
        }
        state.sw.num_vfs = num_vfs;
        state.sw.pools = Pools::for_vfs(num_vfs);
        state.vfs = vfs;
        let pool = state.sw.pf_pool();
        state.sw.macs.reset(&a.hw, &dev.address(), pool);
    }
    if up {
        ixgbe_lib::up(dev, &rtnl)?;
    }
    Ok(())
}

/// The whole device is the PF's again. This can only fail in that the interface stays down for the
/// moment.
fn no_vfs(pdev: &pci::Device<Core<'_>>, dev: &net::Device<Adapter>) {
    if set_num_vfs(dev, 0).is_err() {
        dev_warn!(pdev, "Cannot bring the interface up again\n");
    }
}

/// Command registers of all VFs, before a reset of the PF takes them.
pub(crate) fn commands(pdev: &pci::Device<Core<'_>>) -> Result<KVec<(u32, u16)>> {
    let mut all = KVec::new();
    let mut vfs = VirtFns::of(pdev);
    while let Some(vf) = vfs.advance() {
        if let Some(command) = vf.command() {
            all.push((vf.index(), command), GFP_KERNEL)?;
        }
    }
    Ok(all)
}

/// Puts back what a reset of the PF took from its VFs' configuration spaces, so that their drivers
/// need not be bound anew: the PCI core does so for the PF alone.
pub(crate) fn restore(pdev: &pci::Device<Core<'_>>, commands: &[(u32, u16)]) {
    let mut vfs = VirtFns::of(pdev);
    while let Some(vf) = vfs.advance() {
        if let Some((_, command)) = commands.iter().find(|(index, _)| *index == vf.index()) {
            vf.restore(*command);
        }
    }
}

/// Milliseconds since the driver was bound.
fn age(state: &State) -> u64 {
    u64::try_from(state.born.elapsed().as_millis()).unwrap_or(0)
}

/// Deals with what VFs want (`ixgbe_msg_task`). Returns in how many milliseconds to call it again.
pub(crate) fn msg_task(dev: &net::Device<Adapter>, state: &mut State) -> Option<u32> {
    let hw = &dev.data().hw;
    let mut events = state.sw.chip.events(hw);
    // The interrupt was for something else, or nobody knows of a blocked queue yet.
    if events == mailbox::Events::default() {
        if let Some(event) = state.sw.check_blocked(hw, &mut state.vfs) {
            state.health.blocked(&event);
        }
    }
    let all = 0..state.sw.num_vfs;
    serve(dev, state, &mut events, all)
}

/// The same for one VF. It holds up the others for no longer than that takes.
pub(crate) fn msg_task_of(dev: &net::Device<Adapter>, state: &mut State, vf: u32) -> Option<u32> {
    if vf >= state.sw.num_vfs {
        return None;
    }
    let mut events = state.sw.chip.events_of(&dev.data().hw, vf);
    serve(dev, state, &mut events, vf..vf.saturating_add(1))
}

/// Deals with what these VFs have announced.
fn serve(
    dev: &net::Device<Adapter>,
    state: &mut State,
    events: &mut mailbox::Events,
    vfs: Range<u32>,
) -> Option<u32> {
    let hw = &dev.data().hw;
    let mut busy = 0u64;
    let mut again = None;
    let now = age(state);
    for vf in vfs.clone() {
        let bit = 1u64 << (vf & 63);
        if events.resets & bit != 0 {
            mailbox::clear_reset(hw, vf);
            // Of the VF's former user; a message may be of the next one already.
            events.acks &= !bit;
            state.sw.vf_reset_event(hw, &mut state.vfs, vf);
            ixgbe_movers::was_reset(state, vf);
        }
        // Whoever floods waits, not the others.
        again = sooner(again, state.health.admit(hw, events, vf, now));
        let what = ixgbe_movers::serve(hw, state, vf, events);
        if let Some(what) = &what {
            state.health.count(vf, what);
        }
        match what {
            Some(Handled::Busy) => busy |= bit,
            Some(Handled::Reset) => {
                dev_dbg!(dev.parent(), "VF Reset msg received from vf {}\n", vf);
            }
            Some(Handled::Refused(request, why)) => {
                pr_debug!("VF {} was refused {:?}: {:?}\n", vf, request, why);
            }
            _ => {}
        }
    }
    for vf in vfs {
        let busy = ixgbe_movers::flush(dev, hw, state, vf) || busy >> (vf & 63) & 1 != 0;
        if state.health.waits(vf, busy) {
            again = Some(1);
        }
    }
    again
}

/// The shorter of two times, where there are two.
pub(crate) fn sooner(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    [a, b].into_iter().flatten().min()
}

/// Repeats to the drivers of VFs what they must act on. Returns in how many milliseconds to call it
/// again.
pub(crate) fn nudge(hw: &Hw, state: &mut State) -> Option<u32> {
    let now = age(state);
    let State { sw, vfs, .. } = state;
    let all = (0u32..).zip(vfs.iter_mut());
    all.filter_map(|(vf, v)| sw.nudge(hw, vf, v, now)).min()
}

/// Lets what lies unread in the mailboxes grow old, once a second at most.
pub(crate) fn age_mailboxes(state: &mut State) {
    if state.mailbox_age.elapsed() < MAILBOX_AGE {
        return;
    }
    state.mailbox_age = Instant::now();
    for vf in state.vfs.iter_mut() {
        vf.outbox.grow_old();
    }
}

/// Runs `f` on a VF's state under the lock over all configuration of VFs.
fn with_vf<R>(
    dev: &net::Device<Adapter>,
    vf: u32,
    f: impl FnOnce(&crate::Hw, &mut vf::Switch, &mut VfState, u32) -> Result<R>,
) -> Result<R> {
    let a = dev.data();
    let state = &mut *a.state.lock();
    let mbps = if state.link.up { state.link.mbps() } else { 0 };
    let State { sw, vfs, .. } = state;
    let v = vfs.get_mut(vf as usize).ok_or(EINVAL)?;
    let result = f(&a.hw, sw, v, mbps);
    if v.nudge.active() {
        // Its driver is told until it has reset the VF.
        dev.schedule_service(0);
    }
    result
}

fn errno(why: Refusal) -> Error {
    match why {
        Refusal::NoSpace => ENOSPC,
        _ => EINVAL,
    }
}

pub(crate) fn set_vf_mac(dev: &net::Device<Adapter>, vf: u32, mac: &MacAddr) -> Result {
    with_vf(dev, vf, |hw, sw, v, _| {
        sw.admin_set_mac(hw, vf, v, mac).map_err(errno)
    })?;
    {
        // Another guest may have chosen it.
        let a = dev.data();
        let State { sw, vfs, .. } = &mut *a.state.lock();
        sw.claim(&a.hw, vfs, Some(vf), mac);
    }
    dev_info!(
        dev.parent(),
        "setting MAC {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x} on VF {}. Reload the VF driver to make this change effective.\n",
        mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], vf
    );
    Ok(())
}

pub(crate) fn set_vf_vlan(
    dev: &net::Device<Adapter>,
    vf: u32,
    vlan: u16,
    qos: u8,
    proto: u16,
) -> Result {
    with_vf(dev, vf, |hw, sw, v, _| {
        if vlan > 4095 || qos > 7 {
            return Err(EINVAL);
        }
        if proto != ETH_P_8021Q {
            return Err(EPROTONOSUPPORT);
        }
        sw.admin_set_vlan(hw, vf, v, vlan, qos).map_err(errno)
    })
}

pub(crate) fn set_vf_rate(dev: &net::Device<Adapter>, vf: u32, min: u32, max: u32) -> Result {
    with_vf(dev, vf, |hw, sw, v, mbps| {
        if min != 0 {
            return Err(EINVAL);
        }
        sw.admin_set_rate(hw, vf, v, mbps, max).map_err(errno)
    })
}

pub(crate) fn set_vf_spoofchk(dev: &net::Device<Adapter>, vf: u32, on: bool) -> Result {
    with_vf(dev, vf, |hw, sw, v, _| {
        sw.admin_set_spoofchk(hw, vf, v, on);
        Ok(())
    })
}

pub(crate) fn set_vf_trust(dev: &net::Device<Adapter>, vf: u32, on: bool) -> Result {
    with_vf(dev, vf, |hw, sw, v, _| {
        sw.admin_set_trust(hw, vf, v, on);
        Ok(())
    })
}

pub(crate) fn set_vf_link_state(dev: &net::Device<Adapter>, vf: u32, state: u32) -> Result {
    with_vf(dev, vf, |hw, sw, v, _| {
        match state {
            0 => sw.set_link_state(hw, vf, v, LinkState::Auto),
            // Accepted and without effect, as in the C driver: the hardware cannot fake a link.
            1 => pr_info!("VF {} link state enable - not supported\n", vf),
            2 => sw.set_link_state(hw, vf, v, LinkState::Disable),
            _ => return Err(EINVAL),
        }
        Ok(())
    })
}

/// A VF with a table and a key of its own has nothing to ask for (`ixgbe_ndo_set_vf_rss_query_en`).
pub(crate) fn set_vf_rss_query_en(dev: &net::Device<Adapter>, vf: u32, on: bool) -> Result {
    if dev.data().board.chip().has_rss_of_pools() {
        return Err(EOPNOTSUPP);
    }
    with_vf(dev, vf, |_, _, v, _| {
        v.rss_query = on;
        Ok(())
    })
}

pub(crate) fn get_vf_config(dev: &net::Device<Adapter>, vf: u32) -> Result<VfConfig> {
    with_vf(dev, vf, |_, _, v, _| {
        Ok(VfConfig {
            mac: v.mac,
            vlan: v.pf_vlan,
            qos: v.pf_qos,
            spoofchk: v.spoofchk,
            link_state: match v.link_state {
                LinkState::Auto => 0,
                LinkState::Enable => 1,
                LinkState::Disable => 2,
            },
            min_tx_rate: 0,
            max_tx_rate: v.tx_rate.into(),
            rss_query_en: v.rss_query,
            trusted: v.trusted,
        })
    })
}

pub(crate) fn get_vf_stats(dev: &net::Device<Adapter>, vf: u32, stats: &mut VfStats) -> Result {
    with_vf(dev, vf, |hw, _, v, _| {
        v.update_stats(hw, vf);
        stats.rx_packets = v.stats.gprc;
        stats.rx_bytes = v.stats.gorc;
        stats.tx_packets = v.stats.gptc;
        stats.tx_bytes = v.stats.gotc;
        stats.multicast = v.stats.mprc;
        Ok(())
    })
}
