#include "api/membership.h"

#include "api/publish.h"
#include "base/error.h"
#include "route/ring_map.h"

#include <stdio.h>
#include <string.h>

static kw_ring *empty_ring(const kw_options *options, const kw_allocator *mem, kw_error *error)
{
    char text[KW_RING_PLACEMENT_MAX + 16];
    const char *placement = options->placement != NULL ? options->placement : "kw1";
    snprintf(text, sizeof(text), "%s", placement);
    if (options->vnodes > 0) {
        snprintf(text, sizeof(text), "%s/v%u", placement, (unsigned)options->vnodes);
    }
    kw_error failure = KW_ERROR_INIT;
    kw_ring_change *change = kw_ring_change_new(text, mem, &failure);
    kw_ring *ring = change != NULL ? kw_ring_change_commit(change, &failure) : NULL;
    kw_ring_change_free(change);
    if (ring == NULL) {
        kw_err code = failure.code == KW_ERR_ARGUMENT ? KW_ERR_CONFIG : failure.code;
        kw_error_set(error, code, KW_EFFECT_NONE, "%s%s", failure.text,
                     options->vnodes > 0 ? " (with the option vnodes)" : "");
    }
    return ring;
}

kw_err kw_membership_init(kw_membership *self, kw_error *error, const kw_options *options,
                          const kw_allocator *mem)
{
    kw_error failure = KW_ERROR_INIT;
    memset(self, 0, sizeof(*self));
    self->placement = empty_ring(options, mem, &failure);
    bool is_whole = self->placement != NULL;
    if (is_whole && !kw_roster_copy(&self->roster, &options->roster, mem)) {
        kw_error_set(&failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a ring");
        is_whole = false;
    }
    for (size_t i = 0; i < self->roster.n; i++) {
        kw_ring_map_name(&self->roster.members[i], self->placement);
    }
    self->ring = is_whole ? kw_ring_map_ring(&self->roster, self->placement, &failure) : NULL;
    if (self->ring != NULL) {
        return KW_OK;
    }
    kw_membership_fini(self, mem);
    kw_err code = failure.code == KW_ERR_ARGUMENT ? KW_ERR_CONFIG : failure.code;
    return kw_error_set(error, code, KW_EFFECT_NONE, "%s", failure.text);
}

void kw_membership_fini(kw_membership *self, const kw_allocator *mem)
{
    kw_ring_unref(self->placement);
    kw_ring_unref(self->ring);
    kw_roster_fini(&self->roster, mem);
    memset(self, 0, sizeof(*self));
}

kw_err kw_membership_publish(const kw_membership *self, kw_client *client, kw_error *error)
{
    kw_map *map;
    kw_map_parts parts = {.ring = self->ring};
    parts.skips_down = client->env.options.outage == KW_OUTAGE_NEXT;
    kw_err code = kw_ring_map_new(&map, error, &client->env.mem, &self->roster, &parts);
    if (code != KW_OK) {
        return code;
    }
    bool has_news;
    code = kw_publish_locked(client, &has_news, map);
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory for a map of the ring");
    }
    return code;
}
