// SPDX-License-Identifier: GPL-2.0
//! The terminal that the lab was started from: its size, and its raw mode, which is undone however the lab ends.

use anyhow::Result;
use lab_agent::Pty;
use nix::sys::termios::{self, SetArg, Termios};
use parking_lot::Mutex;

static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal back as it was, where [`RawMode`] had changed it.
pub(crate) fn restore() {
    if let Some(t) = SAVED.lock().take() {
        // Nothing can be done about a terminal that is gone.
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &t);
    }
}

/// Every key goes to the program, until this is dropped.
pub(crate) struct RawMode;

impl RawMode {
    pub(crate) fn enter() -> Result<Self> {
        let old = termios::tcgetattr(std::io::stdin())?;
        let mut raw = old.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw)?;
        *SAVED.lock() = Some(old);
        Ok(Self)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Its size; 24 lines of 80 characters where there is none.
pub(crate) fn size() -> Pty {
    let (rows, cols) = console::Term::stdout().size_checked().unwrap_or((24, 80));
    Pty { rows, cols }
}
