/*
 * The floor: asks the kernel for what the default bundle of `runc spec` asks for, or one of the benchmark's other
 * bundles, in the cheapest way known, and for nothing else. It reads no config.json, checks nothing and keeps no state but a pid: what it takes is
 * what no runtime can go below. It obeys the command line of a runtime, so the benchmark treats it as one:
 *
 *     floor --version
 *     floor --root DIR run    --bundle DIR ID COMMAND...
 *     floor --root DIR create --bundle DIR [--pid-file FILE] ID COMMAND...
 *     floor --root DIR start | state | delete [--force] ID
 *     floor --root DIR exec ID COMMAND...
 *
 * The differences are COMMAND in run and create, and flags for what is not in the default config, as the config is
 * not read. The bundle has its `rootfs` with /proc, /dev and /sys; the cgroup is PARENT/ID (--parent), whose parent
 * the benchmark makes in every hierarchy.
 *
 * A container is DIR/ID, a symbolic link to its pid, and DIR/ID.fifo, on which a created container waits.
 *
 *     floor                                        the container (the only child)
 *       clone3(NEWPID | INTO_CGROUP | PIDFD)
 *       [id maps           MAPPED --------------->]
 *       device program (v1: cgroups)               unshare the other namespaces
 *                          GO -------------------> [v1: join by "0" to tasks]  mounts, pivot_root, masks
 *                             <------------------- READY, if created: then wait for the fifo
 *       wait for the pidfd, rmdir                  execve
 *
 * This file has the command line and the verbs, floor_cgroup.c the cgroups, floor_init.c the container's process and
 * floor_root.c its root file system.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct arguments arg;

int must(int value, const char *what)
{
    if (value < 0) {
        dprintf(2, "floor: %s: %s: %s\n", arg.verb, what, strerror(errno));
        _exit(125);
    }
    return value;
}

const char *path(const char *format, ...)
{
    static char buffer[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(buffer, sizeof buffer, format, list);
    va_end(list);
    return buffer;
}

void put(const char *file, const char *text)
{
    int fd = must(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), file);
    must(write(fd, text, strlen(text)), file);
    close(fd);
}

static pid_t clone_into(int cgroup, unsigned long long flags, int *pidfd)
{
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = cgroup >= 0 ? cgroup : 0,
    };
    return must(syscall(SYS_clone3, &args, sizeof args), "clone3");
}

static int exit_code(int pidfd)
{
    siginfo_t info;
    must(waitid(P_PIDFD, pidfd, &info, WEXITED), "waitid");
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

/* Makes the container; leaves its pidfd and the socket to it. */
static pid_t launch(int fifo, int *pidfd, int *child)
{
    int pair[2], cgroup;

    find_cgroups();
    make_v2();
    cgroup = open_v2();
    must(chdir(arg.bundle), arg.bundle);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    if (arg.memory)
        limit_memory();
    pid_t pid = clone_into(cgroup, CLONE_NEWPID | (arg.userns ? CLONE_NEWUSER : 0), pidfd);
    if (pid == 0)
        contain(pair[1], fifo);
    close(pair[1]);
    if (arg.userns) {
        put(path("/proc/%d/uid_map", pid), "0 100000 65536");
        put(path("/proc/%d/gid_map", pid), "0 100000 65536");
        must(write(pair[0], "M", 1), "mapped");
    }
    if (layout.v1_count)
        make_v1();
    else
        attach_device_program(cgroup);
    must(write(pair[0], "G", 1), "go");
    *child = pair[0];
    return pid;
}

static int run(void)
{
    int pidfd, child;
    launch(-1, &pidfd, &child);
    int code = exit_code(pidfd);
    remove_cgroups();
    return code;
}

static int create(void)
{
    int pidfd, child;
    char pid[16];

    must(mkfifo(path("%s/%s.fifo", arg.root, arg.id), 0600), "mkfifo");
    /* Both ends, so that opening blocks nobody. */
    int fifo = must(open(path("%s/%s.fifo", arg.root, arg.id), O_RDWR | O_CLOEXEC), "fifo");
    snprintf(pid, sizeof pid, "%d", launch(fifo, &pidfd, &child));
    must(symlink(pid, path("%s/%s", arg.root, arg.id)), "state");
    if (arg.pid_file)
        put(arg.pid_file, pid);
    await_byte(child, "container");
    return 0;
}

