/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/errand.h"

#include <keyway/quorum.h>

#include "base/error.h"
#include "engine/quorum_script.h"

#include <string.h>

kw_job *kw_job_new(const kw_allocator *mem, kw_bytes key)
{
    size_t len;
    if (!kw_size_add(&len, sizeof(kw_job), key.len)) {
        return NULL;
    }
    kw_job *job = kw_mem_alloc(mem, len);
    if (job == NULL) {
        return NULL;
    }
    memset(job, 0, sizeof(*job));
    char *place = (char *)(job + 1);
    if (key.len > 0) {
        memcpy(place, key.data, key.len);
    }
    job->key.data = place;
    job->key.len = key.len;
    job->failure.size = sizeof(job->failure);
    return job;
}

void kw_errand_free(kw_errand *errand, const kw_allocator *mem)
{
    kw_item_fini(&errand->item, mem);
    kw_buf_fini(&errand->encoded);
    kw_buf_fini(&errand->key);
    kw_hint_round_unref(errand->round, mem);
    kw_mem_free(mem, errand);
}

void kw_hint_round_unref(kw_hint_round *round, const kw_allocator *mem)
{
    if (round == NULL || --round->refs > 0) {
        return;
    }
    for (size_t i = 0; i < round->targets_n; i++) {
        kw_node_unref(round->targets[i]);
    }
    kw_node_unref(round->keeper);
    kw_buf_fini(&round->boxes);
    kw_mem_free(mem, round);
}

void kw_job_free(kw_job *job, const kw_allocator *mem)
{
    if (job == NULL) {
        return;
    }
    while (job->errands != NULL) {
        kw_errand *errand = job->errands;
        job->errands = errand->next;
        kw_errand_free(errand, mem);
    }
    for (size_t i = 0; i <= KW_QUORUM_COPIES_MAX; i++) {
        kw_node_unref(job->nodes[i]);
    }
    kw_mem_free(mem, job);
}

static bool encode(kw_client *client, kw_errand *errand, const kw_errand *from)
{
    kw_job *job = errand->job;
    kw_quorum_place place = {job->key, {NULL, 0}, true, errand->way == KW_ERRAND_PLAIN};
    if (client->env.options.has_quorum_guard && !job->op.spec.is_repair) {
        place.marker = kw_bytes_of(KW_QUORUM_MARKER);
    }
    kw_buf_init(&errand->encoded, &client->env.mem, NULL, 0);
    bool is_whole = from != NULL ? kw_quorum_script_expand(&errand->encoded, from->item.encoded)
                                 : kw_quorum_script_encode(&errand->encoded, &place, &errand->ask);
    if (!is_whole) {
        kw_buf_fini(&errand->encoded);
        return false;
    }
    errand->item.encoded.data = errand->encoded.data;
    errand->item.encoded.len = errand->encoded.len;
    return true;
}

static const char *name_of(kw_quorum_ask_kind kind)
{
    switch (kind) {
    case KW_QUORUM_GET:
        return "quorum read";
    case KW_QUORUM_PUT:
        return "quorum write";
    case KW_QUORUM_PREPARE:
        return "quorum ballot";
    }
    return "quorum";
}

static kw_errand *new_errand(kw_client *client, kw_job *job, const kw_quorum_ask *ask,
                             kw_errand_way way, const kw_errand *from)
{
    const kw_allocator *mem = &client->env.mem;
    kw_errand *errand = kw_mem_calloc(mem, 1, sizeof(*errand));
    if (errand == NULL) {
        return NULL;
    }
    bool needs_script = client->env.options.has_quorum_guard;
    kw_buf_init(&errand->key, mem, NULL, 0);
    errand->job = job;
    errand->ask = *ask;
    errand->way = way == KW_ERRAND_PLAIN && needs_script ? KW_ERRAND_SHORT : way;
    if (!encode(client, errand, from)) {
        kw_mem_free(mem, errand);
        return NULL;
    }
    kw_plan *plan = &errand->item.plan;
    plan->kind = KW_PLAN_NODE;
    plan->node = kw_node_ref(job->nodes[ask->copy]);
    plan->name = name_of(ask->kind);
    plan->is_script = true;
    plan->is_ours = true; /* also to a node that is down: its keys are served without it */
    plan->is_repeatable = ask->kind == KW_QUORUM_GET;
    plan->deadline_ns = job->deadline_ns;
    errand->next = job->errands;
    job->errands = errand;
    job->open_n++;
    return errand;
}

kw_errand *kw_errand_new(kw_client *client, kw_job *job, const kw_quorum_ask *ask,
                         kw_errand_way way)
{
    return new_errand(client, job, ask, way, NULL);
}

kw_errand *kw_errand_expand(kw_client *client, const kw_errand *errand)
{
    return new_errand(client, errand->job, &errand->ask, KW_ERRAND_FULL, errand);
}

kw_errand *kw_errand_new_hint(kw_client *client, kw_errand_aim aim, kw_node *node, kw_buf *encoded,
                              uint64_t now_ns)
{
    const kw_allocator *mem = &client->env.mem;
    kw_errand *errand = kw_mem_calloc(mem, 1, sizeof(*errand));
    if (errand == NULL) {
        return NULL;
    }
    errand->aim = aim;
    errand->encoded = *encoded;
    kw_buf_init(encoded, mem, NULL, 0);
    kw_buf_init(&errand->key, mem, NULL, 0);
    errand->item.encoded.data = errand->encoded.data;
    errand->item.encoded.len = errand->encoded.len;
    kw_plan *plan = &errand->item.plan;
    plan->kind = KW_PLAN_NODE;
    plan->node = kw_node_ref(node);
    plan->name = "quorum hint";
    plan->is_script = true;
    plan->is_ours = true;
    plan->deadline_ns = kw_plan_deadline_ns(now_ns, client->env.options.timeout_ms);
    return errand;
}

void kw_errand_forget(kw_errand *errand)
{
    kw_errand **link = &errand->job->errands;
    while (*link != errand) {
        link = &(*link)->next;
    }
    *link = errand->next;
    errand->job = NULL;
}
