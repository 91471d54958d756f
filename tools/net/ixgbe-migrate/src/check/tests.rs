// SPDX-License-Identifier: GPL-2.0
//! Each kind of mismatch alone, all of one pair at once, and pairs that move.

use super::*;
use crate::description::Pf;
use crate::users::User;

fn vf(number: u32) -> Vf {
    Vf {
        number,
        address: format!("0000:01:10.{}", number * 2),
        id: Some("8086:10ed".into()),
        mac: Some(format!("02:00:00:00:00:a{number}")),
        vlan: 0,
        qos: 0,
        trust: Some(false),
        spoofchk: Some(true),
        max_tx_rate: Some(0),
        link_state: Some("auto".into()),
        migratable: Some(true),
        driver: Some(VFIO_DRIVER.into()),
        driver_override: Some(VFIO_DRIVER.into()),
        bound_migratable: Some(true),
        iommu_group: Some("11".into()),
        users: Some(vec![]),
    }
}

fn host_of(name: &str, pf_mac: &str) -> Description {
    Description {
        version: 1,
        host: Some(name.into()),
        kernel: Some("7.3.4".into()),
        iommu: true,
        pf: Pf {
            interface: "eth1".into(),
            address: "0000:01:00.0".into(),
            id: Some("8086:10f7".into()),
            driver: Some("ixgbe_rust".into()),
            driver_version: None,
            firmware: None,
            state_format: Some(1),
            mailbox_features: Some(0x100_0000),
            mac: Some(pf_mac.into()),
            mtu: Some(1500),
            mtu_class: Some(MtuClass::Standard),
            up: true,
            link: true,
            speed: Some(10_000),
            vf_count: 2,
            vf_max: 63,
            autoprobe: false,
            queues_per_pool: Some(4),
        },
        vfs: vec![vf(0), vf(1)],
        unknown: vec![],
    }
}

fn pair() -> (Description, Description) {
    (
        host_of("a", "02:00:00:00:01:00"),
        host_of("b", "02:00:00:00:02:00"),
    )
}

type Change = fn(&mut Description, &mut Description);

fn of(d: &mut Description, number: usize) -> &mut Vf {
    &mut d.vfs[number]
}

fn names(v: &Verdict, severity: Severity) -> Vec<&'static str> {
    let of = v.mismatches.iter().filter(|m| m.severity == severity);
    of.map(|m| m.name).collect()
}

/// Each kind that refuses, by the least that makes it.
const REFUSED: &[(&str, Change)] = &[
    ("pf-driver", |_, b| b.pf.state_format = None),
    ("pf-driver", |a, _| a.pf.state_format = None),
    ("device", |_, b| of(b, 0).id = Some("8086:1515".into())),
    ("queue-layout", |_, b| {
        b.pf.vf_count = 40;
        b.pf.queues_per_pool = Some(2);
    }),
    ("admin-mac", |_, b| {
        of(b, 0).mac = Some("02:00:00:00:00:ff".into())
    }),
    ("mac-in-use", |_, b| {
        of(b, 1).mac = Some("02:00:00:00:00:A0".into());
        of(b, 0).mac = None;
    }),
    ("mac-in-use", |a, b| {
        b.pf.mac = of(a, 0).mac.clone();
    }),
    ("port-vlan", |_, b| of(b, 0).vlan = 5),
    ("port-vlan", |a, b| {
        (of(a, 0).vlan, of(b, 0).vlan) = (5, 5);
        of(b, 0).qos = 1;
    }),
    ("link-disabled", |_, b| {
        of(b, 0).link_state = Some("disable".into())
    }),
    ("vf-in-use", |_, b| {
        let user = User {
            pid: 7,
            command: "qemu".into(),
            incoming: false,
        };
        of(b, 0).users = Some(vec![user]);
    }),
    ("no-vf", |_, b| b.vfs.clear()),
    ("no-vf", |a, _| a.vfs.clear()),
    ("migratable", |_, b| of(b, 0).migratable = Some(false)),
    ("migratable", |a, _| of(a, 0).migratable = Some(false)),
    ("bound-too-early", |_, b| {
        of(b, 0).bound_migratable = Some(false)
    }),
    ("vf-driver", |_, b| {
        of(b, 0).driver = Some("vfio-pci".into())
    }),
    ("vf-driver", |a, _| of(a, 0).driver = None),
    ("version", |a, _| a.pf.state_format = Some(2)),
    ("link-down", |_, b| b.pf.link = false),
    ("iommu", |_, b| b.iommu = false),
    ("iommu", |a, _| a.iommu = false),
];

