/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions come to a loop from any thread, and go where its commands are carried: their connections
 * are that thread's alone. */
#include "drive/loop_pins.h"

void kw_loop_take_pin(kw_loop *self, kw_pin *pin, atomic_size_t *counter)
{
    pin->counter = counter;
    atomic_fetch_add(counter, 1);
    atomic_store(&pin->loop, self);
    kw_monitor_lock(&self->monitor);
    pin->before_pin = NULL;
    pin->next_pin = self->pins;
    if (self->pins != NULL) {
        self->pins->before_pin = pin;
    }
    self->pins = pin;
    kw_monitor_unlock(&self->monitor);
}

/* The monitor is held. */
static void unlist(kw_loop *self, kw_pin *pin)
{
    *(pin->before_pin != NULL ? &pin->before_pin->next_pin : &self->pins) = pin->next_pin;
    if (pin->next_pin != NULL) {
        pin->next_pin->before_pin = pin->before_pin;
    }
}

void kw_loop_close_pin(kw_loop *self, kw_pin *pin)
{
    kw_monitor_lock(&self->monitor);
    pin->is_leaving = true;
    self->has_leaving = true;
    /* Whoever processes looks for them before it leaves. */
    bool wakes = !self->is_processing && !self->is_signalled;
    self->is_signalled = self->is_signalled || wakes;
    kw_monitor_unlock(&self->monitor);
    if (wakes) {
        kw_poller_wake(&self->poller);
    }
}

static bool may_go(const kw_pin *pin)
{
    return pin->is_leaving && atomic_load(&pin->open_n) == 0;
}

bool kw_loop_has_free_pin(const kw_loop *self)
{
    const kw_pin *pin = self->has_leaving ? self->pins : NULL;
    while (pin != NULL && !may_go(pin)) {
        pin = pin->next_pin;
    }
    return pin != NULL;
}

void kw_loop_free_pin(kw_pin *pin)
{
    kw_allocator mem = pin->session.mem;
    kw_session_end_writes(&pin->session);
    kw_mem_free(&mem, pin);
}

/* Takes those that may go out of the list. */
static kw_pin *take_free(kw_loop *self)
{
    kw_pin *gone = NULL;
    kw_monitor_lock(&self->monitor);
    self->has_leaving = false;
    for (kw_pin *pin = self->pins, *next; pin != NULL; pin = next) {
        next = pin->next_pin;
        if (may_go(pin)) {
            unlist(self, pin);
            pin->next_pin = gone;
            gone = pin;
        } else {
            self->has_leaving = self->has_leaving || pin->is_leaving;
        }
    }
    kw_monitor_unlock(&self->monitor);
    return gone;
}

void kw_loop_let_pins_go(kw_loop *self)
{
    kw_pin *pin = take_free(self);
    while (pin != NULL) {
        kw_pin *next = pin->next_pin;
        kw_pin_detach(&self->pipeline, pin);
        atomic_fetch_sub(pin->counter, 1);
        kw_loop_free_pin(pin);
        pin = next;
    }
}

void kw_loop_end_pins(kw_loop *self)
{
    while (self->pins != NULL) {
        kw_pin *pin = self->pins;
        unlist(self, pin);
        pin->channel = NULL; /* gone with the pipeline */
        atomic_fetch_sub(pin->counter, 1);
        if (pin->is_leaving) {
            kw_loop_free_pin(pin);
        } else {
            atomic_store(&pin->loop, NULL);
        }
    }
}
