/*
 * meter FILE COMMAND [ARGUMENT...]: runs the command, writes what it took to FILE, and ends as the command did.
 * With processes that it waited for: peak resident set of the largest in KiB, processor time in us, page faults.
 *
 * meter --trace FILE COMMAND [ARGUMENT...]: counts, in the command and all its descendants, system calls, new
 * processes and executed programs (the first is not counted). Threads are no processes.
 *
 * A program of its own because of execve(2): a child's peak starts at the size of whatever called vfork, and this
 * is smaller than anything it measures (the benchmark itself is not).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int ended(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 124;
}

static int weigh(const char *name, char **command)
{
    struct rusage usage;
    int status;

    pid_t pid = vfork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* the benchmark's deadline kills this process only */
        execv(*command, command);
        _exit(126);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        return 125;
    const long seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
    const long cpu = seconds * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    FILE *file = fopen(name, "we");
    if (!file || fprintf(file, "peak %ld\ncpu %ld\nfaults %ld\n", usage.ru_maxrss, cpu, usage.ru_minflt) < 0 ||
        fclose(file) != 0)
        return 125;
    return ended(status);
}

/* Whether a task is the first of its process. */
static bool is_process(unsigned long task)
{
    char name[64], line[128];
    unsigned long process = 0;

    snprintf(name, sizeof name, "/proc/%lu/status", task);
    FILE *file = fopen(name, "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "Tgid: %lu", &process) != 1)
        ;
    if (file)
        fclose(file);
    return process == task;
}

struct counts {
    long calls, forks, execs;
};

/* What a stop says; gives the signal to go on with. */
static int take(pid_t task, int status, struct counts *counts)
{
    const int signal = WSTOPSIG(status), event = status >> 16;
    struct __ptrace_syscall_info info;
    unsigned long child;

    if (signal == (SIGTRAP | 0x80)) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, task, sizeof info, &info) > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY)
            counts->calls++;
        return 0;
    }
    if (event == PTRACE_EVENT_EXEC)
        counts->execs++;
    else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE)
        if (ptrace(PTRACE_GETEVENTMSG, task, 0, &child) == 0 && (event != PTRACE_EVENT_CLONE || is_process(child)))
            counts->forks++;
    return event ? 0 : signal;
}

static int trace(const char *name, char **command)
{
    const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                         PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    struct counts counts = { 0, 0, -1 };
    int code = 125, status;

    pid_t first = fork();
    if (first == 0) {
        raise(SIGSTOP);
        execv(*command, command);
        _exit(126);
    }
    if (first < 0 || waitpid(first, &status, WUNTRACED) != first || ptrace(PTRACE_SEIZE, first, 0, options) != 0)
        return 125;
    kill(first, SIGCONT);
    for (pid_t task; (task = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR;) {
        if (task > 0 && WIFSTOPPED(status))
            ptrace(PTRACE_SYSCALL, task, 0, take(task, status, &counts));
        else if (task == first)
            code = ended(status);
    }
    FILE *file = fopen(name, "we");
    if (!file || fprintf(file, "calls %ld\nforks %ld\nexecs %ld\n", counts.calls, counts.forks, counts.execs) < 0 ||
        fclose(file) != 0)
        return 125;
    return code;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "--trace") == 0)
        return trace(argv[2], argv + 3);
    return argc > 2 ? weigh(argv[1], argv + 2) : 125;
}
