/* Lets the n-th write below a folder fail as on a full disk, and all after it: LD_PRELOAD.
 *
 * FULL_DISK names a file of two 64-bit integers, which the test maps too: the writes so far, and
 * the first one that fails (0: none). FULL_DISK_BELOW is the folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile int64_t *state;
static const char *below;

__attribute__((constructor)) static void begin(void) {
  const char *name = getenv("FULL_DISK");
  below = getenv("FULL_DISK_BELOW");
  int file = name ? open(name, O_RDWR) : -1;
  if (file < 0 || !below) return;
  void *mapped = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) state = mapped;
  close(file);
}

static int full(const char *path) {
  if (!state || strncmp(path, below, strlen(below))) return 0;
  int64_t number = __sync_add_and_fetch(&state[0], 1);
  if (!state[1] || number < state[1]) return 0;
  if (getenv("FULL_DISK_LOG")) dprintf(2, "full: %s\n", path);
  errno = ENOSPC;
  return 1;
}

static int full_file(int file) {
  char link[32], path[PATH_MAX + 1];
  if (!state) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, PATH_MAX);
  if (length < 0) return 0;
  path[length] = 0;
  return full(path);
}

static int full_new(int folder, const char *path) {
  char link[32], whole[2 * PATH_MAX + 2];
  if (!state) return 0;
  if (path[0] == '/') return full(path);
  if (folder == AT_FDCWD) {
    if (!getcwd(whole, PATH_MAX)) return 0;
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX);
    if (length < 0) return 0;
    whole[length] = 0;
  }
  strcat(whole, "/");
  strncat(whole, path, PATH_MAX);
  return full(whole);
}

#define NEXT(name) \
  static __typeof__(name) *next; \
  if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* A file that exists can be opened, and cut to nothing, on a full disk; a new one cannot. */
#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    NEXT(name); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if ((flags & O_CREAT) && access(path, F_OK) && full_new(AT_FDCWD, path)) return -1; \
    return next(path, flags, mode); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    NEXT(name); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if ((flags & O_CREAT) && faccessat(folder, path, F_OK, 0) && full_new(folder, path)) return -1; \
    return next(folder, path, flags, mode); }
OPENAT(openat)
OPENAT(openat64)
#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    NEXT(name); \
    if (mode[0] != 'r' && access(path, F_OK) && full_new(AT_FDCWD, path)) return NULL; \
    return next(path, mode); }
FOPEN(fopen)
FOPEN(fopen64)

#define ON_FILE(type, name, parameters, arguments, file) \
  type name parameters { NEXT(name); return full_file(file) ? -1 : next arguments; }
ON_FILE(ssize_t, write, (int f, const void *b, size_t n), (f, b, n), f)
ON_FILE(ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), (f, b, n, o), f)
ON_FILE(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), (f, b, n, o), f)
ON_FILE(ssize_t, writev, (int f, const struct iovec *b, int n), (f, b, n), f)
ON_FILE(ssize_t, sendfile, (int f, int g, off_t *o, size_t n), (f, g, o, n), f)
ON_FILE(ssize_t, sendfile64, (int f, int g, off64_t *o, size_t n), (f, g, o, n), f)
ON_FILE(ssize_t, copy_file_range,
        (int g, off64_t *p, int f, off64_t *o, size_t n, unsigned u), (g, p, f, o, n, u), f)
ON_FILE(int, fsync, (int f), (f), f)
ON_FILE(int, fdatasync, (int f), (f), f)
ON_FILE(int, ftruncate, (int f, off_t n), (f, n), f)
ON_FILE(int, ftruncate64, (int f, off64_t n), (f, n), f)

int posix_fallocate(int f, off_t o, off_t n) {
  NEXT(posix_fallocate);
  return full_file(f) ? ENOSPC : next(f, o, n);
}
int posix_fallocate64(int f, off64_t o, off64_t n) {
  NEXT(posix_fallocate64);
  return full_file(f) ? ENOSPC : next(f, o, n);
}
size_t fwrite(const void *b, size_t size, size_t n, FILE *file) {
  NEXT(fwrite);
  return full_file(fileno(file)) ? 0 : next(b, size, n, file);
}
int fflush(FILE *file) {
  NEXT(fflush);
  return file && full_file(fileno(file)) ? EOF : next(file);
}
#define NEW(name, parameters, arguments, folder, path) \
  int name parameters { NEXT(name); return full_new(folder, path) ? -1 : next arguments; }
NEW(mkdir, (const char *p, mode_t m), (p, m), AT_FDCWD, p)
NEW(mkdirat, (int d, const char *p, mode_t m), (d, p, m), d, p)
NEW(rename, (const char *a, const char *p), (a, p), AT_FDCWD, p)
NEW(renameat, (int c, const char *a, int d, const char *p), (c, a, d, p), d, p)
NEW(symlink, (const char *a, const char *p), (a, p), AT_FDCWD, p)
