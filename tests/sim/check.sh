#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# 10000 lives of the simulator, the same on each machine, however fast it is; `make sim` is for new ones.

exec env SECONDS= JOBS=1 SEED=1 RUNS=10000 WORLD= "${BUILD:-build}/sim/tests/sim/sim"
