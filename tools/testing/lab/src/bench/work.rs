// SPDX-License-Identifier: GPL-2.0
//! What the machine of `cargo lab bench datapath` does while it is measured.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::ValueEnum;
use lab_agent::pattern::ECHO_PORT;
use lab_agent::Run;
use serde::Serialize;

use super::bed::{xdp_path, Bed, Interface, Sample, Setting, Verdict, V4};
use super::count::Symbol;
use super::peer::{self, Tcp};
use crate::guest::Command as Started;
use crate::station::control::format_mac;

/// Frames of a burst of short frames: two NAPI budgets, which one write of the peer brings.
const BURST: usize = 128;
/// Full frames of a burst of TCP: what fits into one buffer of a unix socket, so that it arrives as one.
const TCP_BURST: usize = 20;
/// Steps of a sample.
const STEPS: u32 = 60;
/// Steps before the first sample.
pub(super) const WARM_UP: u32 = 20;
/// Frames of the two runs of pktgen whose difference is a sample. It is large against what starts a run and waits for its end,
/// which varies by a million instructions. pktgen does not wait for room in the ring: the moderated interrupt, which frees
/// what was sent, comes before 512 frames are.
const PKTGEN: (u64, u64) = (1_000, 17_000);
/// How often each runs.
const PKTGEN_ROUNDS: u32 = 5;

/// What the machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(super) enum Work {
    /// pktgen sends frames of 64 bytes, one doorbell each.
    #[serde(rename = "pktgen_tx_64")]
    #[value(name = "pktgen_tx_64")]
    PktgenTx,
    /// An XDP program drops frames of 64 bytes.
    #[serde(rename = "xdp_drop_64")]
    #[value(name = "xdp_drop_64")]
    XdpDrop,
    /// The stack drops frames of 64 bytes that no protocol wants.
    #[serde(rename = "stack_drop_64")]
    #[value(name = "stack_drop_64")]
    StackDrop,
    /// The machine sends a TCP stream, segmented by the device.
    TcpTso,
    /// The machine receives a TCP stream, merged by GRO.
    TcpGro,
    /// The machine answers a UDP datagram of 64 bytes: the figures are for both frames.
    UdpRr,
    /// An XDP program sends frames of 64 bytes back.
    #[serde(rename = "xdp_tx_64")]
    #[value(name = "xdp_tx_64")]
    XdpTx,
    /// An XDP program redirects frames of 64 bytes to the interface that received them.
    #[serde(rename = "xdp_redirect_64")]
    #[value(name = "xdp_redirect_64")]
    XdpRedirect,
    /// The kernel forwards UDP datagrams of 64 bytes from this interface to the other: PF to VF, or VF to PF.
    #[serde(rename = "forward_64")]
    #[value(name = "forward_64")]
    Forward,
    /// As `udp_rr`, with an IOMMU that forgets a mapping at once.
    UdpRrStrict,
    /// The stack drops frames of 64 bytes, which come in by four queues of the PF, or by two of the VF, the most that mainline's
    /// driver has.
    #[serde(rename = "stack_drop_64_4q")]
    #[value(name = "stack_drop_64_4q")]
    StackDropQueues,
}

impl Work {
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map(|v| v.get_name().to_owned())
            .unwrap_or_default()
    }

    /// The machine that it needs.
    pub(super) fn setting(self) -> Setting {
        match self {
            Self::UdpRrStrict => Setting::Strict,
            Self::StackDropQueues => Setting::FourCpus,
            _ => Setting::Plain,
        }
    }

    /// The XDP program that it is done by.
    fn program(self) -> Option<Verdict> {
        match self {
            Self::XdpDrop => Some(Verdict::Drop),
            Self::XdpTx => Some(Verdict::SwapTx),
            Self::XdpRedirect => Some(Verdict::SwapRedirect),
            _ => None,
        }
    }
}

/// A network behind the interface that forwarded frames leave by, and the router to it.
const BEHIND: (Ipv4Addr, Ipv4Addr) = (
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(203, 0, 113, 2),
);

