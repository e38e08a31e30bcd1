// SPDX-License-Identifier: Apache-2.0
//! HOME for an environment without one, from the container's own /etc/passwd.
//!
//! This runs after the process has become its user and lost its privileges, in the container's root: who
//! wrote that file gains nothing by what is in it.

use std::ffi::CString;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use outrigger_protocol::identity::Id;

use super::root::file_type;

/// How much of the file is looked at.
const MOST: usize = 1024 * 1024;

/// The variable, `HOME=/` where the file does not know the user.
pub(super) fn variable(uid: Id) -> CString {
    let directory =
        passwd().and_then(|text| directory(&text, uid)).unwrap_or_else(|| b"/".to_vec());
    CString::new([b"HOME=".as_slice(), &directory].concat())
        .unwrap_or_else(|_| c"HOME=/".to_owned())
}

fn passwd() -> Option<Vec<u8>> {
    // A named pipe must not make us wait.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = open("/etc/passwd", flags, Mode::empty()).ok()?;
    if file_type(&fstat(&file).ok()?) != SFlag::S_IFREG {
        return None;
    }
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while text.len() < MOST {
        match nix::unistd::read(&file, &mut piece).ok()? {
            0 => break,
            length => text.extend_from_slice(piece.get(..length)?),
        }
    }
    Some(text)
}

/// The sixth field of the first line whose third is the user id, passwd(5).
fn directory(text: &[u8], uid: Id) -> Option<Vec<u8>> {
    let uid = uid.get().to_string();
    let fields = |line: &'_ [u8]| {
        let mut fields = line.split(|b| *b == b':');
        let is_user = fields.nth(2) == Some(uid.as_bytes());
        let home = fields.nth(2).filter(|home| home.first() == Some(&b'/'));
        home.filter(|_| is_user).map(<[u8]>::to_vec)
    };
    text.split(|b| *b == b'\n').find_map(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(text: &str, uid: u32) -> Option<String> {
        let home = directory(text.as_bytes(), Id::new(uid)?)?;
        String::from_utf8(home).ok()
    }

    #[test]
    fn home_is_that_of_the_first_line_of_the_user() {
        let text = "root:x:0:0:root:/root:/bin/sh\nme:x:10:10::/home/me:\nalso:x:10:10::/other:\n";
        assert_eq!(home(text, 0).as_deref(), Some("/root"));
        assert_eq!(home(text, 10).as_deref(), Some("/home/me"));
        assert_eq!(home(text, 1), None);
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let text = ":::::\n\nx:x:7\nx:x:7:7::relative:\nx:x:07:7::/octal:\nx:x:7:7::/seven:/bin/sh";
        assert_eq!(home(text, 7).as_deref(), Some("/seven"));
    }
}
