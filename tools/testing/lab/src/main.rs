// SPDX-License-Identifier: GPL-2.0
//! `cargo lab`, see [`lab::cli`].

fn main() {
    std::process::exit(lab::cli::main());
}
