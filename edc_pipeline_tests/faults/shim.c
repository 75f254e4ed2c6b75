/* A disk that misbehaves, put between a process and the C library with LD_PRELOAD: what SQLite,
 * Arrow, HDF5, Polars and Python itself ask of the file system passes here.
 *
 * The rules stand in a file that is mapped into memory (FAULTS_RULES names it), so that a test can
 * change them while the process runs; its layout is that of `shim.py`. A call is looked at when its
 * path holds a rule's text and its kind is among the rule's calls. A rule skips so many calls, then
 * strikes so many, each with a probability drawn from the rule's own seed, and counts both.
 *
 * Nothing here allocates or locks: it runs in whatever thread makes the call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, RENAME = 8, CREATE = 16, UNLINK = 32, READ = 64,
       CLOSE = 128, MKDIR = 256 };
enum { REFUSE = 1, SHORT = 2, DELAY = 3 };
#define RULES 16

typedef struct {
    uint32_t active;
    uint32_t calls; /* a set of the kinds above */
    uint32_t kind;
    int32_t error; /* errno of a refusal */
    uint32_t delay_ms;
    uint32_t after;       /* so many calls pass first */
    uint32_t times;       /* then so many are struck; 0: all */
    uint32_t probability; /* of 2^32 - 1; */
    uint64_t state;       /* of the random numbers; the test sets the seed */
    uint64_t seen;
    uint64_t struck;
    char path[64]; /* a part of the path; empty: every file */
} rule;

static rule *rules;

__attribute__((constructor)) static void map_rules(void) {
    const char *name = getenv("FAULTS_RULES");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, RULES * sizeof(rule), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) rules = found;
}

