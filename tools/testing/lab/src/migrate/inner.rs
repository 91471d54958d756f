// SPDX-License-Identifier: GPL-2.0
//! The inner VM: run by the host's own, unmodified QEMU with the VF assigned, driven through the same agent as a host.

use parking_lot::Mutex;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::{Exit, Run, PORT};
use serde_json::{json, Value};

use super::host::Host;
use super::spec::{is_checked, Card, Image, Seat, FIRST};
use crate::guest::{Command, Event, Guest, Up};
use crate::kernel::Flavour;
use crate::qmp::Qmp;
use crate::vm::{BARE, PATIENCE};

/// Memory of the inner VM in MiB.
pub const MEMORY_MIB: u32 = 256;

/// QEMU's events that tell what a migration does when.
const TRACED: &[&str] = &[
    "migrate_set_state",
    "migration_bitmap_sync_end",
    "migrate_pending*",
    "vmstate_downtime_*",
    "vfio_migration_*",
    "vfio_save_*",
    "vfio_load_*",
];

/// An inner VM, or the place that waits for one.
pub struct Inner {
    /// QEMU in the host; it is killed on drop.
    qemu: Killed,
    /// What QEMU said.
    messages: Arc<Messages>,
    /// Its QMP.
    pub qmp: Qmp,
    /// The agent in the VM; silent until the VM has arrived.
    pub agent: Guest,
    /// Its card.
    pub card: Card,
    /// Its VFs on either host.
    pub seats: &'static [Seat],
    /// Its kernel and the hosts'.
    pub kernel: Flavour,
}

/// QEMU's machine for a VM. What it does not use is left out: each device is saved and loaded while the VM stands, may remap
/// memory then, and QEMU describes it in JSON (`suppress-vmdesc`), which costs milliseconds each under emulation.
///
/// q35 only where a card is plugged and unplugged: its ICH9LPC has 16 KiB that QEMU saves and loads byte by byte (`chip_config` in
/// hw/isa/lpc_ich9.c), 20 ms in all.
fn machine(card: Card) -> &'static str {
    match card {
        Card::Vf | Card::Closed | Card::Virtio => "pc,usb=off",
        Card::Failover | Card::Replug => "q35,sata=off",
    }
}

/// A command that is killed on drop.
struct Killed(crate::guest::Input);

impl Drop for Killed {
    fn drop(&mut self) {
        // The host may be gone already.
        let _ = self.0.kill();
    }
}

/// How long a QEMU that was told to end may take.
const ENDING: Duration = Duration::from_secs(10);

/// What a QEMU said, and how it ended.
#[derive(Default)]
struct Messages {
    text: Mutex<String>,
    exit: Mutex<Option<Exit>>,
}

