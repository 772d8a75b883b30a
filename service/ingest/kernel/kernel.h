/* Widths of the fields of rows, and the few words of C that Cython has no form for. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t row_t;      /* The number of a row of a table; -1 for none. */
typedef uint32_t word_t;    /* The number of an interned string; 0 for the empty one. */
typedef int8_t tiny_t;
typedef uint16_t small_t;
typedef uint32_t place_t;   /* An offset into text. */
typedef float weight_t;

/* Loads and stores of eight bytes that need not be aligned. */
static inline uint64_t load8(const uint8_t *at) { uint64_t v; memcpy(&v, at, 8); return v; }
static inline void store8(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }
static inline double as_double(int64_t v) { double d; memcpy(&d, &v, 8); return d; }
static inline int64_t bits_of(double d) { int64_t v; memcpy(&v, &d, 8); return v; }

/* The empty statement keeps gcc from leaving out calls of functions that do nothing but prefetch. */
#define prefetch(p) do { __builtin_prefetch((const void *)(p), 1, 3); __asm__ volatile(""); } while (0)

/* With the address sanitizer, a row that was given back must not be looked at. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define hide(at, size) __asan_poison_memory_region(at, size)
#define show(at, size) __asan_unpoison_memory_region(at, size)
#else
#define hide(at, size) ((void)(at), (void)(size))
#define show(at, size) ((void)(at), (void)(size))
#endif

/* What no caller can go on from: the daemon ends, and its next start reads on from the last save. */
static inline void give_up(const char *why) {
    fprintf(stderr, "tocsin: %s\n", why);
    abort();
}

#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Memory for rows. Rows are looked up at random, so large tables ask for huge pages: fewer misses of the TLB. */
static inline void *rows_memory(size_t size) {
    size_t huge = (size_t)1 << 21, unit = size < huge ? 64 : huge;
    void *made;
    if (posix_memalign(&made, unit, (size + unit - 1) / unit * unit + (size == 0) * unit) != 0)
        give_up("out of memory");
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (unit == huge)
        madvise(made, size, MADV_HUGEPAGE);
#endif
    return made;
}

static inline void *larger_memory(void *old, size_t size) {
    void *made = realloc(old, size);
    if (made == NULL)
        give_up("out of memory");
    return made;
}
