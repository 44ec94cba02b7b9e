/* SPDX-License-Identifier: BSD-3-Clause */
/* How a process notices that it was forked: a page that the system wipes, or else its number. */
#include "net/fork.h"

#include <sys/mman.h>
#include <unistd.h>

#if defined(MADV_WIPEONFORK)

/* No advice. Emulators (qemu-user up to 7.2) ignore what they are advised, also to wipe, and say
 * that all is well: they say so of this too. */
#define NO_ADVICE (-1)

static volatile char *wiped_page(void)
{
    size_t len = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    if (madvise(page, len, NO_ADVICE) == 0 || madvise(page, len, MADV_WIPEONFORK) != 0) {
        munmap(page, len);
        return NULL;
    }
    *(volatile char *)page = 1;
    return page;
}

#else

static volatile char *wiped_page(void)
{
    return NULL;
}

#endif

void kw_fork_init(kw_fork *self)
{
    self->pid = getpid();
    self->page = wiped_page();
}

void kw_fork_fini(kw_fork *self)
{
    if (self->page != NULL) {
        munmap((void *)self->page, (size_t)sysconf(_SC_PAGESIZE));
        self->page = NULL;
    }
}

bool kw_fork_is_other_process(const kw_fork *self)
{
    return getpid() != self->pid;
}
