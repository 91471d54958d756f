// SPDX-License-Identifier: GPL-2.0
//! Destinations that are not fit for a VM, and a VM that no destination would take.

use std::time::Duration;

use anyhow::{Context, Result};

use super::host::{Host, PORT};
use super::inner::Inner;
use super::spec::{Card, Preparation, FIRST};

/// How a destination is unfit, or a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) name: &'static str,
    /// What the reasons must say, somewhere in what both QEMUs and both hosts' kernels print.
    pub(super) says: &'static [&'static str],
    pub(super) make: fn(&Stage<'_>) -> Result<()>,
    pub(super) mend: fn(&Stage<'_>) -> Result<()>,
    /// What the migration stream goes through.
    pub(super) relay: Option<Relay>,
    /// Whether the VM may be stopped for it, where that is certain: what is known from the
    /// compatibility record is told before.
    pub(super) stops: Option<bool>,
}

/// What changes the migration stream on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relay {
    /// Makes version 1 of this project's format version 2: the source is newer than the
    /// destination.
    NewerSource,
    /// Takes from the compatibility record what version 1 of it did not have, so that the state
    /// alone tells.
    OlderSource,
}

impl Relay {
    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::NewerSource => "newer",
            Self::OlderSource => "older",
        }
    }
}

/// What a trouble can get at.
pub(super) struct Stage<'a> {
    pub(super) from: &'a Host,
    pub(super) to: &'a Host,
    pub(super) vm: &'a Inner,
}

impl Stage<'_> {
    /// Runs a script in the VM.
    fn in_vm(&self, what: &str, script: &str) -> Result<()> {
        self.vm
            .agent
            .sh(script, Duration::from_secs(180))?
            .ok()
            .with_context(|| format!("in the VM: {what}"))?;
        Ok(())
    }

    /// Lets the destination's PF have the VM's address as well, or takes it again.
    fn pf_has_address(&self, has: bool) -> Result<()> {
        let (verb, pf, mac) = (if has { "add" } else { "del" }, FIRST.pf(), FIRST.mac());
        self.to.sh(
            "an address of the PF",
            &format!(
                "n=$(ls /sys/bus/pci/devices/{pf}/net)
                 bridge fdb {verb} {mac} dev $n self permanent; ip link set $n up; sleep 1"
            ),
        )?;
        Ok(())
    }

    /// The guest receives all multicast, for which its VF needs trust, or gives it up again.
    fn all_multicast(&self, on: bool) -> Result<()> {
        // A VF that is trusted, or no longer, begins anew.
        let settled = "i=0; while [ $i -lt 20 ]; do read c </sys/class/net/eth0/carrier
             if [ \"$c\" = 1 ]; then i=$((i + 1)); else i=0; fi; sleep 0.1; done";
        if on {
            self.from.set_pf("vf 0 trust on")?;
        }
        let flag = if on { "allmulti" } else { "-allmulti" };
        self.in_vm("multicast", &format!("{settled}; ifconfig eth0 {flag}"))?;
        self.pool_has_all_multicast(on)?;
        if !on {
            self.from.set_pf("vf 0 trust off")?;
        }
        Ok(())
    }

    /// Waits until the source's PF gives the VF all multicast, or no longer: the guest's core tells its driver from a work, and
    /// that asks the PF.
    fn pool_has_all_multicast(&self, has: bool) -> Result<()> {
        // VMOLR.MPE of pool 0 (82599 datasheet 8.2.3.27).
        let script = format!(
            "import mmap, sys, time
file = open('/sys/bus/pci/devices/{}/resource0', 'r+b')
bar = mmap.mmap(file.fileno(), 0)
vmolr, end = memoryview(bar).cast('I')[0xf000 // 4:], time.monotonic() + 120
while bool(vmolr[0] & 1 << 28) != {}:
    if time.monotonic() > end: sys.exit('VMOLR of pool 0 is %#x' % vmolr[0])
    time.sleep(0.05)",
            FIRST.pf(),
            if has { "True" } else { "False" }
        );
        self.from.sh(
            "the VF's receive modes",
            &format!("python3 -c \"{script}\""),
        )?;
        Ok(())
    }

    /// More VLANs than the destination has room for: the guest's, and port VLANs of other VFs. Up
    /// to 32 VFs have queues of the same number.
    fn fill_vlans(&self) -> Result<()> {
        self.in_vm(
            "joining VLANs",
            "for i in $(seq 101 140); do
                 ip link add link eth0 name v$i type vlan id $i || exit 1; done; sleep 1",
        )?;
        self.to.set_vfs(31)?;
        self.to.prepare(&FIT)?;
        self.to.sh(
            "port VLANs",
            &format!(
                "n=$(ls /sys/bus/pci/devices/{}/net)
                 for i in $(seq 30); do ip link set $n vf $i vlan $((1000 + i)); done",
                FIRST.pf()
            ),
        )?;
        Ok(())
    }

    fn leave_vlans(&self) -> Result<()> {
        self.in_vm(
            "leaving VLANs",
            "for i in $(seq 101 140); do ip link del v$i; done; sleep 1",
        )?;
        self.to.set_vfs(1)?;
        self.to.prepare(&FIT)
    }

    /// The guest's driver routes its mailbox interrupt to a vector that the VF has not, or puts it
    /// right.
    fn odd_vector(&self, odd: bool) -> Result<()> {
        // VTIVAR_MISC (82599 datasheet 8.3.5.3.6) in the VF's first BAR; VALID and vector 3, of 0
        // to 2. The lab's own kernels have no /dev/mem: devmem maps what is there by that name.
        let change = if odd {
            "devmem 0x140 32 >/tmp/vector; devmem 0x140 32 0x83"
        } else {
            "devmem 0x140 32 $(cat /tmp/vector)"
        };
        self.in_vm(
            "writing a register",
            &format!("ln -sf /sys/class/net/eth0/device/resource0 /dev/mem; {change}"),
        )
    }
}

pub(super) const FIT: Preparation<'static> = Preparation {
    card: Card::Vf,
    restore: None,
    migratable: true,
    follow_cpu: None,
};

