// SPDX-License-Identifier: Apache-2.0
//! The few eBPF instructions that a device program is made of, in the layout of the kernel's
//! `struct bpf_insn` on a little-endian machine.

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Register {
    /// The program's result.
    R0 = 0,
    /// At the start, the address of the context.
    R1 = 1,
    R2 = 2,
    R3 = 3,
    R4 = 4,
    R5 = 5,
}

/// `BPF_LDX | BPF_MEM | BPF_W`: `to = *(u32 *)(from + offset)`.
pub(super) fn load(to: Register, from: Register, offset: i16) -> u64 {
    instruction(0x61, to, from, offset, 0)
}

/// `BPF_ALU64 | BPF_MOV | BPF_X`: `to = from`.
pub(super) fn copy(to: Register, from: Register) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

/// `BPF_ALU64 | BPF_MOV | BPF_K`: `to = value`.
pub(super) fn set(to: Register, value: i32) -> u64 {
    instruction(0xb7, to, Register::R0, 0, value)
}

/// `BPF_ALU | BPF_AND | BPF_K`: `to &= mask`, 32 bits.
pub(super) fn and(to: Register, mask: i32) -> u64 {
    instruction(0x54, to, Register::R0, 0, mask)
}

/// `BPF_ALU | BPF_RSH | BPF_K`: `to >>= bits`, 32 bits.
pub(super) fn shift_right(to: Register, bits: i32) -> u64 {
    instruction(0x74, to, Register::R0, 0, bits)
}

/// `BPF_JMP | BPF_JNE | BPF_K`: skips the next `skipped` instructions unless `left` is `value`.
pub(super) fn skip_unless_equal(left: Register, value: i32, skipped: i16) -> u64 {
    instruction(0x55, left, Register::R0, skipped, value)
}

/// `BPF_JMP | BPF_JEQ | BPF_K`: skips the next `skipped` instructions if `left` is `value`.
pub(super) fn skip_if_equal(left: Register, value: i32, skipped: i16) -> u64 {
    instruction(0x15, left, Register::R0, skipped, value)
}

/// `BPF_JMP | BPF_EXIT`
pub(super) fn exit() -> u64 {
    instruction(0x95, Register::R0, Register::R0, 0, 0)
}

fn instruction(code: u8, to: Register, from: Register, offset: i16, value: i32) -> u64 {
    let registers = (from as u8) << 4 | to as u8;
    let [o0, o1] = offset.to_le_bytes();
    let [v0, v1, v2, v3] = value.to_le_bytes();
    u64::from_le_bytes([code, registers, o0, o1, v0, v1, v2, v3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_kernel_has_them() {
        assert_eq!(
            load(Register::R4, Register::R1, 8).to_le_bytes(),
            [0x61, 0x14, 8, 0, 0, 0, 0, 0]
        );
        assert_eq!(set(Register::R0, -1).to_le_bytes(), [0xb7, 0, 0, 0, 255, 255, 255, 255]);
        let jump = skip_unless_equal(Register::R5, 0x0102_0304, -2);
        assert_eq!(jump.to_le_bytes(), [0x55, 5, 0xfe, 0xff, 4, 3, 2, 1]);
        assert_eq!(exit().to_le_bytes(), [0x95, 0, 0, 0, 0, 0, 0, 0]);
    }
}
