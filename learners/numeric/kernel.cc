#include "learners/numeric/kernel.h"

#include <hwy/targets.h>

#include <atomic>

namespace shrike::learners {
namespace {

std::atomic<Kernel> g_kernel{Kernel::kAuto};

Kernel widest() {
#if defined(__x86_64__)
  static const Kernel kWidest = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
      return Kernel::kAvx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")
               ? Kernel::kAvx2
               : Kernel::kScalar;
  }();
  return kWidest;
#else
  return Kernel::kScalar;
#endif
}

}  // namespace

Kernel tree_kernel() {
  const Kernel chosen = g_kernel.load(std::memory_order_relaxed);
  return chosen == Kernel::kAuto ? widest() : chosen;
}

bool vectors_enabled() { return g_kernel.load(std::memory_order_relaxed) != Kernel::kScalar; }

bool use_kernel(Kernel kernel) {
  if ((kernel == Kernel::kAvx512 && widest() != Kernel::kAvx512) ||
      (kernel == Kernel::kAvx2 && widest() == Kernel::kScalar))
    return false;
  g_kernel.store(kernel);
  // Highway's kernels: lower bits are wider instruction sets.
  hwy::DisableTargets(kernel == Kernel::kAvx2 ? HWY_AVX2 - 1 : 0);
  return true;
}

std::string kernel_name() {
  if (!vectors_enabled()) return "scalar";
  const auto targets = static_cast<uint32_t>(hwy::SupportedTargets());
  return hwy::TargetName(targets & -targets);
}

}  // namespace shrike::learners
