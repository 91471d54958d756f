// SPDX-License-Identifier: GPL-2.0
//! Any bytes as a frame and as the descriptors that ask for something to be done to it.
#![no_main]

use arbitrary::Arbitrary;
use ixgbe_model::offload::context::{Context, DataOptions};
use ixgbe_model::offload::parse::{Packet, TagTypes};
use ixgbe_model::offload::rss::Toeplitz;
use ixgbe_model::offload::tx::{self, Config, LegacyOptions};
use ixgbe_model::offload::{fcs, rx, vlan};
use libfuzzer_sys::fuzz_target;
use libixgbe::desc::{AdvTxContext, AdvTxData, LegacyTx};
use zerocopy::FromBytes;

#[derive(Arbitrary, Debug)]
struct Input {
    vlan: u16,
    outer: Option<u16>,
    mrqc: u32,
    key: [u8; 40],
    context: [u8; 16],
    data: [u8; 16],
    legacy: [u8; 16],
    /// Whether PAYLEN is made right, so that the input gets past its check.
    honest: bool,
    tag: Option<u16>,
    frame: Vec<u8>,
}

fuzz_target!(|input: Input| {
    receive(&input);
    transmit(&input);
});

fn receive(input: &Input) {
    let tags = TagTypes {
        vlan: input.vlan,
        outer: input.outer,
    };
    for tags in [tags, TagTypes::default()] {
        let Some(packet) = Packet::parse(&input.frame, tags) else {
            assert!(input.frame.len() < 26);
            continue;
        };
        let hash = Toeplitz::new(input.key).packet(&packet, input.mrqc);
        rx::packet_info(&packet, hash.map(|(function, _)| function), None);
        rx::checksum_status(&packet);

        let mut stripped = input.frame.clone();
        if let Some(tci) = vlan::strip(&mut stripped, tags.vlan) {
            assert!(vlan::insert(&mut stripped, tags.vlan, tci));
            assert_eq!(stripped, input.frame);
        }
    }
}

fn transmit(input: &Input) {
    let Ok(context) = AdvTxContext::read_from_bytes(&input.context) else {
        return;
    };
    let Ok(data) = AdvTxData::read_from_bytes(&input.data) else {
        return;
    };
    let Ok(legacy) = LegacyTx::read_from_bytes(&input.legacy) else {
        return;
    };
    let (context, mut options) = (Context::decode(&context), DataOptions::decode(&data));
    let headers = if options.segment {
        usize::from(context.mac_len) + usize::from(context.ip_len) + usize::from(context.l4_len)
    } else {
        0
    };
    let payload = input.frame.len().saturating_sub(headers);
    if input.honest {
        options.payload_len = payload as u32;
    }
    let config = Config::default();
    let tag = if input.tag.is_some() {
        vlan::TAG_LEN
    } else {
        0
    };
    let trailer = if options.insert_fcs { 0 } else { fcs::LEN };

    let (mut frames, mut bytes) = (0, 0);
    let sent = tx::advanced(
        &mut input.frame.clone(),
        &context,
        &options,
        input.tag,
        &config,
        |frame| {
            frames += 1;
            bytes += frame.len() - headers - tag;
        },
    );
    match sent {
        Ok(count) => {
            assert_eq!(count, frames);
            // Not a byte of payload is lost or sent twice.
            assert_eq!(bytes, payload - trailer);
        }
        Err(_) => assert_eq!(frames, 0),
    }

    let options = LegacyOptions::decode(&legacy);
    let _ = tx::legacy(
        &mut input.frame.clone(),
        &options,
        input.tag,
        &config,
        |frame| {
            let trailer = if options.insert_fcs { 0 } else { fcs::LEN };
            assert_eq!(frame.len(), input.frame.len() + tag - trailer);
        },
    );
}
