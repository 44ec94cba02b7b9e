/* SPDX-License-Identifier: BSD-3-Clause */
/* A batch: a pipeline whose commands are all there at the start, and which its caller waits for. */
#include "drive/pipeline.h"

#include "base/error.h"
#include "drive/run_wait.h"
#include "topology/first_map.h"
#include "topology/topology_tend.h"

static void wait_all(kw_pipeline *pipeline, uint64_t deadline_ns)
{
    kw_run_wait wait;
    kw_run_wait_init(&wait, pipeline, true);
    while (pipeline->open_n > 0) {
        kw_err code = KW_OK;
        if (kw_env_is_closing(&pipeline->topology->env, pipeline->closing)) {
            code = KW_ERR_CANCELLED;
        } else if (pipeline->scan.now_ns >= deadline_ns) {
            code = KW_ERR_TIMEOUT;
        } else {
            kw_pipeline_advance(pipeline);
            bool goes_on = pipeline->open_n == 0 || kw_run_wait_turn(&wait, deadline_ns);
            code = goes_on && !pipeline->has_no_memory ? KW_OK : KW_ERR_NOMEM;
        }
        if (code != KW_OK) {
            kw_pipeline_end_all(pipeline, code);
            break;
        }
    }
    kw_run_wait_fini(&wait);
}

/* What all commands have in common, set as each is looked at: thousands of them are not in the
 * processor's first cache. */
static void prepare(kw_item *item, const kw_commands *commands, const char **encoded)
{
    item->plan.deadline_ns = commands->deadline_ns;
    if (commands->start_ns > 0) {
        item->plan.start_ns = commands->start_ns;
    }
    if (item->request.bytes.data == NULL) {
        item->request.bytes.data = *encoded;
        *encoded += item->request.bytes.len;
    }
}

/* Without the first map no command can go anywhere: each ends as the wait for it did. */
static void fail_all(kw_pipeline *pipeline, const kw_commands *commands, const kw_error *failure)
{
    const char *encoded = commands->encoded;
    const kw_allocator *mem = &pipeline->topology->env.mem;
    kw_loss *loss = kw_loss_of(mem, failure);
    pipeline->open_n = pipeline->items_n;
    for (size_t i = 0; i < pipeline->items_n; i++) {
        kw_item *item = &pipeline->items[i];
        prepare(item, commands, &encoded);
        kw_item_note(item, loss, mem);
        item->effect = failure->effect;
        kw_pipeline_end_item(pipeline, item, failure->code);
    }
    kw_loss_unref(loss, mem);
}

static kw_err send_all(kw_pipeline *pipeline, const kw_commands *commands,
                       const kw_snapshot *snapshot)
{
    const char *encoded = commands->encoded;
    for (size_t i = 0; i < pipeline->items_n; i++) {
        prepare(&pipeline->items[i], commands, &encoded);
        kw_pipeline_add(pipeline, &pipeline->items[i], snapshot);
    }
    wait_all(pipeline, commands->deadline_ns);
    kw_err code = KW_OK;
    for (size_t i = 0; pipeline->has_failed && code == KW_OK && i < pipeline->items_n; i++) {
        code = pipeline->items[i].code;
    }
    return code;
}

kw_err kw_pipeline_all(kw_topology *topology, const kw_commands *commands)
{
    kw_pipeline pipeline;
    kw_snapshot *snapshot;
    kw_error failure = kw_error_none();
    const atomic_bool *closing = commands->items_n > 0 ? commands->items[0].plan.closing : NULL;
    if (kw_topology_is_watching(topology)) {
        kw_failure_watch_help(topology, commands->deadline_ns);
    }
    kw_err code = kw_topology_need_snapshot(topology, &snapshot, &failure,
                                            (kw_map_wait){commands->deadline_ns, closing});
    kw_pipeline_init(&pipeline, topology);
    pipeline.closing = closing;
    pipeline.items = commands->items;
    pipeline.items_n = commands->items_n;
    if (code == KW_OK) {
        code = send_all(&pipeline, commands, snapshot);
        kw_snapshot_unref(snapshot);
    } else {
        fail_all(&pipeline, commands, &failure);
    }
    kw_pipeline_fini(&pipeline);
    kw_topology_tend(topology, pipeline.scan.now_ns);
    return code;
}
