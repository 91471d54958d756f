// SPDX-License-Identifier: GPL-2.0
//! A limit on what a VF may cause.

/// What a VF did and has not made up for yet, by one each millisecond. It has to wait while that is
/// more than `MOST`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance<const MOST: u32> {
    owed: u32,
}

impl<const MOST: u32> Allowance<MOST> {
    /// Nothing was done.
    pub const fn new() -> Self {
        Self { owed: 0 }
    }

    /// Takes the room for what is worth `cost`, `elapsed_ms` after the last time that there was
    /// room.
    ///
    /// # Errors
    /// The milliseconds after which there is room.
    pub fn take(&mut self, elapsed_ms: u64, cost: u32) -> Result<(), u32> {
        let elapsed = u32::try_from(elapsed_ms).unwrap_or(u32::MAX);
        let owed = self.owed.saturating_sub(elapsed);
        match owed.checked_sub(MOST) {
            Some(wait @ 1..) => Err(wait),
            _ => {
                self.owed = owed.saturating_add(cost);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One address moves as often as it likes; a list is announced once, and waits for the next
    /// time.
    #[test]
    fn a_flood_is_held_up_and_a_move_is_not() {
        let mut one = Allowance::<1000>::new();
        assert!((0..10_000).all(|_| one.take(5, 2).is_ok()));
        let mut list = Allowance::<1000>::new();
        assert_eq!(list.take(u64::MAX, 2145), Ok(()));
        assert_eq!(list.take(0, 2145), Err(1145));
        assert_eq!(list.take(1144, 2145), Err(1));
        assert_eq!(list.take(1145, 2145), Ok(()));
        let rounds = (0..10_000).filter(|_| list.take(1, u32::MAX).is_ok());
        assert_eq!(rounds.count(), 0);
    }
}
