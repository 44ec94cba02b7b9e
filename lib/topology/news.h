/* SPDX-License-Identifier: BSD-3-Clause */
/* News: what sentinels say of a group's servers, told to the host. */
#ifndef TOPOLOGY_NEWS_H
#define TOPOLOGY_NEWS_H

struct kw_client;

/* Tells what has not been told; never waits. One thread at a time tells, others pass by. */
void kw_news_tend(struct kw_client *client);

#endif
