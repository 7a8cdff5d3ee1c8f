// A server within the test's own process, for commands that talk to one.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "engine/serve/server.h"

namespace shrike::tools {

class Running {
 public:
  Running(const engine::ConfigPtr& config, const std::string& data) {
    auto opened = engine::Server::open(config, data);
    EXPECT_TRUE(opened) << opened.error();
    server_ = std::move(*opened);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Running() {
    server_->request_stop();
    thread_.join();
  }
  const engine::Endpoints& at() const { return server_->endpoints(); }

 private:
  std::unique_ptr<engine::Server> server_;
  std::thread thread_;
};

}  // namespace shrike::tools
