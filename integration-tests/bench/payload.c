/*
 * What the benchmark's containers run. Called `true` it ends at once; called `pause` it waits until it is
 * killed. Static, so that a root file system is one file.
 */
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "/pause") == 0)
        for (;;)
            pause();
    return 0;
}
