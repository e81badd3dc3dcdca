/* The floor's container: namespaces, root file system, credentials. Runs in the container's process. */
#define _GNU_SOURCE
#include "floor.h"
#include "floor_filter.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t kept_capabilities(void)
{
    const uint32_t kept = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
    return !arg.docker ? kept :
           kept | 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FSETID | 1u << CAP_FOWNER | 1u << CAP_MKNOD |
           1u << CAP_NET_RAW | 1u << CAP_SETGID | 1u << CAP_SETUID | 1u << CAP_SETFCAP | 1u << CAP_SETPCAP |
           1u << CAP_SYS_CHROOT;
}

static void load_filter(void)
{
    const struct sock_fprog program = { LENGTH(docker_filter), (struct sock_filter *)docker_filter };
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "filter");
}

void drop_credentials(void)
{
    const uint32_t kept = kept_capabilities();
    const gid_t group = 0;
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct caps[2] = { { .effective = kept, .permitted = kept } };

    must(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, arg.id), "keyring");
    if (!arg.docker)
        must(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1024, 1024 }), "rlimit");
    for (int cap = 0; cap < 64; cap++)
        if ((cap > 31 || !(kept & 1u << cap)) && prctl(PR_CAPBSET_DROP, cap) < 0)
            break; /* past the last that this kernel knows */
    must(syscall(SYS_setgroups, arg.docker, &group), "setgroups");
    if (arg.docker)
        load_filter(); /* with the capability that spares no_new_privs */
    must(syscall(SYS_capset, &header, caps), "capset");
    if (!arg.docker)
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    umask(022);
}

/* PATH, TERM, and what the benchmark adds: NUMBER=xxx..., 128 bytes each. */
static char **environment(void)
{
    char **list = calloc(arg.values + 3, sizeof *list), *text = malloc(arg.values * 129 + 1);
    list[0] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    list[1] = "TERM=xterm";
    for (int i = 0; i < arg.values; i++, text += 129) {
        memset(text, 'x', 128);
        memcpy(text, path("V%04d=", i), 6);
        text[128] = 0;
        list[i + 2] = text;
    }
    return list;
}

_Noreturn void execute(void)
{
    must(close_range(3, ~0u, 0), "close_range");
    execve(arg.command[0], arg.command, environment());
    must(-1, arg.command[0]);
    abort();
}

void await_byte(int fd, const char *whose)
{
    char byte;
    must(read(fd, &byte, 1) == 1 ? 0 : -1, whose);
}

static void join_new_v1(int parent)
{
    int tasks[V1_MOST];
    await_byte(parent, "cgroups");
    open_v1(tasks);
    join_v1(tasks);
}

/* Version 1 cgroups take nobody who is not the host's root: they are joined before the change of ids. */
static void become_mapped_root(int parent)
{
    await_byte(parent, "id maps");
    if (layout.v1_count)
        join_new_v1(parent);
    must(setresgid(0, 0, 0), "gid");
    must(setresuid(0, 0, 0), "uid");
}

/* The container's process; `fifo` is -1 when it is not to wait for start. */
_Noreturn void contain(int parent, int fifo)
{
    must(setsid(), "setsid");
    if (arg.docker)
        put("/proc/self/oom_score_adj", "0");
    if (arg.userns)
        become_mapped_root(parent);
    must(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (layout.v1_count ? 0 : CLONE_NEWCGROUP)),
         "unshare");
    if (layout.v1_count && !arg.userns)
        join_new_v1(parent);
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
