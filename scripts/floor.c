// SPDX-License-Identifier: Apache-2.0
// The floor of the benchmark: the system calls that a container with the default config costs at the very
// least, and nothing else. Cgroups named in CGROUPS (directories, separated by colons) are made, joined and removed.
// usage: floor ROOTFS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long ret, const char *what)
{
    if (ret < 0) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        _exit(1);
    }
}

static void fresh(const char *type, const char *where, unsigned long flags, const char *options)
{
    must(mount(type, where, type, flags, options), where);
}

static void furnish(const char *root)
{
    static const struct { const char *name; int major, minor; } devices[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
        {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
    };
    static const char *readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    static const char *files[] = {"proc/kcore", "proc/keys", "proc/timer_list"};
    static const char *folders[] = {"proc/acpi", "proc/scsi", "sys/firmware"};
    const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;

    must(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0), "private");
    must(mount(root, root, 0, MS_BIND | MS_REC, 0), root);
    must(chdir(root), root);
    fresh("proc", "proc", 0, 0);
    fresh("tmpfs", "dev", MS_NOSUID, "mode=755,size=65536k");
    mkdir("dev/pts", 0755), mkdir("dev/shm", 0755), mkdir("dev/mqueue", 0755);
    fresh("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    fresh("tmpfs", "dev/shm", quiet, "mode=1777,size=65536k");
    fresh("mqueue", "dev/mqueue", quiet, 0);
    fresh("sysfs", "sys", quiet | MS_RDONLY, 0);
    for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++)
        must(mknod(devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)), devices[i].name);
    must(symlink("/proc/self/fd", "dev/fd"), "dev/fd");
    must(symlink("pts/ptmx", "dev/ptmx"), "dev/ptmx");
    // Some of these do not exist on every host.
    for (unsigned i = 0; i < sizeof readonly / sizeof *readonly; i++)
        if (mount(readonly[i], readonly[i], 0, MS_BIND | MS_REC, 0) == 0)
            mount(0, readonly[i], 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0);
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        mount("/dev/null", files[i], 0, MS_BIND, 0);
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++)
        mount("tmpfs", folders[i], "tmpfs", MS_RDONLY, 0);
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
    must(chdir("/"), "/");
    must(mount(0, "/", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0), "read-only root");
    must(sethostname("floor", 5), "sethostname");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

int main(int argc, char **argv)
{
    char *groups = getenv("CGROUPS"), *list[32], path[512];
    int count = 0, status, flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
    if (argc != 2)
        return 1;
    for (char *word = groups ? strtok(groups, ":") : 0; word && count < 32; word = strtok(0, ":")) {
        snprintf(path, sizeof path, "%s/floor%d", word, getpid());
        must(mkdir(path, 0755), path);
        list[count++] = word;
    }
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    must(pid, "clone");
    if (pid == 0) {
        char *arguments[] = {"/bin/true", 0};
        furnish(argv[1]);
        execve(arguments[0], arguments, 0);
        _exit(127);
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/floor%d/cgroup.procs", list[i], getpid());
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            // A cpuset without processors takes nobody; the system calls are spent all the same.
            if (dprintf(fd, "%ld", pid) < 0 && errno != ENOSPC)
                must(-1, path);
            close(fd);
        }
    }
    must(waitpid(pid, &status, 0), "wait");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/floor%d", list[i], getpid());
        must(rmdir(path), path);
    }
    return WEXITSTATUS(status);
}
