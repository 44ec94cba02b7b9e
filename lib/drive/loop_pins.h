/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop pins: the sessions whose commands a loop carries. Each stays until the program has closed
 * it, and what was given by then has ended. */
#ifndef DRIVE_LOOP_PINS_H
#define DRIVE_LOOP_PINS_H

#include "drive/loop_private.h"
#include "drive/pin.h"

/* The pin, initialized and in memory of its own, is the loop's to free from now on. counter: of
 * the sessions that are open. Any thread. */
void kw_loop_take_pin(kw_loop *self, kw_pin *pin, atomic_size_t *counter);

/* Nobody uses the pin any more, but for the commands that were given: a later kw_loop_process frees
 * it. Any thread. */
void kw_loop_close_pin(kw_loop *self, kw_pin *pin);

/* True where a pin may go; the monitor is held. */
bool kw_loop_has_free_pin(const kw_loop *self);

/* Lets go those that may. For who processes. */
void kw_loop_let_pins_go(kw_loop *self);

/* The loop ends, and every command has: pins that are not closed are their programs' to free. */
void kw_loop_end_pins(kw_loop *self);

/* Frees a pin that no loop has. */
void kw_loop_free_pin(kw_pin *pin);

#endif
