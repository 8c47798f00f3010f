/* Loaded before the C library (LD_PRELOAD). The kernel's function that makes random bytes within a process is not found,
   so that getrandom is asked, of which each call is logged; and while the file `fails` is there, it fails. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *path(char *room, const char *name)
{
    snprintf(room, PATH_MAX, "%s/%s", getenv("NO_RANDOM"), name);
    return room;
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
    char room[PATH_MAX];
    int log = open(path(room, "log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (log >= 0) {
        dprintf(log, "%d %zu\n", (int)getpid(), length);
        close(log);
    }
    if (access(path(room, "fails"), F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_getrandom, buffer, length, flags);
}

void *dlopen(const char *name, int flags)
{
    static void *(*real)(const char *, int);
    if (name && strcmp(name, "linux-vdso.so.1") == 0)
        return NULL;
    if (!real)
        real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return real(name, flags);
}
