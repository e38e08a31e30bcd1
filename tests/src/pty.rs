// SPDX-License-Identifier: Apache-2.0
//! A terminal with a person before it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::ttyname;

use crate::host::wait_until;

/// A pseudo-terminal. All that is shown on it is kept.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    device: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// A terminal of this size.
    #[must_use]
    pub fn new(rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (screen, keep) = (File::from(master.try_clone().unwrap()), Arc::clone(&shown));
        // It ends with EIO, when the last user of the device has gone.
        std::thread::spawn(move || watch(screen, &keep));
        Self { keyboard: master.into(), device: slave.into(), shown }
    }

    /// The device, for the stdin, stdout and stderr of a process.
    #[must_use]
    pub fn device(&self) -> &File {
        &self.device
    }

    /// Its modes.
    #[must_use]
    pub fn modes(&self) -> Termios {
        tcgetattr(self.device.as_fd()).unwrap()
    }

    /// Types.
    pub fn type_in(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// All that has been shown so far.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until these words have been shown.
    #[track_caller]
    pub fn wait_for(&self, words: &str) {
        wait_until(words, || self.shown().contains(words));
    }

    /// Changes its size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let name: PathBuf = ttyname(self.device.as_fd()).unwrap();
        let size = ["rows".into(), rows.to_string(), "cols".into(), columns.to_string()];
        assert!(Command::new("stty").arg("-F").arg(name).args(size).status().unwrap().success());
    }
}

fn watch(mut screen: File, shown: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = screen.read(&mut piece) {
        shown.lock().unwrap().extend_from_slice(&piece[..length]);
    }
}
