// SPDX-License-Identifier: GPL-2.0
//! `ixgbe-migrate`, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ixgbe_migrate::cli::main()
}
