// SPDX-License-Identifier: GPL-2.0
//! Values that no VF can have, each refused for its own reason.

use super::*;

#[test]
fn registers_out_of_range_are_refused() {
    type Edit = fn(&mut VfState);
    let cases: &[(Edit, Refusal)] = &[
        (|s| s.rx[0].base += 64, Refusal::Value(format::RX_QUEUES)),
        (|s| s.rx[0].base = !127, Refusal::Value(format::RX_QUEUES)),
        (|s| s.rx[0].length = 0, Refusal::Value(format::RX_QUEUES)),
        (|s| s.rx[0].length = 64, Refusal::Value(format::RX_QUEUES)),
        (
            |s| s.rx[0].length = 0x10_0000,
            Refusal::Value(format::RX_QUEUES),
        ),
        (|s| s.rx[1].head = 512, Refusal::Value(format::RX_QUEUES)),
        (
            |s| s.rx[1].tail = u32::MAX,
            Refusal::Value(format::RX_QUEUES),
        ),
        (
            |s| s.rx[0].srrctl &= !0x1f,
            Refusal::Value(format::RX_QUEUES),
        ),
        (|s| s.rx[0].srrctl |= 17, Refusal::Value(format::RX_QUEUES)),
        (
            |s| s.rx[0].srrctl |= 1 << 31,
            Refusal::Reserved(format::RX_QUEUES),
        ),
        (
            |s| s.rx[0].rxdctl |= regs::RXDCTL_SWFLSH,
            Refusal::Reserved(format::RX_QUEUES),
        ),
        (
            |s| s.tx[0].writeback = 2,
            Refusal::Reserved(format::TX_QUEUES),
        ),
        (|s| s.tx[0].tail = 512, Refusal::Value(format::TX_QUEUES)),
        (
            |s| s.tx[1].txdctl |= 1 << 31,
            Refusal::Reserved(format::TX_QUEUES),
        ),
        (
            |s| s.interrupts.eims = 8,
            Refusal::Reserved(format::INTERRUPTS),
        ),
        (
            |s| s.interrupts.ivar = 0x83,
            Refusal::Value(format::INTERRUPTS),
        ),
        (
            |s| s.interrupts.ivar_misc = 0x8080,
            Refusal::Value(format::INTERRUPTS),
        ),
        (
            |s| s.interrupts.psrtype = 1,
            Refusal::Reserved(format::INTERRUPTS),
        ),
        (
            |s| s.filters.mac = [1, 0, 0, 0, 0, 0],
            Refusal::Value(format::FILTERS),
        ),
        (
            |s| assert!(s.filters.unicast.push([0; 6])),
            Refusal::Value(format::UNICAST),
        ),
        (
            |s| assert!(s.filters.vlans.push(100)),
            Refusal::Value(format::VLANS),
        ),
        (
            |s| assert!(s.filters.vlans.push(4096)),
            Refusal::Value(format::VLANS),
        ),
        (
            |s| assert!(s.filters.multicast.push(0x1000)),
            Refusal::Value(format::MULTICAST),
        ),
        (
            |s| s.registrations[1] = Some(registration(0)),
            Refusal::Value(format::REGISTRATIONS),
        ),
        (
            |s| {
                s.registrations[1] = Some(RegisterQueue {
                    entries: 12,
                    shadow_len: 96,
                    ..registration(1)
                })
            },
            Refusal::Value(format::REGISTRATIONS),
        ),
        (|s| s.policy.port_qos = 8, Refusal::Value(format::POLICY)),
        (
            |s| s.policy.port_vlan = 4095,
            Refusal::Value(format::POLICY),
        ),
        (|s| s.identity.queue_pairs = 3, Refusal::QueuePairs(3)),
        (|s| s.identity.max_frame = 64, Refusal::MaxFrame(64)),
        (|s| s.identity.max_frame = 9725, Refusal::MaxFrame(9725)),
    ];
    for (i, (edit, why)) in cases.iter().enumerate() {
        let mut bad = sample();
        edit(&mut bad);
        assert_eq!(read(&bytes(&bad), &host()), Err(*why), "case {i}");
    }
}

/// Read as off, it would close the gates of a VF that is on.
#[test]
fn a_vf_is_enabled_or_not() {
    let mut tlvs = split(&bytes(&sample()));
    for (.., value) in tlvs.iter_mut().filter(|t| t.0 == format::FILTERS) {
        value[core::mem::offset_of!(format::Filters, enabled)] = 2;
    }
    let got = read(&forge(format::CONTENT_STATE, &tlvs), &host());
    assert_eq!(got, Err(Refusal::Value(format::FILTERS)));
}
