// SPDX-License-Identifier: GPL-2.0
//! Modules of a cage: what the log says of them, and when they are looked at. What is done with
//! them is in [`libixgbe::cage`].

use crate::{
    ixgbe_common::Hw,
    Adapter,
    EVENT_CONFIGURE,
    EVENT_LINK,
    EVENT_MODULE,
    EVENT_SIGNAL, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    pci,
    prelude::*, //
};
use libixgbe::{
    cage::{
        self,
        Cage,
        News, //
    },
    sfp::{
        self,
        Refusal, //
    }, //
};
use nic::net;

/// Says what was found.
fn tell(dev: &Device, cage: &Cage, news: News) {
    match news {
        News::None => {}
        News::Gone => dev_info!(dev, "SFP+ module was removed\n"),
        News::Detected(module) => {
            if module.untested {
                dev_warn!(
                    dev,
                    "WARNING: Intel (R) Network Connections are quality tested using Intel (R) Ethernet Optics.  Using untested modules is not supported and may cause unstable operation or damage to the module or the adapter.  Intel Corporation is not responsible for any harm caused by using untested modules.\n"
                );
            }
            let number = module.kind.number(cage.port.second);
            dev_info!(dev, "detected SFP+: {}\n", number);
        }
        News::Refused(refusal) => {
            let why = match refusal {
                Refusal::Identifier(_) => "it is no SFP",
                Refusal::Type => "the 82599 cannot drive its type",
                Refusal::Vendor(_) => {
                    "it is not Intel's; load the driver with allow_unsupported_sfp=1 to use it"
                }
                Refusal::NotInList => "the EEPROM has no settings for its type",
            };
            dev_err!(
                dev,
                "an unsupported SFP+ module was detected, which gets no link: {} ({:02x?})\n",
                why,
                refusal
            );
        }
        News::Failed(e) => dev_err!(dev, "SFP+ module could not be set up: {:?}\n", e),
    }
}

/// Looks into the cage before the first reset.
pub(crate) fn probe(pdev: &pci::Device<Bound>, hw: &Hw, cage: &mut Cage) {
    if sfp::is_preproduction(hw) {
        dev_warn!(
            pdev,
            "This device is a pre-production adapter/LOM. Please be aware there may be issues associated with your hardware.\n"
        );
    }
    // As AUTOC is before the first reset: 0.
    let news = cage.look(hw, 0, 0);
    tell(pdev.as_ref(), cage, news);
    // Dark until the interface is opened.
    cage::darken(hw);
}

/// Looks into the cage if it is time to, and configures the link if a module was set up or a signal
/// came. Returns the milliseconds after which it has more to do.
///
/// It never takes long, a fraction of a second where there is no module: VFs and their moves need
/// the service task too.
pub(crate) fn service(dev: &net::Device<Adapter>, events: u32) -> Option<u32> {
    let a = dev.data();
    if !a.board.has_cage() {
        return None;
    }
    // Outermost, so that nobody resets the device under it; interrupts serve VFs meanwhile.
    let cage = &mut *a.cage.lock();
    let (up, link_up, orig, advertised, now) = {
        let state = a.state.lock();
        let now = state.born.elapsed().as_millis();
        (
            state.sw.up,
            state.link.up,
            state.mac.orig_autoc.unwrap_or(0),
            state.advertised,
            u64::try_from(now).unwrap_or(0),
        )
    };
    if !up {
        return None;
    }
    if events & EVENT_MODULE != 0 {
        cage.changed();
    }
    if events & EVENT_CONFIGURE != 0 {
        cage.restart();
    }
    let mut configure = events & EVENT_CONFIGURE != 0 || events & EVENT_SIGNAL != 0 && !link_up;
    if cage.due(now, link_up) {
        let news = cage.look(&a.hw, orig, now);
        a.state.lock().cage = *cage;
        tell(dev.parent(), cage, news);
        configure |= matches!(news, News::Detected(_));
        if matches!(news, News::Refused(_) | News::Gone) {
            Adapter::raise(dev, EVENT_LINK);
        }
    }
    let result = if configure {
        cage.configure(&a.hw, orig, advertised)
    } else {
        cage.proceed(&a.hw, orig)
    };
    if let Err(e) = result {
        dev_err!(dev.parent(), "setup link failed: {:?}\n", e);
    }
    cage.waits()
}
