// SPDX-License-Identifier: GPL-2.0
//! KUnit tests: libixgbe as the kernel compiles it.
//!
//! Its logic is tested on a host, by cargo and against a model of the device. What differs in a
//! kernel is tested here: the kernel's `core` and its flags for the compiler, its copy of the
//! `zerocopy` crate, by which a state is laid out, and the size of its stack.

use kernel::prelude::*;

/// There is nothing to do but the tests, which KUnit finds by itself.
struct Tests;

impl kernel::Module for Tests {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

module! {
    type: Tests,
    name: "libixgbe_kunit",
    authors: ["ixgbe live migration project"],
    description: "KUnit tests of libixgbe",
    license: "GPL v2",
}

#[kunit_tests(libixgbe)]
mod tests {
    use super::*;
    use libixgbe::{
        itr,
        mbx_ext,
        migration::{
            decode,
            encode,
            format::MAX_BYTES,
            Host,
            Identity,
            Limits,
            Policy,
            VfState,
            Xcast, //
        },
        regs,
        ring, //
    };

    fn host() -> Host<'static> {
        Host {
            identity: Identity {
                device: 0x10ed,
                queues_per_pool: 2,
                queue_pairs: 2,
                api: 0x0107,
                features: mbx_ext::FEATURE_MIGRATION,
                max_frame: 1514,
            },
            mixes_frames: false,
            promiscuous: false,
            apis: &[0x0104, 0x0107],
            policy: Policy {
                admin_mac: false,
                trusted: false,
                spoofchk: true,
                port_vlan: 0,
                port_qos: 0,
            },
            limits: Limits::default(),
            mac: [0; 6],
        }
    }

    /// A VF that receives with one queue, as a state of so many bytes.
    fn blob() -> Result<(KBox<VfState>, KVec<u8>)> {
        let host = host();
        let mut state = KBox::new(VfState::EMPTY, GFP_KERNEL)?;
        state.identity = host.identity;
        state.policy = host.policy;
        let rx = state.rx.first_mut().ok_or(EINVAL)?;
        rx.base = 0x1_2340_0000;
        rx.length = 8192;
        rx.head = 17;
        rx.tail = 500;
        rx.srrctl = regs::SRRCTL_DROP_EN | regs::SRRCTL_DESCTYPE_ADV_ONEBUF | 4 << 8 | 2;
        rx.rxdctl = regs::RXDCTL_ENABLE;
        state.mailbox.cts = true;
        state.filters.mac = [0x02, 0, 0, 0xaa, 0xbb, 0xcc];
        state.filters.xcast = Xcast::Multi;
        state.filters.enabled = true;
        let mut bytes = KVec::from_elem(0_u8, MAX_BYTES, GFP_KERNEL)?;
        let len = encode(&state, &mut bytes).map_err(|_| ENOSPC)?;
        bytes.truncate(len);
        Ok((state, bytes))
    }

    fn read(bytes: &[u8]) -> Result<KBox<VfState>> {
        let mut state = KBox::new(VfState::EMPTY, GFP_KERNEL)?;
        match decode(bytes, &host(), &mut state) {
            Ok(()) => Ok(state),
            Err(_) => Err(EINVAL),
        }
    }

    #[test]
    fn rings_have_lengths_of_the_hardware() {
        assert_eq!(ring::clamp_descs(0, ring::MAX_DESCS), ring::MIN_DESCS);
        assert_eq!(ring::clamp_descs(65, ring::MAX_DESCS), 72);
        assert_eq!(
            ring::clamp_descs(u32::MAX, ring::MAX_DESCS),
            ring::MAX_DESCS
        );
        assert_eq!(ring::txd_use_count(ring::MAX_DATA_PER_TXD), 1);
        assert_eq!(ring::txd_use_count(ring::MAX_DATA_PER_TXD + 1), 2);
    }

    /// With `CONFIG_RUST_OVERFLOW_CHECKS` an index that goes too far stops the kernel.
    #[test]
    fn indices_go_round() {
        let mut ring = ring::Indices::new(72);
        for _ in 0..1000 {
            ring.take_use();
            ring.take_use();
            assert_eq!(ring.unused(), 69);
            ring.take_clean();
            ring.take_clean();
            assert_eq!(ring.unused(), 71);
        }
    }

    #[test]
    fn moderation_is_in_the_units_of_the_register() {
        assert_eq!(itr::usecs_to_eitr(10), itr::ITR_100K);
        assert_eq!(itr::eitr_to_usecs(itr::ITR_20K), 50);
        assert!(itr::usecs_to_eitr(u32::MAX) > itr::ITR_12K);
    }

    #[test]
    fn a_state_comes_back_as_it_went() -> Result {
        let (state, bytes) = blob()?;
        assert!(bytes.len() <= MAX_BYTES);
        let back = read(&bytes)?;
        assert!(*back == *state);
        Ok(())
    }

    #[test]
    fn a_state_that_was_damaged_is_refused() -> Result {
        let (_, mut bytes) = blob()?;
        for n in 0..bytes.len() {
            let bit = 1 << (n % 8);
            bytes[n] ^= bit;
            assert!(read(&bytes).is_err());
            bytes[n] ^= bit;
            assert!(read(&bytes[..n]).is_err());
        }
        // It was the damage.
        assert!(read(&bytes).is_ok());
        Ok(())
    }
}
