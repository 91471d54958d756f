// SPDX-License-Identifier: GPL-2.0
//! `prepare` and `release` on a host of their own.

use super::*;
use crate::fake::{place, Fake, State};

const TOML: &str = r#"
    vfs = 2
    [[vf]]
    number = 0
    mac = "02:00:00:00:00:A0"
    vlan = 5
    qos = 1
    trust = true
    spoofchk = false
    max_tx_rate = 1000
    link = "auto"
    [[vf]]
    number = 1
    migratable = false
    driver = "none"
"#;

fn wanted() -> Wanted {
    Wanted::parse(TOML).unwrap()
}

fn run(fake: &Fake, wanted: &Wanted) -> Outcome {
    prepare(fake, &place(), wanted).unwrap()
}

/// A host without the record and the loaded module, which stays.
fn bare(fake: &Fake) -> State {
    let mut state = fake.state.borrow().clone();
    state.modules.clear();
    state
}

#[test]
fn prepares_and_a_second_run_changes_nothing() {
    let fake = Fake::new();
    let before = bare(&fake);
    let Outcome::Done(changes) = run(&fake, &wanted()) else {
        panic!("not done");
    };
    // Up, autoprobe, number; address, VLAN, trust, spoof check, rate, migratable, driver.
    assert_eq!(changes.len(), 10, "{changes:#?}");
    {
        let state = fake.state.borrow();
        let vf = &state.vfs[0];
        assert!(state.up && !state.autoprobe && vf.trust && !vf.spoofchk && vf.migratable);
        assert_eq!(
            (vf.mac.as_str(), vf.vlan, vf.qos, vf.rate),
            ("02:00:00:00:00:a0", 5, 1, 1000)
        );
        assert_eq!(vf.driver.as_deref(), Some(VFIO_DRIVER));
        assert!(vf.bound_migratable, "bound after it was made migratable");
        assert_eq!(state.vfs[1].driver, None);
    }
    let log = fake.log.borrow().len();
    assert_eq!(run(&fake, &wanted()), Outcome::Done(vec![]));
    assert_eq!(fake.log.borrow().len(), log, "a second run writes nothing");
    assert_eq!(run(&fake, &wanted()).to_string(), "nothing to change\n");

    let outcome = release(&fake, &place(), false).unwrap();
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(
        bare(&fake),
        before,
        "as it was before, and no record is left"
    );
    assert_eq!(
        release(&fake, &place(), false).unwrap(),
        Outcome::Done(vec![])
    );
}

#[test]
fn release_restores_vfs_that_were_there() {
    let fake = Fake::new();
    fake.write("/x/sriov_numvfs", "2").unwrap();
    {
        let mut state = fake.state.borrow_mut();
        state.up = true;
        state.vfs[0].mac = "02:00:00:00:00:01".into();
        state.vfs[0].vlan = 9;
    }
    let before = bare(&fake);
    assert_eq!(before.vfs[0].driver.as_deref(), Some("ixgbevf_rust"));
    assert_eq!(run(&fake, &wanted()).code(), 0);
    // A later run with something else does not forget what was there first.
    let mut other = wanted();
    other.vf[0].vlan = Some(7);
    assert_eq!(run(&fake, &other).code(), 0);
    let outcome = release(&fake, &place(), false).unwrap();
    assert_eq!(outcome.code(), 0, "{outcome}");
    let mut after = bare(&fake);
    for vf in &mut after.vfs {
        vf.bound_migratable = false;
    }
    assert_eq!(after, before);
}

#[test]
fn what_somebody_else_changed_stays() {
    let fake = Fake::new();
    fake.write("/x/sriov_numvfs", "2").unwrap();
    assert_eq!(run(&fake, &wanted()).code(), 0);
    fake.state.borrow_mut().vfs[0].vlan = 30;
    let text = release(&fake, &place(), false).unwrap().to_string();
    assert!(
        text.contains("VF 0 vlan: left at 30 qos 1, changed by somebody else"),
        "{text}"
    );
    assert_eq!(fake.state.borrow().vfs[0].vlan, 30);
    assert!(!fake.state.borrow().vfs[0].trust);
}

#[test]
fn a_failure_takes_back_what_was_done() {
    // Each change fails once, whichever it is.
    let all = Fake::new();
    assert_eq!(run(&all, &wanted()).code(), 0);
    let changes = all.log.borrow().clone();
    for change in changes.iter().filter(|c| !c.starts_with("modprobe")) {
        let fake = Fake::new();
        let before = bare(&fake);
        fake.fail.borrow_mut().push((change.clone(), 1));
        let outcome = run(&fake, &wanted());
        assert!(
            matches!(outcome, Outcome::RolledBack(_)),
            "{change}: {outcome}"
        );
        assert_eq!(outcome.code(), 1);
        assert_eq!(bare(&fake), before, "{change}");
        assert_eq!(run(&fake, &wanted()).code(), 0, "the next run does it");
    }
}

#[test]
fn a_failure_with_vfs_that_were_there() {
    let all = Fake::new();
    all.write("/x/sriov_numvfs", "2").unwrap();
    let from = all.log.borrow().len();
    assert_eq!(run(&all, &wanted()).code(), 0);
    let changes = all.log.borrow().clone();
    for change in changes
        .iter()
        .skip(from)
        .filter(|c| !c.starts_with("modprobe"))
    {
        let fake = Fake::new();
        fake.write("/x/sriov_numvfs", "2").unwrap();
        let before = bare(&fake);
        fake.fail.borrow_mut().push((change.clone(), 1));
        let outcome = run(&fake, &wanted());
        assert!(
            matches!(outcome, Outcome::RolledBack(_)),
            "{change}: {outcome}"
        );
        let mut after = bare(&fake);
        for vf in &mut after.vfs {
            vf.bound_migratable = false;
        }
        assert_eq!(after, before, "{change}");
    }
}