impl Messages {
    /// Waits until QEMU is gone, but not for ever.
    fn wait_ended(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.exit.lock().is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn collect(command: Command) -> Arc<Messages> {
    let messages = Arc::<Messages>::default();
    let to = messages.clone();
    thread::spawn(move || {
        for event in command.events {
            let text = match event {
                Event::Stdout(b) | Event::Stderr(b) => String::from_utf8_lossy(&b).into_owned(),
                Event::Exit(e) => {
                    let text = format!("QEMU ended: {e:?}\n");
                    *to.exit.lock() = Some(e);
                    text
                }
            };
            to.text.lock().push_str(&text);
        }
    });
    messages
}

/// Why an end of QEMU is a crash, if it is: an incoming QEMU that refuses the state ends by itself with status 1.
fn crash(exit: &Exit, said: &str) -> Option<String> {
    if let Some(signal) = exit.signal {
        return Some(format!("signal {signal}"));
    }
    // A QEMU of the hosts is started by the agent and not by a shell: 128 and more is its own.
    if exit.code.is_some_and(|c| c != 0 && c != 1) {
        return Some(format!("status {:?}", exit.code));
    }
    let signs = [
        "Assertion",
        "assertion failed",
        "Segmentation fault",
        "core dumped",
    ];
    signs
        .iter()
        .find(|s| said.contains(**s))
        .map(|s| (*s).to_owned())
}

/// Gives the cards of a VM their addresses.
///
/// # Errors
/// If a card does not come up in time.
pub(super) fn configure(agent: &Guest, card: Card, seats: &[Seat]) -> Result<()> {
    for seat in seats {
        // The master of a failover pair is the one that has others below it.
        let pattern = if card == Card::Failover {
            "/sys/class/net/*/lower_*"
        } else {
            "/sys/class/net/eth*"
        };
        let (mac, ip) = (seat.mac(), seat.ip());
        // Where a VM has several cards in one network, what is sent from a card's address leaves by this card.
        let routes = if seats.len() > 1 {
            let table = 100 + u32::from(seat.card);
            format!(
                "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
                 ip route add 192.0.2.0/24 dev $n table {table} && ip rule add from {ip} lookup {table} || exit 1"
            )
        } else {
            String::new()
        };
        let script = format!(
            "for i in $(seq 600); do for n in {pattern}; do [ -e $n ] && grep -q {mac} ${{n%/lower_*}}/address && break 2; done; \
             sleep 0.05; done
             n=${{n%/lower_*}}; n=${{n##*/}}
             [ -e /sys/class/net/$n ] || {{ echo no card; dmesg | tail -n 12; exit 1; }}
             ip addr add {ip}/24 dev $n && ip link set $n up || exit 1
             {routes}
             for i in $(seq 600); do read c </sys/class/net/$n/carrier && [ $c = 1 ] && exit 0; sleep 0.1; done
             echo no carrier; exit 1"
        );
        agent
            .sh(&script, Duration::from_secs(180))
            .and_then(crate::guest::Output::ok)
            .context("configuring the inner VM's card")?;
    }
    Ok(())
}

impl Inner {
    /// Starts QEMU in a host, with the VM or (`incoming`) waiting for it.
    ///
    /// # Errors
    /// If QEMU does not answer; the message has what it said.
    pub fn start(host: &Host, card: Card, image: &Image, incoming: bool) -> Result<Self> {
        let guest = &host.vm.guest;
        let id = host.next_id();
        let (qmp, agent, console) = (
            format!("/run/vm{id}.qmp"),
            format!("/run/vm{id}.agent"),
            format!("/run/vm{id}.console"),
        );
        let mut argv = vec!["qemu-system-x86_64".to_owned()];
        let mut add = |args: &[&str]| argv.extend(args.iter().map(ToString::to_string));
        add(BARE);
        // A VM that resets itself stays to be looked at: a triple fault says nothing on its console.
        add(&["-action", "shutdown=pause"]);
        add(&[
            "-M",
            &format!(
                "{},smbus=off,i8042=off,hpet=off,vmport=off,smm=off,suppress-vmdesc=on",
                machine(card)
            ),
            "-global",
            "apic-common.vapic=off",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            &image.memory_mib.to_string(),
            "-smp",
            &image.cpus.to_string(),
        ]);
        add(&["-kernel", "/lab/inner/vmlinux", "-initrd", &image.initrd]);
        // Without an i8042, and with no reset register in pc's ACPI tables, a VM that starts again would wait for minutes for
        // the keyboard's controller (kb_wait() in arch/x86/kernel/reboot.c).
        add(&[
            "-append",
            &format!(
                "console=ttyS0 loglevel=4 panic=-1 reboot=pci no_timer_check {PATIENCE} lab.name=vm lab.modules={} {}",
                image.drivers, image.options
            ),
        ]);
        add(&[
            "-serial",
            &format!("file:{console}"),
            "-qmp",
            &format!("unix:{qmp},server=on,wait=off"),
        ]);
        // What the agent's port costs while the VM stands: QEMU saves and loads the rings of a modern device as 1024 of them, whatever
        // it has (vmstate_virtio_virtqueues in hw/virtio/virtio.c); and for each queue with an ioeventfd KVM waits for a grace
        // period of SRCU to take that away (kvm_io_bus_unregister_dev() in virt/kvm/kvm_main.c), 3 to 20 ms under emulation.
        add(&[
            "-device",
            "virtio-serial-pci,max_ports=2,disable-legacy=off,disable-modern=on,ioeventfd=off",
            "-chardev",
            &format!("socket,id=agent,path={agent},server=on,wait=off"),
        ]);
        add(&[
            "-device",
            &format!("virtserialport,chardev=agent,name={PORT}"),
        ]);
        if matches!(card, Card::Failover | Card::Replug) {
            // A root port, so that the card can be unplugged. Where it is not, the port would only be one more device to save and
            // load, with the memory map that this changes.
            add(&["-device", "pcie-root-port,id=rp0,chassis=1,slot=1"]);
        }
        if matches!(card, Card::Virtio | Card::Failover) {
            host.add_tap(&format!("tap{id}"))?;
            let failover = if card == Card::Failover {
                ",failover=on"
            } else {
                ""
            };
            add(&[
                "-netdev",
                &format!("tap,id=n0,ifname=tap{id},script=no,downscript=no"),
                "-device",
                &format!(
                    "virtio-net-pci,id=net0,netdev=n0,mac={}{failover}",
                    FIRST.mac()
                ),
            ]);
        }
        let first = FIRST.address();
        match card {
            Card::Vf | Card::Closed => {
                let iommufd = if image.iommufd {
                    add(&["-object", "iommufd,id=iommufd0"]);
                    ",iommufd=iommufd0"
                } else {
                    ""
                };
                for (i, seat) in image.seats.iter().enumerate() {
                    let host = seat.address();
                    add(&[
                        "-device",
                        &format!("vfio-pci,id=vf{i},host={host}{iommufd}"),
                    ]);
                }
            }
            Card::Failover => add(&[
                "-device",
                &format!("vfio-pci,id=vf0,host={first},bus=rp0,failover_pair_id=net0"),
            ]),
            // On the destination it is plugged when the VM runs.
            Card::Replug if !incoming => {
                add(&["-device", &format!("vfio-pci,id=vf0,host={first},bus=rp0")]);
            }
            Card::Replug | Card::Virtio => {}
        }
        if image.trace {
            for event in TRACED {
                add(&["-trace", event]);
            }
            add(&["-D", &format!("/run/vm{id}.trace"), "-msg", "timestamp=on"]);
        }
        if incoming {
            add(&["-incoming", "defer"]);
        }
        let command = guest.start(&Run {
            argv,
            ..Run::default()
        })?;
        let qemu = Killed(command.input());
        let messages = collect(command);
        let said = || messages.text.lock().clone();
        let start = Instant::now();
        while !guest
            .run(&["test", "-S", &qmp], Duration::from_secs(60))?
            .exit
            .ok()
        {
            if messages.exit.lock().is_some() || start.elapsed() > Duration::from_secs(180) {
                bail!("starting QEMU in {}: {}", host.name(), said());
            }
            thread::sleep(Duration::from_millis(50));
        }
        let agent = host.vm_agent(&agent, &image.name, incoming)?;
        let mut qmp = Qmp::connect(guest, &qmp)
            .with_context(|| format!("starting QEMU in {}: {}", host.name(), said()))?;
        // With the return path the source lets the VM go only when the destination has taken it, and with the acknowledgement
        // it stops the VM only when the destination has looked at the compatibility record.
        let capabilities = ["events", "return-path", "switchover-ack"]
            .map(|c| json!({ "capability": c, "state": true }));
        qmp.execute(
            "migrate-set-capabilities",
            json!({ "capabilities": capabilities }),
        )?;
        let mut inner = Self {
            qemu,
            messages,
            qmp,
            agent,
            card,
            seats: image.seats,
            kernel: host.kernel,
        };
        if !incoming {
            // A checked kernel has the checkers twice, in its own and in the host's; beside a build 120 s were not enough.
            let limit = Duration::from_secs(if is_checked(host.kernel) { 600 } else { 300 });
            let start = Instant::now();
            while inner.agent.wait_up(Duration::from_millis(500)) != Up::Yes {
                if let Some(told) = host.triple_fault() {
                    bail!("the inner VM did not come up: {told}");
                }
                if start.elapsed() > limit || inner.messages.exit.lock().is_some() {
                    let console = guest
                        .run(&["tail", "-n", "30", &console], Duration::from_secs(20))?
                        .stdout;
                    bail!(
                        "the inner VM did not come up; QEMU says: {}\nits console:\n{console}",
                        inner.said()
                    );
                }
            }
            // Without ioeventfds the guest's opening of the port is handled by the vCPU's thread, which does not wake QEMU's main
            // loop, and that does not look at the port's socket before something else wakes it (control_out() in
            // hw/char/virtio-serial-bus.c, io_watch_poll_prepare() in chardev/char-io.c).
            inner.qmp.execute("query-status", json!({}))?;
        }
        Ok(inner)
    }

    /// What QEMU said.
    pub fn said(&self) -> String {
        self.messages.text.lock().clone()
    }

    /// Why QEMU crashed, if it did. One that fails to load a state ends, so this waits for that for a moment.
    pub fn crash(&self, moment: Duration) -> Option<String> {
        self.messages.wait_ended(moment);
        let exit = self.messages.exit.lock().clone();
        crash(&exit?, &self.said())
    }

    /// Gives the VM's cards their addresses.
    ///
    /// # Errors
    /// If a card does not come up in time.
    pub fn configure(&self) -> Result<()> {
        configure(&self.agent, self.card, self.seats)
    }

    /// Has the guest shut its card down or bring it up, addresses kept: the driver frees its rings and interrupts, or makes them
    /// anew, as its `suspend` and `resume` do.
    ///
    /// # Errors
    /// If the guest refuses.
    pub fn set_link(&self, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.agent
            .run(
                &["ip", "link", "set", "eth0", state],
                Duration::from_secs(60),
            )?
            .ok()
            .with_context(|| format!("setting the inner VM's card {state}"))?;
        Ok(())
    }

    /// Takes the VF away from the VM, as a manager does before a migration.
    ///
    /// # Errors
    /// If the guest does not let it go.
    pub fn unplug(&mut self) -> Result<()> {
        self.qmp.execute("device_del", json!({ "id": "vf0" }))?;
        self.qmp.wait(
            |e| {
                e.get("event").and_then(Value::as_str) == Some("DEVICE_DELETED")
                    && e.pointer("/data/device").and_then(Value::as_str) == Some("vf0")
            },
            Duration::from_secs(60),
        )?;
        Ok(())
    }

    /// Gives the VM the host's VF.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn plug(&mut self) -> Result<()> {
        let device =
            json!({ "driver": "vfio-pci", "id": "vf0", "host": FIRST.address(), "bus": "rp0" });
        self.qmp.execute("device_add", device)?;
        Ok(())
    }

    /// Has QEMU announce the VM's address on the bridge.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn announce(&mut self) -> Result<()> {
        let times = json!({ "initial": 10, "max": 10, "rounds": 2, "step": 10 });
        self.qmp.execute("announce-self", times)?;
        Ok(())
    }

    /// Has the VM announce its address by the VF of a failover pair as soon as that is its primary.
    ///
    /// net_failover does not: it only drops what still comes to the standby (`net_failover_handle_frame()` in
    /// drivers/net/net_failover.c), and the network sends there until the VM happens to say something by itself. For a VM that
    /// only answers, that was 5 to 56 s.
    ///
    /// # Errors
    /// If there is no such VF in time.
    pub fn announce_vf(&self) -> Result<()> {
        let script = format!(
            "for i in $(seq 6000); do for l in /sys/class/net/*/lower_*; do
                 n=/sys/class/net/${{l##*/lower_}}
                 case $(readlink $n/device/driver) in */virtio_net|'') continue;; esac
                 read c <$n/carrier && [ \"$c\" = 1 ] || continue
                 m=${{l%/lower_*}}; arping -q -U -c 1 -I ${{m##*/}} {}; exit 0
             done; sleep 0.01; done 2>/dev/null; exit 1",
            FIRST.ip()
        );
        self.agent
            .sh(&script, Duration::from_secs(90))?
            .ok()
            .context("waiting for the VF to be the primary of the failover pair")?;
        Ok(())
    }

    /// Changes the MTU of the VM's card, with its link up for three seconds before and after: a PF whose MTU changes resets its
    /// VFs, of which a guest may hear from its service task only, within two seconds.
    ///
    /// # Errors
    /// If the guest refuses.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.agent
            .sh(
                &format!(
                    "stable() {{ i=0; while [ $i -lt 30 ]; do read c </sys/class/net/eth0/carrier
                     if [ \"$c\" = 1 ]; then i=$((i + 1)); else i=0; fi; sleep 0.1; done; }}
                     stable; ip link set eth0 mtu {mtu} && stable"
                ),
                Duration::from_secs(180),
            )?
            .ok()
            .context("changing the MTU in the VM")?;
        Ok(())
    }

    /// Kills QEMU, as a host does that dies, and waits until it is gone.
    pub fn kill(self) {
        let Self { qemu, messages, .. } = self;
        drop(qemu);
        messages.wait_ended(ENDING);
    }

    /// Ends QEMU.
    pub fn quit(mut self) {
        // Whatever it answers, dropping kills what is left of it.
        let _ = self.qmp.execute("quit", json!({}));
        self.messages.wait_ended(ENDING);
        drop(self.qemu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_no_refusal() {
        let exit = |code, signal| Exit {
            code,
            signal,
            ..Exit::default()
        };
        let refusal = "qemu-system-x86_64: load of migration failed: Invalid argument";
        assert_eq!(crash(&exit(Some(1), None), refusal), None);
        assert_eq!(crash(&exit(Some(0), None), ""), None);
        assert!(crash(&exit(None, Some(11)), refusal).is_some());
        assert!(crash(&exit(Some(139), None), "").is_some());
        assert!(crash(&exit(Some(1), None), "x.c:1: f: Assertion `a' failed.").is_some());
    }
}
