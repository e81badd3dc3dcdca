/* What the floor's files share: the command line, the cgroup layout, and who calls whom. See floor.c. */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))
#define V1_MOST 16

/* The command line. The second half says how the config differs from the default, as the floor does not read it. */
struct arguments {
    const char *root, *bundle, *pid_file, *parent, *verb, *id;
    char **command;
    bool force;

    const char *memory;       /* limit in bytes */
    bool docker;              /* what Docker makes of `docker run` */
    bool userns;              /* a new one: 0 is 100000 on the host, 65536 ids */
    int masks, binds, values; /* masked paths, half of them directories; bind mounts; values of 128 bytes in env */
};
extern struct arguments arg;

/* The cgroup hierarchies of this machine. */
struct layout {
    const char *v2;    /* where cgroup2 is mounted, or NULL */
    char *v1[V1_MOST]; /* names of the v1 hierarchies below /sys/fs/cgroup */
    int v1_count;
};
extern struct layout layout;

/* floor.c */
int must(int value, const char *what); /* ends with the reason if a call failed; gives its value otherwise */
const char *path(const char *format, ...) __attribute__((format(printf, 1, 2))); /* valid until the next call */
void put(const char *file, const char *text);

/* floor_cgroup.c */
void find_cgroups(void);
void make_v2(void);
int open_v2(void); /* -1 if there is none */
void make_v1(void);
const char *v1_file(const char *hierarchy, const char *file);
void open_v1(int tasks[V1_MOST]);
void join_v1(const int tasks[V1_MOST]);
void attach_device_program(int cgroup);
void limit_memory(void);
void remove_cgroups(void);

/* floor_init.c: the process; floor_root.c: its root file system */
_Noreturn void contain(int parent, int fifo);
void await_byte(int fd, const char *whose);
void drop_credentials(void);
_Noreturn void execute(void);
void make_root(void);
void mask_paths(void);

#endif
