/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * For tests only: counts, per source line, how often each `if` went either way (as the kernel's branch profiler
 * does). Included after all other headers.
 */
#pragma once
#define COVERAGE_LINES 1024

/* Hidden from clang, which would otherwise turn two branches that count into arithmetic on one. */
__u32 coverage[COVERAGE_LINES * 2] SEC(".data.coverage") = {};

#define if(condition)                             \
  if (({                                          \
        int taken = !!(condition);                \
        asm volatile("" : "+r"(taken));           \
        coverage[(__LINE__) * 2 + (taken & 1)]++; \
        taken;                                    \
      }))
