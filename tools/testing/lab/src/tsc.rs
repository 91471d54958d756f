// SPDX-License-Identifier: GPL-2.0
//! The rate of an emulated processor's time stamp counter, which its kernel is told.
//!
//! Left alone, Linux times the counter against the HPET while it boots. Where the machine is short of time
//! that comes out wrong now and then: 2 of 46 boots took a counter of 2596 MHz for one of 372 and of
//! 905 MHz. The refined calibration a second later is thrown away where it differs by more than 1 %
//! (`tsc_refine_calibration_work()` in `arch/x86/kernel/tsc.c`), so all clocks of such a machine ran seven and three times
//! too fast, and every limit in seconds with them.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use quanta::Clock;

/// The counter of `-icount shift=0`: an instruction a nanosecond.
pub const COUNTED_KHZ: u64 = 1_000_000;

/// The rate of this machine's counter in kHz, which TCG hands to its machines; `None` where it cannot be told.
///
/// It takes up to 300 ms once.
pub fn host_khz() -> Option<u64> {
    static KHZ: OnceLock<Option<u64>> = OnceLock::new();
    *KHZ.get_or_init(|| {
        let clock = Clock::new();
        let first = clock.raw();
        thread::sleep(Duration::from_millis(50));
        let last = clock.raw();
        khz(last.checked_sub(first)?, clock.delta_as_nanos(first, last))
    })
}

/// The rate of a counter that counted `ticks` in `nanos`.
///
/// A clock that has no counter below it counts nanoseconds, which is no rate of a counter.
fn khz(ticks: u64, nanos: u64) -> Option<u64> {
    if ticks == nanos {
        return None;
    }
    u64::try_from(
        u128::from(ticks)
            .checked_mul(1_000_000)?
            .checked_div(nanos.into())?,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_counter_are_a_rate() {
        assert_eq!(khz(129_806_600, 50_000_000), Some(2_596_132));
        assert_eq!(khz(50_000_000, 50_000_000), None, "nanoseconds");
        assert_eq!(khz(1, 0), None);
    }

    /// Linux knows it too, where the frequency of the processor never changes.
    #[test]
    fn this_machines_rate_is_one_that_a_processor_has() {
        if let Some(khz) = host_khz() {
            assert!((500_000..10_000_000).contains(&khz), "{khz} kHz");
        }
    }
}