#[test]
fn what_cannot_be_put_back_is_told_and_stays_in_the_record() {
    let fake = Fake::new();
    fake.write("/x/sriov_numvfs", "2").unwrap();
    // The rate is refused, and so is the way back of the VLAN.
    fake.fail.borrow_mut().push(("max_tx_rate 1000".into(), 1));
    fake.fail.borrow_mut().push(("vlan 0".into(), 1));
    let outcome = run(&fake, &wanted());
    assert_eq!(outcome.code(), 3);
    let text = outcome.to_string();
    assert!(text.contains("VF 0 max_tx_rate to 1000"), "{text}");
    assert!(text.contains("VF 0 vlan was none"), "{text}");
    assert_eq!(fake.state.borrow().vfs[0].vlan, 5);
    assert_eq!(release(&fake, &place(), false).unwrap().code(), 0);
    assert_eq!(fake.state.borrow().vfs[0].vlan, 0);
}

#[test]
fn all_reasons_before_the_first_change() {
    let fake = Fake::new();
    {
        let mut state = fake.state.borrow_mut();
        state.iommu = false;
        state.state_format = false;
    }
    let toml = "vfs = 2\n[[vf]]\nnumber = 0\nmac = '02:82:59:00:01:00'";
    let Outcome::Refused(why) = run(&fake, &Wanted::parse(toml).unwrap()) else {
        panic!("accepted");
    };
    let all = why.join("\n");
    for part in [
        "cannot move VFs",
        "the IOMMU is off",
        "the PF has 02:82:59:00:01:00",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(fake.log.borrow().is_empty(), "nothing was changed");

    // Another number of VFs than there are would take VFs away from VMs.
    let fake = Fake::new();
    fake.write("/x/sriov_numvfs", "4").unwrap();
    let text = run(&fake, &wanted()).to_string();
    assert!(
        text.contains("there are 4 VFs already and 2 are wanted"),
        "{text}"
    );
    // A VF that the host does not have.
    let one = Wanted::parse("[[vf]]\nnumber = 5").unwrap();
    assert!(run(&fake, &one).to_string().contains("no VF 5"));
    // No module.
    let two = Wanted::parse("[[vf]]\nnumber = 0").unwrap();
    fake.fail.borrow_mut().push(("modprobe".into(), 1));
    assert!(run(&fake, &two)
        .to_string()
        .contains("make modules_install"));
}

#[test]
fn a_vf_in_use_is_left_alone() {
    let fake = Fake::new();
    assert_eq!(run(&fake, &wanted()).code(), 0);
    fake.state.borrow_mut().user = Some("qemu-system-x86".into());
    // Nothing differs: fine.
    assert_eq!(run(&fake, &wanted()), Outcome::Done(vec![]));
    // What a VM does not notice may be changed.
    let mut other = wanted();
    other.vf[0].max_tx_rate = Some(500);
    assert_eq!(run(&fake, &other).code(), 0);
    other.vf[0].vlan = Some(9);
    other.vf[0].driver = "none".into();
    let text = run(&fake, &other).to_string();
    let want = "VF 0 is in use by qemu-system-x86 (77): VF 0 vlan, VF 0 driver cannot be changed";
    assert!(text.contains(want), "{text}");
    let outcome = release(&fake, &place(), false).unwrap();
    assert_eq!(outcome.code(), 1);
    assert!(outcome.to_string().contains("end it first"), "{outcome}");
}

#[test]
fn a_driver_that_was_bound_too_early_is_bound_again() {
    for driver in ["keep", VFIO_DRIVER] {
        let fake = Fake::new();
        fake.write("/x/sriov_numvfs", "1").unwrap();
        {
            let mut state = fake.state.borrow_mut();
            state.modules.push(VFIO_DRIVER.into());
            state.vfs[0].driver = Some(VFIO_DRIVER.into());
            state.vfs[0].only = Some(VFIO_DRIVER.into());
            state.vfs[0].migratable = true;
        }
        let toml = format!("[[vf]]\nnumber = 0\ndriver = '{driver}'");
        let wanted = Wanted::parse(&toml).unwrap();
        let text = run(&fake, &wanted).to_string();
        assert!(
            text.contains("VF 0 driver: ixgbe_vfio_pci, bound again"),
            "{text}"
        );
        assert!(fake.state.borrow().vfs[0].bound_migratable);
        assert_eq!(run(&fake, &wanted), Outcome::Done(vec![]));
    }
}

#[test]
fn a_record_of_nonsense_changes_nothing() {
    let fake = Fake::new();
    let path = "/run/ixgbe-migrate/0000:01:00.0.json";
    for text in [
        "",
        "{}",
        "{\"version\":9,\"pf\":\"0000:01:00.0\",\"changes\":[]}",
    ] {
        fake.store(path, text).unwrap();
        assert!(prepare(&fake, &place(), &wanted()).is_err(), "{text}");
        assert!(release(&fake, &place(), false).is_err(), "{text}");
    }
    let changed = fake.log.borrow().iter().any(|c| !c.starts_with("modprobe"));
    assert!(!changed);
}
