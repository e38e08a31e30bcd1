// SPDX-License-Identifier: Apache-2.0
//! Runs a program as the kernel does, with the kernel's checks.

/// `struct seccomp_data`, without the instruction pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) number: u32,
    pub(super) audit: u32,
    pub(super) args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 => {
                let arg = self.args[(offset as usize - 16) / 8];
                u32::try_from(if offset.is_multiple_of(8) { arg & 0xffff_ffff } else { arg >> 32 })
                    .unwrap()
            }
            _ => panic!("load of offset {offset}"),
        }
    }
}

struct Instruction {
    code: u16,
    jt: usize,
    jf: usize,
    k: u32,
}

fn decode(word: u64) -> Instruction {
    let [c0, c1, jt, jf, k @ ..] = word.to_le_bytes();
    Instruction {
        code: u16::from_le_bytes([c0, c1]),
        jt: jt.into(),
        jf: jf.into(),
        k: u32::from_le_bytes(k),
    }
}

/// Panics where seccomp(2) would refuse the program.
pub(super) fn check(filter: &[u64]) {
    assert!((1..=4096).contains(&filter.len()), "{} instructions", filter.len());
    for (at, word) in filter.iter().enumerate() {
        let one = decode(*word);
        let furthest = match one.code {
            0x20 => {
                assert!(one.k.is_multiple_of(4) && one.k < 64, "load of offset {}", one.k);
                at + 1
            }
            0x54 => at + 1,
            0x05 => at + 1 + one.k as usize,
            0x15 | 0x25 | 0x35 | 0x45 => at + 1 + one.jt.max(one.jf),
            0x06 => at,
            code => panic!("instruction {code:#x} at {at}"),
        };
        assert!(furthest < filter.len(), "instruction {at} leaves the program");
    }
}

/// The action for a call, and how many instructions it took to find it.
pub(super) fn run(filter: &[u64], data: &Data) -> (u32, usize) {
    let (mut at, mut a, mut steps) = (0, 0, 0);
    loop {
        let one = decode(filter[at]);
        steps += 1;
        at += 1;
        let holds = match one.code {
            0x20 => {
                a = data.word(one.k);
                continue;
            }
            0x54 => {
                a &= one.k;
                continue;
            }
            0x05 => {
                at += one.k as usize;
                continue;
            }
            0x15 => a == one.k,
            0x25 => a > one.k,
            0x35 => a >= one.k,
            0x45 => a & one.k != 0,
            0x06 => return (one.k, steps),
            code => panic!("instruction {code:#x}"),
        };
        at += if holds { one.jt } else { one.jf };
    }
}
