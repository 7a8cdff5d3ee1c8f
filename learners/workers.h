// Threads that learners may be given: learners/ itself starts none. What a learner computes does not depend
// on how many there are.
#pragma once

#include <cstddef>
#include <functional>

namespace shrike::learners {

class Workers {
 public:
  virtual ~Workers() = default;
  // Calls task(0) .. task(tasks - 1), perhaps at the same time, and returns when all are done. Tasks share no
  // mutable state. A task may call run() again: it then runs on the caller's thread alone.
  virtual void run(size_t tasks, const std::function<void(size_t)>& task) = 0;
};

// With `workers` null: on the caller's thread, in order.
inline void run_tasks(Workers* workers, size_t tasks, const std::function<void(size_t)>& task) {
  if (workers != nullptr) return workers->run(tasks, task);
  for (size_t i = 0; i < tasks; ++i) task(i);
}

}  // namespace shrike::learners