/// A kind of work under way.
pub(super) struct Load {
    work: Work,
    tcp: Option<Tcp>,
    /// A program in the machine.
    program: Option<Started>,
}

impl Load {
    /// Starts it on `dev`; `out` is where frames leave that are forwarded.
    pub(super) fn start(
        bed: &mut Bed,
        dev: &Interface,
        out: Option<&Interface>,
        work: Work,
    ) -> Result<Self> {
        let name = &dev.name;
        let mut load = Self {
            work,
            tcp: None,
            program: None,
        };
        let target = format!("TCP:{}:{}", peer::V4, peer::PORT);
        match work {
            Work::PktgenTx => {
                let set = |what: &str| format!("echo '{what}' >/proc/net/pktgen/{name}; ");
                let settings = [
                    "pkt_size 60",
                    "clone_skb 0",
                    "delay 0",
                    &format!("dst {}", peer::V4),
                    &format!("dst_mac {}", format_mac(peer::MAC)),
                ]
                .map(set)
                .concat();
                bed.sh(&format!(
                    "echo rem_device_all >/proc/net/pktgen/kpktgend_0; \
                     echo 'add_device {name}' >/proc/net/pktgen/kpktgend_0; {settings}"
                ))?;
            }
            Work::XdpDrop | Work::XdpTx | Work::XdpRedirect => {
                let program = work.program().map(xdp_path).unwrap_or_default();
                bed.sh(&format!("ip link set {name} xdp obj {program} sec xdp"))?;
                bed.up(dev)?;
            }
            Work::StackDrop | Work::StackDropQueues => {}
            Work::Forward => bed.forward(out.context("nowhere to forward to")?, BEHIND)?,
            Work::TcpTso => load.connect(bed, &["python3", "-c", &sender()])?,
            Work::TcpGro => {
                load.connect(bed, &["socat", "-u", "-b65536", &target, "OPEN:/dev/null"])?
            }
            Work::UdpRr | Work::UdpRrStrict => {
                load.program = Some(run(bed, &["/lab-agent", "udp-echo", "0.0.0.0"])?);
                let request = [peer::datagram((dev.mac, V4), (9, ECHO_PORT))?];
                let answered = (0..20)
                    .any(|_| bed.peer.send(&request).is_ok() && bed.peer.wait_frame().is_some());
                ensure!(answered, "the machine does not answer");
                bed.counter.settle()?;
            }
        }
        Ok(load)
    }

    fn connect(&mut self, bed: &mut Bed, program: &[&str]) -> Result<()> {
        let mut tcp = Tcp::listen()?;
        bed.peer.received();
        self.program = Some(run(bed, program)?);
        // Python takes its time to start on a processor that counts.
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let (answer, _) = tcp.step(bed.peer.received_all(), 0)?;
            if tcp.is_connected() {
                self.tcp = Some(tcp);
                return bed.peer.send(&answer);
            }
            bed.peer.send(&answer)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the machine does not connect")
    }

