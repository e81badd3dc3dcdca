/*
 * meter FILE COMMAND [ARGUMENT...]: runs the command, writes its peak resident set in KiB to FILE, and ends as
 * the command did. A program of its own because of execve(2): a child's peak starts at the size of whatever
 * called vfork, and this is smaller than anything it measures (the benchmark itself is not).
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage usage;
    int status;

    if (argc < 3)
        return 125;
    pid_t pid = vfork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* the benchmark's deadline kills this process only */
        execv(argv[2], argv + 2);
        _exit(126);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        return 125;
    FILE *file = fopen(argv[1], "we");
    if (!file || fprintf(file, "%ld\n", usage.ru_maxrss) < 0 || fclose(file) != 0)
        return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 124;
}