/* splitmix64: any number of threads may draw. */
static uint32_t draw(rule *r) {
    uint64_t z = __atomic_add_fetch(&r->state, 0x9E3779B97F4A7C15ull, __ATOMIC_RELAXED);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static int strikes(rule *r) {
    uint64_t seen = __atomic_add_fetch(&r->seen, 1, __ATOMIC_RELAXED);
    if (seen <= r->after || draw(r) > r->probability) return 0;
    uint64_t struck = __atomic_add_fetch(&r->struck, 1, __ATOMIC_RELAXED);
    if (!r->times || struck <= r->times) return 1;
    __atomic_sub_fetch(&r->struck, 1, __ATOMIC_RELAXED);
    return 0;
}

/* What befalls a call of this kind on this path: a delay is over when it returns. */
static rule *fate(uint32_t call, const char *path) {
    if (!rules || !path || path[0] != '/') return NULL;
    for (rule *r = rules; r < rules + RULES; r++) {
        if (!__atomic_load_n(&r->active, __ATOMIC_ACQUIRE) || !(r->calls & call)) continue;
        if (r->path[0] && !strstr(path, r->path)) continue;
        if (!strikes(r)) continue;
        if (r->kind != DELAY) return r;
        struct timespec pause = {r->delay_ms / 1000, (long)(r->delay_ms % 1000) * 1000000};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static int any_active(uint32_t call) {
    if (!rules) return 0;
    for (rule *r = rules; r < rules + RULES; r++)
        if (__atomic_load_n(&r->active, __ATOMIC_ACQUIRE) && (r->calls & call)) return 1;
    return 0;
}

static rule *fate_of(uint32_t call, int descriptor) {
    char link[40], path[1024];
    int before = errno;
    if (!any_active(call)) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return NULL;
    path[length] = 0;
    return fate(call, path);
}

static rule *fate_at(uint32_t call, int folder, const char *name) {
    char whole[2048], link[40];
    if (!any_active(call)) return NULL;
    if (name[0] == '/') return fate(call, name);
    if (folder == AT_FDCWD) {
        if (!getcwd(whole, 1024)) return NULL;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, 1023);
        if (length <= 0) return NULL;
        whole[length] = 0;
    }
    size_t at = strlen(whole);
    snprintf(whole + at, sizeof whole - at, "/%s", name);
    return fate(call, whole);
}

/* The C library's own, looked up once a name. */
#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OR_REFUSED(found, failed) \
    if (found && found->kind == REFUSE) return errno = found->error, failed

/* A short write is half of what was asked, and 1 byte at least: whoever goes on gets there. */
static size_t shortened(rule *found, size_t size) {
    return found && found->kind == SHORT && size > 1 ? size / 2 : size;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    rule *found = fate_of(WRITE, fd);
    OR_REFUSED(found, -1);
    return real(fd, data, shortened(found, size));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    rule *found = fate_of(WRITE, fd);
    OR_REFUSED(found, -1);
    return real(fd, data, shortened(found, size), at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    rule *found = fate_of(WRITE, fd);
    OR_REFUSED(found, -1);
    return real(fd, data, shortened(found, size), at);
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
    REAL(writev);
    rule *found = fate_of(WRITE, fd);
    OR_REFUSED(found, -1);
    if (found && found->kind == SHORT && number > 0)
        return write(fd, parts[0].iov_base, shortened(found, parts[0].iov_len));
    return real(fd, parts, number);
}

#define READING(name, arguments, ...) \
    ssize_t name arguments { \
        REAL(name); \
        rule *found = fate_of(READ, fd); \
        OR_REFUSED(found, -1); \
        return real(__VA_ARGS__); \
    }
READING(read, (int fd, void *data, size_t size), fd, data, shortened(found, size))
READING(pread, (int fd, void *data, size_t size, off_t at), fd, data, shortened(found, size), at)
READING(pread64, (int fd, void *data, size_t size, off64_t at), fd, data, shortened(found, size),
        at)

/* A struck sync reaches no disk; a struck close has closed, as Linux does. */
#define SYNCING(name, kind, ...) \
    int name(int fd __VA_OPT__(, off_t size)) { \
        REAL(name); \
        rule *found = fate_of(kind, fd); \
        OR_REFUSED(found, -1); \
        return real(fd __VA_OPT__(, size)); \
    }
SYNCING(fsync, SYNC)
SYNCING(fdatasync, SYNC)
SYNCING(ftruncate, TRUNCATE, size)
SYNCING(ftruncate64, TRUNCATE, size)

int close(int fd) {
    REAL(close);
    rule *found = fate_of(CLOSE, fd);
    int done = real(fd);
    OR_REFUSED(found, -1);
    return done;
}

int truncate(const char *path, off_t size) {
    REAL(truncate);
    rule *found = fate_at(TRUNCATE, AT_FDCWD, path);
    OR_REFUSED(found, -1);
    return real(path, size);
}

int truncate64(const char *path, off64_t size) {
    REAL(truncate64);
    rule *found = fate_at(TRUNCATE, AT_FDCWD, path);
    OR_REFUSED(found, -1);
    return real(path, size);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    rule *found = fate_at(RENAME, AT_FDCWD, to);
    OR_REFUSED(found, -1);
    return real(from, to);
}

int renameat(int there, const char *from, int here, const char *to) {
    REAL(renameat);
    rule *found = fate_at(RENAME, here, to);
    OR_REFUSED(found, -1);
    return real(there, from, here, to);
}

int unlink(const char *path) {
    REAL(unlink);
    rule *found = fate_at(UNLINK, AT_FDCWD, path);
    OR_REFUSED(found, -1);
    return real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    rule *found = fate_at(UNLINK, folder, path);
    OR_REFUSED(found, -1);
    return real(folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    rule *found = fate_at(MKDIR, AT_FDCWD, path);
    OR_REFUSED(found, -1);
    return real(path, mode);
}

#define OPENING(name, before, folder, ...) \
    int name(before const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if (flags & O_CREAT) { \
            rule *found = fate_at(CREATE, folder, path); \
            OR_REFUSED(found, -1); \
        } \
        return real(__VA_ARGS__ path, flags, mode); \
    }
#define COMMA ,
OPENING(open, , AT_FDCWD, )
OPENING(open64, , AT_FDCWD, )
OPENING(openat, int folder COMMA, folder, folder COMMA)
OPENING(openat64, int folder COMMA, folder, folder COMMA)
