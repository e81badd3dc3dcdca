/* The floor's cgroups, v1 and v2, and the device program. Runs in the floor, but for joining v1. */
#define _GNU_SOURCE
#include "floor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"

struct layout layout;

static bool is_cgroup2(const char *dir)
{
    struct statfs at;
    must(statfs(dir, &at), dir);
    return at.f_type == CGROUP2_SUPER_MAGIC;
}

void find_cgroups(void)
{
    if (is_cgroup2(CGROUPS)) {
        layout.v2 = CGROUPS;
        return;
    }
    DIR *dir = opendir(CGROUPS);
    must(dir ? 0 : -1, CGROUPS);
    for (struct dirent *entry; (entry = readdir(dir)) && layout.v1_count < V1_MOST;) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') /* cpu -> cpu,cpuacct is a link */
            continue;
        if (strcmp(entry->d_name, "unified") != 0)
            layout.v1[layout.v1_count++] = strdup(entry->d_name);
        else if (is_cgroup2(CGROUPS "/unified")) /* the directory stays when it is unmounted */
            layout.v2 = CGROUPS "/unified";
    }
    closedir(dir);
}

const char *v1_file(const char *hierarchy, const char *file)
{
    return path(CGROUPS "/%s/%s/%s/%s", hierarchy, arg.parent, arg.id, file);
}

/* What config.json's one rule (deny all) and the spec's default devices make together, in the words of v1. */
static void write_v1_devices(const char *hierarchy)
{
    static const char *const allowed[] = {
        "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
        "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
    };
    put(v1_file(hierarchy, "devices.deny"), "a");
    int fd = must(open(v1_file(hierarchy, "devices.allow"), O_WRONLY | O_CLOEXEC), "devices.allow");
    for (size_t i = 0; i < LENGTH(allowed); i++)
        must(write(fd, allowed[i], strlen(allowed[i])), allowed[i]);
    close(fd);
}

/* A new cpuset is empty, and nothing can join it: it takes what its parent has. */
static void write_v1_cpuset(const char *hierarchy, const char *file)
{
    char value[256];
    int fd = must(open(path(CGROUPS "/%s/%s/%s", hierarchy, arg.parent, file), O_RDONLY | O_CLOEXEC), file);
    value[must(read(fd, value, sizeof value - 1), file)] = 0;
    close(fd);
    put(v1_file(hierarchy, file), value);
}

void make_v1(void)
{
    for (int i = 0; i < layout.v1_count; i++) {
        const char *name = layout.v1[i];
        must(mkdir(v1_file(name, ""), 0755), name);
        if (strcmp(name, "cpuset") == 0) {
            write_v1_cpuset(name, "cpuset.cpus");
            write_v1_cpuset(name, "cpuset.mems");
        } else if (strcmp(name, "devices") == 0) {
            write_v1_devices(name);
        } else if (strcmp(name, "memory") == 0 && arg.memory) {
            put(v1_file(name, "memory.limit_in_bytes"), arg.memory);
        }
    }
}

/* Version 2; what version 1 has is written with its cgroups. */
void limit_memory(void)
{
    if (!layout.v1_count)
        put(path("%s/%s/%s/memory.max", layout.v2, arg.parent, arg.id), arg.memory);
}

void open_v1(int tasks[V1_MOST])
{
    for (int i = 0; i < layout.v1_count; i++)
        tasks[i] = must(open(v1_file(layout.v1[i], "tasks"), O_WRONLY | O_CLOEXEC), "tasks");
}

/* A single-threaded process that writes "0" to `tasks` does not take cgroup_threadgroup_rwsem, whose writers
 * sleep through an RCU grace period; a pid, or cgroup.procs, costs 4 to 15 ms. */
void join_v1(const int tasks[V1_MOST])
{
    for (int i = 0; i < layout.v1_count; i++)
        must(write(tasks[i], "0", 1), layout.v1[i]);
}

static const char *v2_dir(void)
{
    return path("%s/%s/%s", layout.v2, arg.parent, arg.id);
}

void make_v2(void)
{
    if (layout.v2)
        must(mkdir(v2_dir(), 0755), "v2 cgroup");
}

int open_v2(void)
{
    return layout.v2 ? must(open(v2_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC), "v2 cgroup") : -1;
}

static void rmdir_cgroup(const char *dir)
{
    /* EBUSY: the last task is dead but not yet off the list. */
    for (int i = 0; rmdir(dir) < 0; i++) {
        must(errno == EBUSY && i < 1000000 ? 0 : -1, dir);
        sched_yield();
    }
}

void remove_cgroups(void)
{
    if (layout.v2)
        rmdir_cgroup(v2_dir());
    for (int i = 0; i < layout.v1_count; i++)
        rmdir_cgroup(v1_file(layout.v1[i], ""));
}

#define INSN(op, dst, src, jump, value) \
    ((struct bpf_insn){ .code = (op), .dst_reg = (dst), .src_reg = (src), .off = (jump), .imm = (value) })
#define LOAD(dst, field) INSN(BPF_LDX | BPF_MEM | BPF_W, dst, 1, offsetof(struct bpf_cgroup_dev_ctx, field), 0)
#define SET(dst, value) INSN(BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, value)
#define IF(op, dst, value, jump) INSN(BPF_JMP | (op) | BPF_K, dst, 0, jump, value)

/* One branch for each major, the minors as bits: half of the verifier's time for a branch per rule. */
static const struct bpf_insn device_program[] = {
    /*  0 */ LOAD(2, access_type), /* access << 16 | type */
    /*  1 */ LOAD(3, major),
    /*  2 */ LOAD(4, minor),
    /*  3 */ SET(0, 1),
    /*  4 */ INSN(BPF_ALU | BPF_MOV | BPF_X, 5, 2, 0, 0),
    /*  5 */ INSN(BPF_ALU | BPF_RSH | BPF_K, 5, 0, 0, 16),
    /*  6 */ IF(BPF_JEQ, 5, BPF_DEVCG_ACC_MKNOD, 10), /* *:* m -> exit */
    /*  7 */ INSN(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff),
    /*  8 */ IF(BPF_JNE, 2, BPF_DEVCG_DEV_CHAR, 9), /* -> deny */
    /*  9 */ IF(BPF_JEQ, 3, 136, 7),                /* /dev/pts -> exit */
    /* 10 */ SET(0, 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9),
    /* 11 */ IF(BPF_JEQ, 3, 1, 2), /* null, zero, full, random, urandom -> 14 */
    /* 12 */ SET(0, 1 << 0 | 1 << 1 | 1 << 2),
    /* 13 */ IF(BPF_JNE, 3, 5, 4),  /* tty, console, ptmx; else deny */
    /* 14 */ IF(BPF_JGT, 4, 31, 3), /* -> deny */
    /* 15 */ INSN(BPF_ALU | BPF_RSH | BPF_X, 0, 4, 0, 0),
    /* 16 */ INSN(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0, 1),
    /* 17 */ INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    /* 18 */ SET(0, 0),
    /* 19 */ INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
};

void attach_device_program(int cgroup)
{
    union bpf_attr load = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insn_cnt = LENGTH(device_program),
        .insns = (uintptr_t)device_program,
        .license = (uintptr_t) "",
    };
    int program = must(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load), "device program");
    union bpf_attr attach = {
        .target_fd = cgroup,
        .attach_bpf_fd = program,
        .attach_type = BPF_CGROUP_DEVICE,
        .attach_flags = BPF_F_ALLOW_MULTI,
    };
    must(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach), "attach device program");
    close(program);
}