    /// One burst or exchange; gives how many frames it was.
    pub(super) fn step(&mut self, bed: &mut Bed, dev: &Interface) -> Result<u64> {
        match (self.work, &mut self.tcp) {
            (Work::PktgenTx, _) => Ok(0),
            (Work::XdpDrop | Work::StackDrop, _) => {
                bed.burst(&vec![peer::unwanted(dev.mac); BURST])?;
                Ok(BURST as u64)
            }
            (Work::StackDropQueues, _) => {
                bed.burst(&peer::martians(dev.mac, BURST)?)?;
                Ok(BURST as u64)
            }
            (Work::XdpTx | Work::XdpRedirect | Work::Forward, _) => {
                // Of no protocol, or for somebody behind the machine.
                let frame = match self.work {
                    Work::Forward => peer::datagram((dev.mac, BEHIND.0), (9, ECHO_PORT))?,
                    _ => peer::unwanted(dev.mac),
                };
                bed.peer.received();
                bed.burst(&vec![frame; BURST])?;
                let back = bed.peer.received_frames(BURST);
                ensure!(back == BURST, "{back} of {BURST} frames came out");
                Ok(BURST as u64)
            }
            (Work::TcpTso, Some(tcp)) => {
                let frames = bed.peer.received_bytes(peer::WINDOW);
                let (answer, bytes) = tcp.step(frames, 0)?;
                bed.burst(&answer)?;
                Ok(bytes / peer::MSS as u64)
            }
            (Work::TcpGro, Some(tcp)) => {
                let frames = bed.peer.received_all();
                let (frames, _) = tcp.step(frames, TCP_BURST * peer::MSS)?;
                bed.burst(&frames)?;
                Ok(TCP_BURST as u64)
            }
            (Work::UdpRr | Work::UdpRrStrict, _) => {
                bed.peer.received();
                bed.burst(&[peer::datagram((dev.mac, V4), (9, ECHO_PORT))?])?;
                bed.peer.wait_frame().context("no answer")?;
                Ok(1)
            }
            _ => bail!("the connection is gone"),
        }
    }

    /// Counts the work once. What the kernel did is the median of many counts, times their number: the timer tick and what
    /// else the machine does by itself fall into a few of them.
    pub(super) fn sample(
        &mut self,
        bed: &mut Bed,
        dev: &Interface,
    ) -> Result<(Sample, BTreeMap<Symbol, u64>)> {
        if self.work != Work::PktgenTx {
            return bed.counted(STEPS, |bed| self.step(bed, dev));
        }
        // What starts pktgen and waits for its end is in both runs.
        let mut run = |count: u64| {
            bed.sh(&format!(
                "echo 'count {count}' >/proc/net/pktgen/{}",
                dev.name
            ))?;
            bed.peer.received_all();
            let done = bed.counted(PKTGEN_ROUNDS, |bed| {
                bed.sh("echo start >/proc/net/pktgen/pgctrl; sleep 0.02")?;
                Ok(count)
            })?;
            let sent = bed.peer.received_all();
            let sent = sent.iter().filter(|f| peer::is_udp(f)).count() as u64;
            ensure!(
                sent == done.0.frames,
                "{sent} frames went out, not {}",
                done.0.frames
            );
            Ok(done)
        };
        let (few, many) = (run(PKTGEN.0)?, run(PKTGEN.1)?);
        let functions = many
            .1
            .into_iter()
            .map(|(s, n)| {
                let less = few.1.get(&s).copied().unwrap_or_default();
                (s, n.saturating_sub(less))
            })
            .collect();
        Ok((many.0.less(&few.0), functions))
    }

    pub(super) fn stop(self, bed: &mut Bed, dev: &Interface) -> Result<()> {
        if let Some(program) = self.program {
            program.input().kill()?;
            bed.sh("sleep 0.3")?;
        }
        match self.work {
            Work::PktgenTx => {
                bed.sh("echo rem_device_all >/proc/net/pktgen/kpktgend_0")?;
            }
            Work::XdpDrop | Work::XdpTx | Work::XdpRedirect => {
                bed.sh(&format!("ip link set {} xdp off", dev.name))?;
                bed.up(dev)?;
            }
            Work::Forward => {
                bed.sh("echo 0 >/proc/sys/net/ipv4/ip_forward")?;
            }
            _ => {}
        }
        bed.counter.settle()?;
        bed.peer.received();
        Ok(())
    }
}

/// A program that sends for ever what it has in memory.
fn sender() -> String {
    format!(
        "import socket\ns = socket.create_connection(('{}', {}))\nb = bytes(65536)\nwhile True:\n    s.sendall(b)\n",
        peer::V4,
        peer::PORT
    )
}

fn run(bed: &Bed, argv: &[&str]) -> Result<Started> {
    bed.vm.guest.start(&Run {
        argv: argv.iter().map(ToString::to_string).collect(),
        ..Run::default()
    })
}