#[test]
fn each_kind_alone() {
    for (name, change) in REFUSED {
        let (mut a, mut b) = pair();
        change(&mut a, &mut b);
        let v = check(&a, 0, &b, 0, false);
        assert_eq!(names(&v, Severity::Refused), [*name], "{}", v.text());
        assert!(!v.fits, "{name}");
        for m in &v.mismatches {
            assert!(!m.text.is_empty() && !m.remedy.is_empty(), "{m:?}");
        }
    }
    let mut kinds: Vec<_> = REFUSED.iter().map(|(name, _)| name).collect();
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() >= 12, "{kinds:?}");
}

/// Makes a host one with another card.
fn card(d: &mut Description, pf: &str, vf: &str) {
    d.pf.id = Some(format!("8086:{pf}"));
    d.vfs
        .iter_mut()
        .for_each(|v| v.id = Some(format!("8086:{vf}")));
}

/// One with an X540.
fn x540(d: &mut Description) {
    card(d, "1528", "1515");
}

/// One with an X550.
fn x550(d: &mut Description) {
    card(d, "1563", "1565");
}

/// VFs of different chips do not change places: told of by the VFs, or by the PF before there are any.
#[test]
fn families_never_mix() {
    let (a, mut b) = pair();
    let mut c = b.clone();
    x540(&mut b);
    x550(&mut c);
    let chips = [
        "10ed (VF of an 82599)",
        "1515 (VF of an X540)",
        "1565 (VF of an X550)",
    ];
    for (from, to, ids) in [
        (&a, &b, [0, 1]),
        (&b, &a, [1, 0]),
        (&a, &c, [0, 2]),
        (&c, &b, [2, 1]),
    ] {
        let ids = ids.map(|id| format!("8086:{}", chips[id]));
        let v = check(from, 0, to, 0, false);
        assert_eq!(names(&v, Severity::Refused), ["device"]);
        let [m] = &v.mismatches[..] else {
            panic!("{}", v.text());
        };
        assert_eq!([&m.source, &m.destination], ids.each_ref());
        assert!(
            v.text().contains("VFs of an 82599, an X540 and an X550"),
            "{}",
            v.text()
        );
        let mut bare = to.clone();
        bare.vfs.clear();
        let v = check(from, 0, &bare, 0, false);
        assert_eq!(names(&v, Severity::Refused), ["device", "no-vf"]);
        assert_eq!(
            [&v.mismatches[0].source, &v.mismatches[0].destination],
            ids.each_ref()
        );
    }
    // Two of one chip are well.
    let (mut a, mut b) = pair();
    x550(&mut a);
    x550(&mut b);
    assert!(check(&a, 0, &b, 0, false).fits);
    // What the tool does not know is compared as it is, and says nothing where one side is not seen.
    let (a, mut b) = pair();
    of(&mut b, 0).id = Some("8086:15a8".into());
    let v = check(&a, 0, &b, 0, false);
    assert_eq!(v.mismatches[0].destination, "8086:15a8");
    (of(&mut b, 0).id, b.pf.id) = (None, None);
    assert!(check(&a, 0, &b, 0, false).fits);
}

/// Between two X540, or two X550, the MTU of the PFs decides nothing.
#[test]
fn later_chips_mix_frames() {
    for (from, to, chip) in [
        (MtuClass::Jumbo, MtuClass::Standard, x540 as fn(&mut _)),
        (MtuClass::Standard, MtuClass::Jumbo, x540),
        (MtuClass::Standard, MtuClass::Jumbo, x550),
    ] {
        let (mut a, mut b) = pair();
        (a.pf.mtu_class, b.pf.mtu_class) = (Some(from), Some(to));
        assert_eq!(check(&a, 0, &b, 0, false).mismatches.len(), 1);
        chip(&mut a);
        chip(&mut b);
        let v = check(&a, 0, &b, 0, false);
        assert!(v.fits && v.mismatches.is_empty(), "{}", v.text());
    }
}

