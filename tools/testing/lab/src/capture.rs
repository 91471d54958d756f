// SPDX-License-Identifier: GPL-2.0
//! Writes what crosses the switch to a pcapng file, one interface a port.

use parking_lot::Mutex;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::DataLink;

/// An open capture file.
pub struct Capture(Mutex<PcapNgWriter<BufWriter<File>>>);

impl Capture {
    /// Starts one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(Mutex::new(PcapNgWriter::new(BufWriter::new(file))?)))
    }

    fn block<'a>(&self, block: impl pcap_file::pcapng::PcapNgBlock<'a>) {
        let mut w = self.0.lock();
        // The disk being full must not stop the traffic under test; the file then ends early.
        // Flushed at once, since Ctrl-C leaves no time for it.
        let _ = w.write_pcapng_block(block);
        let _ = w.get_mut().flush();
    }

    /// Says that the next port is called `name`; ports are numbered in the order of these calls.
    pub fn add_port(&self, name: &str) {
        self.block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
                // Timestamps in units of 10^-9 s.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        });
    }

    /// Writes a frame that came in on a port.
    pub fn frame(&self, port: usize, bytes: &[u8]) {
        let (Ok(interface_id), Ok(original_len)) =
            (u32::try_from(port), u32::try_from(bytes.len()))
        else {
            return;
        };
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        self.block(EnhancedPacketBlock {
            interface_id,
            timestamp,
            original_len,
            data: Cow::Borrowed(bytes),
            options: vec![],
        });
    }
}