/// Port of the relay.
pub(super) const RELAY: u16 = PORT + 1;

/// Passes the stream on and changes what of this project's format goes by, see [`Relay`]. A
/// compatibility record (content 1) of an older source is made by giving its later records kinds
/// that nobody knows, which a reader skips. A destination that refuses may close its end with a reset:
/// the source's end closes then too, or the source would wait for an answer. The magic alone is no record:
/// the VM's memory has its driver, and in it the same bytes.
pub(super) const RELAY_SCRIPT: &str = r#"
import os, socket, struct, sys, threading
MAGIC = b"ixgbeVF\x1a"
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8): crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
def newer(blob):
    struct.pack_into("<H", blob, 8, 2)
def older(blob):
    if struct.unpack_from("<H", blob, 10)[0] != 1: return
    at = 24
    while at < len(blob):
        kind, _, length = struct.unpack_from("<HHI", blob, at)
        if kind > 0x8001: struct.pack_into("<H", blob, at, kind | 0xf00)
        at += 8 + (length + 7) // 8 * 8
    struct.pack_into("<I", blob, 20, 0)
    struct.pack_into("<I", blob, 20, crc32c(blob))
change = {"newer": newer, "older": older}[sys.argv[1]]
s = socket.create_server(("", 4445)); a = s.accept()[0]; b = socket.create_connection(("127.0.0.1", 4444))
def back():
    try:
        while d := b.recv(65536): a.sendall(d)
    finally:
        os._exit(0)
threading.Thread(target=back, daemon=True).start()
kept = bytearray()
while d := a.recv(65536):
    kept += d
    while (at := kept.find(MAGIC)) >= 0:
        if len(kept) < at + 24: break
        version, content, length = struct.unpack_from("<HHI", kept, at + 8)
        if version != 1 or content not in (1, 2) or not 24 <= length < 65536:
            b.sendall(kept[:at + 8]); del kept[:at + 8]
            continue
        end = at + length
        if len(kept) < end: break
        blob = kept[at:end]; change(blob)
        b.sendall(kept[:at] + blob); del kept[:end]
    else:
        part = (n for n in range(len(MAGIC) - 1, 0, -1) if kept.endswith(MAGIC[:n]))
        at = len(kept) - next(part, 0)
    b.sendall(kept[:at]); del kept[:at]
b.sendall(kept); b.shutdown(socket.SHUT_WR); threading.Event().wait()
"#;

/// The hosts themselves do not fit, and nothing mends that.
pub(super) const OTHER_CHIP: Trouble = Trouble {
    name: "a destination with another chip",
    says: &["compatibility record refused: other device"],
    make: |_| Ok(()),
    mend: |_| Ok(()),
    relay: None,
    stops: Some(false),
};

