// A RocksDB environment whose writes and syncs fail on command: a full disk, a failing device.
#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <memory>

namespace shrike::storage {

class FaultEnv : public rocksdb::EnvWrapper {
 public:
  enum class Fault { kNone, kNoSpace, kIo };

  FaultEnv() : EnvWrapper(rocksdb::Env::Default()) {}
  const char* Name() const override { return "FaultEnv"; }
  // From the n-th write or sync on, everything fails so, until kNone is set.
  void fail_after(int operations, Fault fault) {
    left_ = operations;
    fault_ = fault;
  }
  rocksdb::Status check() {
    if (fault_ == Fault::kNone || left_-- > 0) return rocksdb::Status::OK();
    return fault_ == Fault::kNoSpace ? rocksdb::Status::NoSpace("injected")
                                     : rocksdb::Status::IOError("injected");
  }

  rocksdb::Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* result,
                                  const rocksdb::EnvOptions& options) override {
    if (auto status = check(); !status.ok()) return status;
    std::unique_ptr<rocksdb::WritableFile> file;
    auto status = EnvWrapper::NewWritableFile(name, &file, options);
    if (status.ok()) *result = std::make_unique<File>(*this, std::move(file));
    return status;
  }

 private:
  class File : public rocksdb::WritableFileWrapper {
   public:
    File(FaultEnv& env, std::unique_ptr<rocksdb::WritableFile> file)
        : WritableFileWrapper(file.get()), env_(env), file_(std::move(file)) {}
    rocksdb::Status Append(const rocksdb::Slice& data) override {
      auto status = env_.check();
      return status.ok() ? file_->Append(data) : status;
    }
    rocksdb::Status Append(const rocksdb::Slice& data, const rocksdb::DataVerificationInfo&) override {
      return Append(data);
    }
    rocksdb::Status Sync() override {
      auto status = env_.check();
      return status.ok() ? file_->Sync() : status;
    }
    rocksdb::Status Flush() override {
      auto status = env_.check();
      return status.ok() ? file_->Flush() : status;
    }

   private:
    FaultEnv& env_;
    std::unique_ptr<rocksdb::WritableFile> file_;
  };

  std::atomic<int> left_{0};
  std::atomic<Fault> fault_{Fault::kNone};
};

}  // namespace shrike::storage
