/* The floor's container: namespaces, root file system, credentials. Runs in the container's process. */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const struct {
    const char *source, *target, *type;
    unsigned long flags;
    const char *data;
} mounts[] = {
    { "proc", "proc", "proc", 0, NULL },
    { "tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k" },
    { "devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5" },
    { "shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k" },
    { "mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL },
    { "sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL },
};

static void mount_cgroups(void)
{
    const unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME;

    if (!layout.v1_count) {
        must(mount("cgroup", "sys/fs/cgroup", "cgroup2", flags | MS_RDONLY, NULL), "cgroup2");
        return;
    }
    must(mount("tmpfs", "sys/fs/cgroup", "tmpfs", flags, "mode=755"), "tmpfs for cgroups");
    for (int i = 0; i < layout.v1_count; i++) {
        char target[256];
        snprintf(target, sizeof target, "sys/fs/cgroup/%s", layout.v1[i]);
        must(mkdir(target, 0755), target);
        must(mount(v1_file(layout.v1[i], ""), target, NULL, MS_BIND, NULL), target);
    }
    const uint64_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;
    struct mount_attr attr = { .attr_set = attributes };
    must(mount_setattr(AT_FDCWD, "sys/fs/cgroup", AT_RECURSIVE, &attr, sizeof attr), "read-only cgroups");
}

static void make_devices(void)
{
    static const struct {
        const char *name;
        unsigned major, minor;
    } nodes[] = { { "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
                  { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };
    static const char *const links[][2] = {
        { "/proc/self/fd", "dev/fd" },         { "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" },
        { "/proc/self/fd/2", "dev/stderr" }, { "/proc/kcore", "dev/core" },      { "pts/ptmx", "dev/ptmx" },
    };
    for (size_t i = 0; i < LENGTH(nodes); i++)
        must(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].name);
    for (size_t i = 0; i < LENGTH(links); i++)
        must(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void make_root(void)
{
    umask(0);
    must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "rslave");
    must(mount("rootfs", "rootfs", NULL, MS_BIND | MS_REC, NULL), "bind of rootfs");
    must(mount(NULL, "rootfs", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), "read-only rootfs");
    must(chdir("rootfs"), "rootfs");
    for (size_t i = 0; i < LENGTH(mounts); i++) {
        if (strncmp(mounts[i].target, "dev/", 4) == 0)
            must(mkdir(mounts[i].target, 0755), mounts[i].target);
        must(mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].data),
             mounts[i].target);
    }
    mount_cgroups();
    make_devices();
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root"); /* the old root is now on top of the new */
    must(umount2(".", MNT_DETACH), "umount of the old root");
    must(chdir("/"), "/");
}

static void mask_paths(void)
{
    static const char *const files[] = { "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                         "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug" };
    static const char *const dirs[] = { "/proc/acpi", "/proc/asound", "/sys/firmware", "/proc/scsi" };
    static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
    const char *empty = NULL; /* one superblock for all directories */

    for (size_t i = 0; i < LENGTH(files); i++)
        if (mount("/dev/null", files[i], NULL, MS_BIND, NULL) < 0)
            must(errno == ENOENT ? 0 : -1, files[i]);
    for (size_t i = 0; i < LENGTH(dirs); i++) {
        if (mount(empty ? empty : "tmpfs", dirs[i], "tmpfs", empty ? MS_BIND : MS_RDONLY, NULL) < 0)
            must(errno == ENOENT ? 0 : -1, dirs[i]);
        else if (!empty)
            empty = dirs[i];
    }
    for (size_t i = 0; i < LENGTH(readonly); i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0)
            must(errno == ENOENT ? 0 : -1, readonly[i]);
        else
            must(mount(NULL, readonly[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), readonly[i]);
    }
}

void drop_credentials(void)
{
    const uint32_t kept = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct caps[2] = { { .effective = kept, .permitted = kept } };

    must(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, arg.id), "keyring");
    must(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1024, 1024 }), "rlimit");
    for (int cap = 0; cap < 64; cap++)
        if ((cap > 31 || !(kept & 1u << cap)) && prctl(PR_CAPBSET_DROP, cap) < 0)
            break; /* past the last that this kernel knows */
    must(syscall(SYS_setgroups, 0, NULL), "setgroups");
    must(syscall(SYS_capset, &header, caps), "capset");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    umask(022);
}

_Noreturn void execute(void)
{
    static char *const environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                         "TERM=xterm", NULL };
    must(close_range(3, ~0u, 0), "close_range");
    execve(arg.command[0], arg.command, environment);
    must(-1, arg.command[0]);
    abort();
}

void await_byte(int fd, const char *whose)
{
    char byte;
    must(read(fd, &byte, 1) == 1 ? 0 : -1, whose);
}

/* The container's process; `fifo` is -1 when it is not to wait for start. */
_Noreturn void contain(int parent, int fifo)
{
    must(setsid(), "setsid");
    must(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (layout.v1_count ? 0 : CLONE_NEWCGROUP)),
         "unshare");
    if (layout.v1_count) {
        int tasks[V1_MOST];
        await_byte(parent, "cgroups");
        open_v1(tasks);
        join_v1(tasks);
    }
    make_root();
    mask_paths();
    must(sethostname("runc", 4), "hostname");
    if (!layout.v1_count)
        await_byte(parent, "device program");
    drop_credentials();
    if (fifo >= 0) {
        must(write(parent, "R", 1), "ready");
        await_byte(fifo, "start");
    }
    execute();
}
