// SPDX-License-Identifier: GPL-2.0
//! What the 82599 does to a frame, as pure functions over byte slices.
