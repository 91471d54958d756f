// SPDX-License-Identifier: GPL-2.0
//! What the host sets for a VF, what a guest asks for, and what becomes of both: the PF's code
//! against the model.
//!
//! Kinds, more than cases: what the host set is in force until the host changes it; what a guest
//! asked for ends with the guest and with its right; after a refusal PF and VF agree; who reads
//! changes nothing for others; nobody disturbs his neighbour.

mod bench;
mod buffers;
mod guest;
mod host;
mod link;
mod moves;
mod random;