pub(super) const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "destination without the variant driver",
        // Its QEMU has nobody to give the VF's state to.
        // "Unknown savevm section or instance" before QEMU 11, "Unknown section or instance" since.
        says: &["section or instance"],
        make: |s| {
            s.to.prepare(&Preparation {
                card: Card::Replug,
                restore: None,
                migratable: false,
                follow_cpu: None,
            })
        },
        mend: |s| s.to.prepare(&FIT),
        relay: None,
        stops: None,
    },
    Trouble {
        name: "destination's VF not migratable",
        says: &["not migratable, see devlink port function"],
        make: |s| {
            s.to.prepare(&Preparation {
                migratable: false,
                follow_cpu: None,
                ..FIT
            })
        },
        mend: |s| s.to.prepare(&FIT),
        relay: None,
        stops: None,
    },
    Trouble {
        name: "no free VF",
        says: &["no such host device"],
        make: |s| s.to.set_vfs(0),
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        relay: None,
        stops: None,
    },
    Trouble {
        name: "other queue layout",
        says: &["other queues per pool"],
        make: |s| {
            // Above 32 VFs a pool has 2 queues, below 4 (82599 datasheet 7.10.3.2).
            s.to.set_vfs(40)?;
            s.to.prepare(&FIT)
        },
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "destination's MTU too small",
        says: &["frame size not allowed here, check the PF's MTU"],
        make: |s| {
            s.from.set_pf("mtu 9000")?;
            s.vm.set_mtu(9000)
        },
        mend: |s| {
            s.vm.set_mtu(1500)?;
            s.from.set_pf("mtu 1500")
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "destination's link down",
        says: &["no link here"],
        make: |s| s.to.set_pf("down"),
        mend: |s| {
            s.to.set_pf("up")?;
            s.to.wait_link()
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "destination knows only an older state version",
        says: &["unknown format version"],
        make: |_| Ok(()),
        mend: |_| Ok(()),
        relay: Some(Relay::NewerSource),
        stops: Some(false),
    },
    Trouble {
        name: "another address of the destination's administrator",
        says: &["compatibility record refused: this host set another MAC address"],
        make: |s| s.to.set_pf("vf 0 mac 02:82:59:00:99:99"),
        mend: |s| s.to.set_pf(&format!("vf 0 mac {}", FIRST.mac())),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: this host set another MAC address"],
        make: |s| s.to.set_pf("vf 0 mac 02:82:59:00:99:99"),
        mend: |s| s.to.set_pf(&format!("vf 0 mac {}", FIRST.mac())),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "address in use by the destination's PF",
        says: &["compatibility record refused: MAC address in use here"],
        make: |s| s.pf_has_address(true),
        mend: |s| s.pf_has_address(false),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: MAC address in use here"],
        make: |s| s.pf_has_address(true),
        mend: |s| s.pf_has_address(false),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "address in use by another VF of the destination",
        says: &["compatibility record refused: MAC address in use here"],
        make: |s| {
            s.to.set_vfs(2)?;
            s.to.prepare(&FIT)?;
            s.to.set_pf(&format!("vf 1 mac {}", FIRST.mac()))
        },
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "no trust for all multicast",
        says: &["compatibility record refused: all multicast not allowed to this VF here"],
        make: |s| s.all_multicast(true),
        mend: |s| s.all_multicast(false),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: all multicast not allowed to this VF here"],
        make: |s| s.all_multicast(true),
        mend: |s| s.all_multicast(false),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "the destination's VLAN table is full",
        says: &["compatibility record refused: no room for its VLANs here"],
        make: |s| s.fill_vlans(),
        mend: |s| s.leave_vlans(),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: no room for its VLANs here"],
        make: |s| s.fill_vlans(),
        mend: |s| s.leave_vlans(),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "link of the VF disabled on the destination",
        says: &["compatibility record refused: link of this VF disabled here"],
        make: |s| s.to.set_pf("vf 0 state disable"),
        mend: |s| s.to.set_pf("vf 0 state auto"),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "several at once",
        says: &[
            "other port VLAN",
            "this host set another MAC address",
            "link of this VF disabled here",
        ],
        make: |s| {
            s.to.set_pf("vf 0 vlan 7")?;
            s.to.set_pf("vf 0 mac 02:82:59:00:99:99")?;
            s.to.set_pf("vf 0 state disable")
        },
        mend: |s| {
            s.to.set_pf("vf 0 vlan 0")?;
            s.to.set_pf(&format!("vf 0 mac {}", FIRST.mac()))?;
            s.to.set_pf("vf 0 state auto")
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "a guest with an odd register, which no destination would take",
        says: &["compatibility record refused: value out of range"],
        make: |s| s.odd_vector(true),
        mend: |s| s.odd_vector(false),
        relay: None,
        stops: Some(false),
    },
];
