// What several tests of learners/ need.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "learners/workers.h"

namespace shrike::learners {

// Tasks from the last to the first, a thread each, to shake what depends on their order.
class Backwards : public Workers {
 public:
  void run(size_t tasks, const std::function<void(size_t)>& task) override {
    std::vector<std::thread> threads;
    for (size_t i = tasks; i-- > 0;) threads.emplace_back(task, i);
    for (std::thread& one : threads) one.join();
    runs += tasks > 1;
  }
  size_t runs = 0;
};

}  // namespace shrike::learners
