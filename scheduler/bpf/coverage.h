/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * For tests only: counts, per file and source line, how often each `if` went either way (as the kernel's branch
 * profiler does). Included after all headers that are not ours; each of our files defines COVERAGE_FILE anew.
 */
#pragma once
#define COVERAGE_FILES 6
#define COVERAGE_LINES 512

/* Hidden from clang, which would otherwise turn two branches that count into arithmetic on one. */
__u32 coverage[COVERAGE_FILES * COVERAGE_LINES * 2] SEC(".data.coverage") = {};

#define if(condition)                                                            \
  if (({                                                                         \
        int taken = !!(condition);                                               \
        asm volatile("" : "+r"(taken));                                          \
        coverage[(COVERAGE_FILE * COVERAGE_LINES + __LINE__) * 2 + (taken & 1)]++; \
        taken;                                                                   \
      }))
