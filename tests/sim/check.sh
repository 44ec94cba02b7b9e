#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# 20 seconds of the simulator, the same seeds each time; `make sim` is for new ones.

exec env SECONDS=20 SEED=1 RUNS= WORLD= "${BUILD:-build}/sim/tests/sim/sim"