static int start(void)
{
    int fifo = must(open(path("%s/%s.fifo", arg.root, arg.id), O_WRONLY | O_CLOEXEC), "fifo");
    must(write(fifo, "S", 1), "start");
    return 0;
}

static pid_t recorded_pid(void)
{
    char pid[16];
    pid[must(readlink(path("%s/%s", arg.root, arg.id), pid, sizeof pid - 1), "no such container")] = 0;
    return atoi(pid);
}

static int state(void)
{
    pid_t pid = recorded_pid();
    struct pollfd pidfd = { .fd = must(pidfd_open(pid, 0), "pidfd_open"), .events = POLLIN };
    bool ended = must(poll(&pidfd, 1, 0), "poll");
    return dprintf(1, "{\"id\":\"%s\",\"pid\":%d,\"status\":\"%s\"}\n", arg.id, pid, ended ? "stopped" : "running") < 0;
}

static int delete(void)
{
    if (arg.force) {
        struct pollfd pidfd = { .fd = must(pidfd_open(recorded_pid(), 0), "pidfd_open"), .events = POLLIN };
        must(pidfd_send_signal(pidfd.fd, SIGKILL, NULL, 0), "kill");
        must(poll(&pidfd, 1, -1), "poll");
    }
    find_cgroups();
    remove_cgroups();
    must(unlink(path("%s/%s.fifo", arg.root, arg.id)), "fifo");
    must(unlink(path("%s/%s", arg.root, arg.id)), "state");
    return 0;
}

static int exec(void)
{
    int tasks[V1_MOST], pidfd;

    find_cgroups();
    int cgroup = open_v2();
    open_v1(tasks); /* while the host's mounts are still seen */
    int target = must(pidfd_open(recorded_pid(), 0), "pidfd_open");
    must(setns(target, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID), "setns");
    if (clone_into(cgroup, 0, &pidfd) == 0) {
        join_v1(tasks);
        /* Not before: from inside, nobody is moved in from outside (nsdelegate). */
        if (!layout.v1_count)
            must(setns(target, CLONE_NEWCGROUP), "cgroup namespace");
        must(setsid(), "setsid");
        drop_credentials();
        execute();
    }
    return exit_code(pidfd);
}

static int version(void)
{
    return puts("floor version 1") < 0;
}

static void parse(char **argv)
{
    for (char **word = argv + 1; *word && !arg.id; word++) {
        if (strcmp(*word, "--root") == 0 && word[1])
            arg.root = *++word;
        else if (strcmp(*word, "--bundle") == 0 && word[1])
            arg.bundle = *++word;
        else if (strcmp(*word, "--pid-file") == 0 && word[1])
            arg.pid_file = *++word;
        else if (strcmp(*word, "--parent") == 0 && word[1])
            arg.parent = *++word;
        else if (strcmp(*word, "--memory") == 0 && word[1])
            arg.memory = *++word;
        else if (strcmp(*word, "--masks") == 0 && word[1])
            arg.masks = atoi(*++word);
        else if (strcmp(*word, "--binds") == 0 && word[1])
            arg.binds = atoi(*++word);
        else if (strcmp(*word, "--values") == 0 && word[1])
            arg.values = atoi(*++word);
        else if (strcmp(*word, "--docker") == 0)
            arg.docker = true;
        else if (strcmp(*word, "--userns") == 0)
            arg.userns = true;
        else if (strcmp(*word, "--force") == 0)
            arg.force = true;
        else if (!arg.verb)
            arg.verb = *word;
        else {
            arg.id = *word;
            arg.command = word + 1;
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*act)(void);
    } verbs[] = { { "--version", version }, { "run", run },     { "create", create }, { "start", start },
                  { "state", state },       { "delete", delete }, { "exec", exec } };
    (void)argc;
    parse(argv);
    for (size_t i = 0; arg.verb && i < LENGTH(verbs); i++)
        if (strcmp(arg.verb, verbs[i].name) == 0)
            return verbs[i].act();
    dprintf(2, "usage: floor --root DIR --parent CGROUP run|create|start|state|delete|exec [OPTION...] ID [COMMAND...]\n");
    return 125;
}
