/* The floor's root file system: mounts, devices, masked and read-only paths. Runs in the container's process. */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
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
        if (!arg.userns) {
            must(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].name);
        } else { /* no user namespace but the first may make device nodes */
            close(must(open(nodes[i].name, O_CREAT | O_CLOEXEC, 0666), nodes[i].name));
            must(mount(path("/%s", nodes[i].name), nodes[i].name, NULL, MS_BIND, NULL), nodes[i].name);
        }
    for (size_t i = 0; i < LENGTH(links); i++)
        must(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void read_only(const char *target, unsigned flags)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
    must(mount_setattr(AT_FDCWD, target, flags, &attr, sizeof attr), target);
}

/* The files that Docker brings, and the benchmark's own bind mounts. */
static void bind_sources(void)
{
    static const char *const files[][2] = { { "../resolv.conf", "etc/resolv.conf" },
                                            { "../hostname", "etc/hostname" },
                                            { "../hosts", "etc/hosts" } };
    for (size_t i = 0; arg.docker && i < LENGTH(files); i++) {
        must(mount(files[i][0], files[i][1], NULL, MS_BIND | MS_REC, NULL), files[i][1]);
        must(mount(NULL, files[i][1], NULL, MS_REC | MS_PRIVATE, NULL), files[i][1]);
    }
    for (int i = 0; i < arg.binds; i++)
        must(mount("../source", path("bind/%d", i), NULL, MS_BIND, NULL), "bind mount");
}

static void write_sysctls(void)
{
    put("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    put("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}

void make_root(void)
{
    umask(0);
    must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "rslave");
    must(mount("rootfs", "rootfs", NULL, MS_BIND | MS_REC, NULL), "bind of rootfs");
    if (!arg.docker)
        read_only("rootfs", 0);
    must(chdir("rootfs"), "rootfs");
    for (size_t i = 0; i < LENGTH(mounts); i++) {
        const bool proc = i == 0;
        const unsigned long flags = proc && arg.docker ? MS_NOSUID | MS_NOEXEC | MS_NODEV : mounts[i].flags;
        if (strncmp(mounts[i].target, "dev/", 4) == 0)
            must(mkdir(mounts[i].target, 0755), mounts[i].target);
        must(mount(mounts[i].source, mounts[i].target, mounts[i].type, flags, mounts[i].data), mounts[i].target);
    }
    mount_cgroups();
    bind_sources();
    make_devices();
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root"); /* the old root is now on top of the new */
    must(umount2(".", MNT_DETACH), "umount of the old root");
    must(chdir("/"), "/");
    if (arg.docker)
        write_sysctls();
}

/* A path that is not there needs no mask. All directories share one empty file system, as superblocks are dear. */
static void mask(const char *target, bool directory)
{
    static char empty[64];

    if (!directory) {
        if (mount("/dev/null", target, NULL, MS_BIND, NULL) < 0)
            must(errno == ENOENT ? 0 : -1, target);
    } else if (mount(*empty ? empty : "tmpfs", target, "tmpfs", *empty ? MS_BIND : MS_RDONLY, NULL) < 0) {
        must(errno == ENOENT ? 0 : -1, target);
    } else if (!*empty) {
        snprintf(empty, sizeof empty, "%s", target);
    }
}

void mask_paths(void)
{
    static const char *const files[] = { "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                         "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug" };
    static const char *const dirs[] = { "/proc/acpi", "/proc/asound", "/sys/firmware", "/proc/scsi" };
    static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

    for (size_t i = 0; i < LENGTH(files); i++)
        mask(files[i], false);
    for (size_t i = 0; i < LENGTH(dirs); i++)
        mask(dirs[i], true);
    if (arg.docker) {
        mask("/proc/interrupts", false);
        mask("/sys/devices/virtual/powercap", true);
    }
    for (int i = 0; i < arg.masks; i++)
        mask(path(i % 2 ? "/masked/directory%d" : "/masked/file%d", i), i % 2);
    for (size_t i = 0; i < LENGTH(readonly); i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0)
            must(errno == ENOENT ? 0 : -1, readonly[i]);
        else
            read_only(readonly[i], 0);
    }
}