/// What the guest decides, and what refuses nothing.
const OTHERS: &[(&str, Severity, Change)] = &[
    ("max-frame", Severity::Depends, |a, _| {
        a.pf.mtu = Some(9000);
        a.pf.mtu_class = Some(MtuClass::Jumbo);
    }),
    ("jumbo-api", Severity::Depends, |_, b| {
        b.pf.mtu = Some(9000);
        b.pf.mtu_class = Some(MtuClass::Jumbo);
    }),
    ("features", Severity::Depends, |_, b| {
        b.pf.mailbox_features = Some(0)
    }),
    ("link-down", Severity::Depends, |a, _| a.pf.link = false),
    ("admin-mac", Severity::Depends, |a, _| of(a, 0).mac = None),
    ("all-multicast", Severity::Depends, |a, b| {
        of(a, 0).trust = Some(true);
        of(b, 0).mac = None;
    }),
    ("tx-rate", Severity::Note, |_, b| {
        of(b, 0).max_tx_rate = Some(1000)
    }),
    ("spoof-check", Severity::Note, |a, _| {
        of(a, 0).spoofchk = Some(false)
    }),
];

#[test]
fn what_does_not_refuse_by_itself() {
    for (name, severity, change) in OTHERS {
        let (mut a, mut b) = pair();
        change(&mut a, &mut b);
        let v = check(&a, 0, &b, 0, false);
        let told: Vec<_> = v.mismatches.iter().map(|m| (m.name, m.severity)).collect();
        assert_eq!(told, [(*name, *severity)]);
        assert!(v.fits, "{name}");
    }
}

/// The page's table tells what the tests above show.
#[test]
fn each_kind_is_on_the_page() {
    let page = include_str!("../../../../../Documentation/admin-guide/ixgbe-migrate.rst");
    let kind = |name: &str| {
        let row = page.lines().find_map(|l| {
            let rest = l.strip_prefix("``")?.strip_prefix(name)?;
            rest.strip_prefix("``")
        });
        row.and_then(|r| r.split_whitespace().next())
    };
    for (name, _) in REFUSED {
        assert_eq!(kind(name), Some("refused"), "{name}");
    }
    for (name, severity, _) in OTHERS {
        let want = match severity {
            Severity::Refused => "refused",
            Severity::Depends => "depends",
            Severity::Note => "note",
        };
        let refused = REFUSED.iter().any(|(refused, _)| refused == name);
        assert_eq!(
            kind(name),
            Some(if refused { "refused" } else { want }),
            "{name}"
        );
    }
    for own in Own::ALL {
        assert_eq!(kind(own.tell().0), Some("refused"));
    }
}

#[test]
fn all_of_one_pair_at_once() {
    let (mut a, mut b) = pair();
    of(&mut a, 0).spoofchk = Some(false);
    of(&mut a, 0).trust = Some(true);
    a.pf.state_format = Some(2);
    let vf = of(&mut b, 0);
    vf.id = Some("8086:1515".into());
    vf.mac = Some("02:00:00:00:00:ff".into());
    vf.vlan = 5;
    vf.link_state = Some("disable".into());
    vf.migratable = Some(false);
    vf.driver = None;
    vf.max_tx_rate = Some(100);
    vf.users = Some(vec![User {
        pid: 7,
        command: "qemu".into(),
        incoming: false,
    }]);
    of(&mut b, 1).mac = Some("02:00:00:00:00:a0".into());
    b.pf.queues_per_pool = Some(2);
    b.pf.link = false;
    b.iommu = false;
    let v = check(&a, 0, &b, 0, false);
    let mut refused = names(&v, Severity::Refused);
    refused.sort_unstable();
    let want = [
        "admin-mac",
        "device",
        "iommu",
        "link-disabled",
        "link-down",
        "mac-in-use",
        "migratable",
        "port-vlan",
        "queue-layout",
        "version",
        "vf-driver",
        "vf-in-use",
    ];
    assert_eq!(refused, want);
    assert_eq!(names(&v, Severity::Depends), ["all-multicast", "addresses"]);
    assert_eq!(names(&v, Severity::Note), ["tx-rate", "spoof-check"]);
    assert!(v
        .text()
        .starts_with("VF 0 to VF 0: does not fit, 12 reasons"));
}

