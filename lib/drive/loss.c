/* SPDX-License-Identifier: BSD-3-Clause */
/* A counted story of a failure. */
#include "drive/loss.h"

kw_loss *kw_loss_new(const kw_allocator *mem)
{
    kw_loss *loss = kw_mem_calloc(mem, 1, sizeof(*loss));
    if (loss != NULL) {
        loss->refs = 1;
        loss->failure.size = sizeof(loss->failure);
    }
    return loss;
}

kw_loss *kw_loss_of(const kw_allocator *mem, const kw_error *failure)
{
    kw_loss *loss = kw_loss_new(mem);
    if (loss != NULL) {
        loss->failure = *failure;
        loss->is_whole = true;
    }
    return loss;
}

kw_loss *kw_loss_ref(kw_loss *loss)
{
    loss->refs++;
    return loss;
}

void kw_loss_unref(kw_loss *loss, const kw_allocator *mem)
{
    if (loss != NULL && --loss->refs == 0) {
        kw_mem_free(mem, loss);
    }
}
