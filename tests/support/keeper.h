/* SPDX-License-Identifier: BSD-3-Clause */
/* What outlives a test: a temporary folder, and a small shell that waits for the test
 * to end and then kills its servers and removes the folder, even after SIGKILL. */
#ifndef SUPPORT_KEEPER_H
#define SUPPORT_KEEPER_H

#include <sys/types.h>

/* The folder of this process, made at first use. Borrowed. Any thread. */
const char *kw_test_folder(void);

/* A folder and all in it. */
void kw_test_folder_remove(const char *path);

/* The keeper is to kill the process, or to forget it because it has been reaped. */
void kw_test_keeper_add(pid_t pid);
void kw_test_keeper_drop(pid_t pid);

#endif