/// Pairs that move, as the drivers' own tests and the guide have them.
#[test]
fn no_false_alarm() {
    let moves: &[Change] = &[
        |_, _| {},
        // An older source.
        |_, b| b.pf.state_format = Some(2),
        // Other numbers of VFs with the same queues.
        |_, b| b.pf.vf_count = 8,
        // Trusted on the destination: an address of its own.
        |_, b| {
            of(b, 0).trust = Some(true);
            of(b, 0).mac = Some("02:00:00:00:00:ff".into());
        },
        // No address set on the destination.
        |_, b| of(b, 0).mac = None,
        // No address on either.
        |a, b| (of(a, 0).mac, of(b, 0).mac) = (None, None),
        // The link is off on both, or on the source alone.
        |a, b| {
            of(a, 0).link_state = Some("disable".into());
            of(b, 0).link_state = Some("disable".into());
        },
        |a, _| of(a, 0).link_state = Some("disable".into()),
        // `enable` is like `auto` on an 82599.
        |_, b| of(b, 0).link_state = Some("enable".into()),
        // The same port VLAN.
        |a, b| (of(a, 0).vlan, of(b, 0).vlan) = (5, 5),
        // The VM runs on the source; the destination's QEMU waits.
        |a, b| {
            let user = |incoming| User {
                pid: 7,
                command: "qemu".into(),
                incoming,
            };
            of(a, 0).users = Some(vec![user(false)]);
            of(b, 0).users = Some(vec![user(true)]);
        },
        // Other hosts, kernels and firmware.
        |_, b| {
            b.kernel = Some("7.3.9".into());
            b.pf.firmware = Some("0x1".into());
            b.pf.id = Some("8086:10fb".into());
        },
        // Jumbo frames on both.
        |a, b| {
            a.pf.mtu_class = Some(MtuClass::Jumbo);
            b.pf.mtu_class = Some(MtuClass::Jumbo);
        },
        // The destination checks less.
        |_, b| of(b, 0).spoofchk = Some(false),
        // The features of an older driver are not known.
        |_, b| b.pf.mailbox_features = None,
    ];
    for (i, change) in moves.iter().enumerate() {
        let (mut a, mut b) = pair();
        change(&mut a, &mut b);
        let v = check(&a, 0, &b, 0, false);
        assert!(v.fits && v.mismatches.is_empty(), "{i}: {}", v.text());
    }
}

#[test]
fn managed_by_libvirt() {
    let (a, mut b) = pair();
    of(&mut b, 0).driver = None;
    of(&mut b, 0).bound_migratable = None;
    assert!(check(&a, 0, &b, 0, true).fits);
    assert!(!check(&a, 0, &b, 0, false).fits);
}

#[test]
fn to_another_vf() {
    let (a, mut b) = pair();
    of(&mut b, 0).mac = None;
    of(&mut b, 1).mac = a.vfs[0].mac.clone();
    assert!(check(&a, 0, &b, 1, false).fits);
    assert_eq!(
        names(&check(&a, 0, &b, 0, false), Severity::Refused),
        ["mac-in-use"]
    );
    assert_eq!(
        names(&check(&a, 0, &b, 9, false), Severity::Refused),
        ["no-vf"]
    );
}

#[test]
fn what_cannot_be_seen_is_no_yes() {
    let (a, mut b) = pair();
    of(&mut b, 0).users = None;
    of(&mut b, 0).migratable = None;
    of(&mut b, 0).trust = None;
    let v = check(&a, 0, &b, 0, false);
    assert_eq!(names(&v, Severity::Refused), [] as [&str; 0]);
    assert_eq!(v.unseen.len(), 3);
    assert!(!v.fits);
    assert!(v.text().contains("cannot tell"));
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = Own::ALL.iter().map(|o| o.tell().0).collect();
    names.extend(Refusal::ALL.iter().map(|r| r.name()));
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
