// SPDX-License-Identifier: GPL-2.0
//! A dirty bitmap is valid during the callback that has it.
//! misuse: E0521

use vfio::log::Bitmap;

pub fn keep(_: &mut Bitmap<'static>) {}

pub fn f(dirty: &mut Bitmap<'_>) {
    dirty.set(0, 4095);
    #[cfg(misuse)]
    keep(dirty);
}
