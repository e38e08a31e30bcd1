# SPDX-License-Identifier: Apache-2.0
"""Compiles seccomp profiles with the C library, for tests to compare with.

Reads one OCI `linux.seccomp` object per line and answers with one line each: the program as
hexadecimal 64-bit words, `error` and what the library said, or `broken` and what it died of.
Rules are handed to the library as runc hands them over. Exit status 77: the library is not here.
"""
import ctypes
import ctypes.util
import json
import os
import platform
import signal
import sys

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
ARCHES = {
    "SCMP_ARCH_NATIVE": 0,
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
}
OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
EEXIST = 17
CTL_OPTIMIZE = 8
# Pseudo-numbers of the library: -1 is a name that it does not know.
UNKNOWN = -1


class Condition(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


class Refused(Exception):
    pass


def load():
    name = ctypes.util.find_library("seccomp") or "libseccomp.so.2"
    try:
        lib = ctypes.CDLL(name)
    except OSError as e:
        print(e, file=sys.stderr)
        sys.exit(77)
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = [ctypes.c_uint32]
    lib.seccomp_release.argtypes = [ctypes.c_void_p]
    lib.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    lib.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    lib.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Condition)]
    lib.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return lib


def action(name, errno):
    value = ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        value |= 1 if errno is None else errno
    return value


def conditions(args):
    """The argument lists to add: all in one, or one each where an index comes twice."""
    built = [
        Condition(a["index"], OPERATORS.index(a["op"].removeprefix("SCMP_CMP_")) + 1,
                  a["value"], a.get("valueTwo") or 0)
        for a in args
    ]
    indexes = [c.arg for c in built]
    if len(set(indexes)) == len(indexes):
        return [built]
    return [[c] for c in built]


def add_rules(lib, ctx, profile, default):
    for rule in profile.get("syscalls") or []:
        act = action(rule["action"], rule.get("errnoRet"))
        if act == default:
            continue
        for name in rule["names"]:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number == UNKNOWN:
                continue
            for conds in conditions(rule.get("args") or []):
                array = (Condition * len(conds))(*conds)
                rc = lib.seccomp_rule_add_array(ctx, act, number, len(conds), array)
                if rc != 0:
                    raise Refused(f"{name}: {os.strerror(-rc)}")


def compile_profile(lib, profile, out):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    ctx = lib.seccomp_init(default)
    for arch in profile.get("architectures") or []:
        rc = lib.seccomp_arch_add(ctx, ARCHES[arch])
        if rc not in (0, -EEXIST):
            raise Refused(f"{arch}: {os.strerror(-rc)}")
    add_rules(lib, ctx, profile, default)
    # Sorted search, as runc asks for: without it the library forgets to load the number where the
    # first rule is of a call that the architecture does not have.
    if lib.seccomp_attr_set(ctx, CTL_OPTIMIZE, 2) != 0:
        raise Refused("no sorted search")
    if lib.seccomp_export_bpf(ctx, out) != 0:
        raise Refused("export failed")


def answer(lib, profile):
    """Compiles in a child: for some profiles the library dies or never ends."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(1)
        try:
            compile_profile(lib, profile, write)
            os._exit(0)
        except Refused as e:
            os.write(write, str(e).encode())
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        raw = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return f"broken {signal.Signals(os.WTERMSIG(status)).name}"
    if status != 0:
        return f"error {raw.decode()}"
    return " ".join(raw[i:i + 8][::-1].hex() for i in range(0, len(raw), 8))


def main():
    if platform.machine() != "x86_64":
        print("the samples are of x86-64", file=sys.stderr)
        sys.exit(77)
    lib = load()
    for line in sys.stdin:
        print(answer(lib, json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
