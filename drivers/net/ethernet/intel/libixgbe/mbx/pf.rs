// SPDX-License-Identifier: GPL-2.0
//! The PF's end of the mailbox: ownership and the event registers (`ixgbe_mbx.c`).
