/// \file
/// One `pretrain` at a time in a run folder.
#pragma once

#include <fcntl.h>
#include <sys/file.h>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace vlp::pretrain {

/// Holds a run folder until its end, or the end of the process, however that comes.
class RunLock {
 public:
  /// Throws std::runtime_error, naming the folder, when another process holds it. (A file system without
  /// locks is taken at its word.) Clears away the temporary files that a killed run left.
  explicit RunLock(const std::string& folder)
      : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    ensure(folder_.valid(), "--out: cannot open '", folder, "': ", io::detail::reason(errno));
    ensure(::flock(folder_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK,
           "--out: another pretrain is at work in '", folder, "'");
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with('.') && name.ends_with(".tmp")) std::filesystem::remove(entry.path(), ignored);
    }
  }

 private:
  io::detail::Descriptor folder_;
};

}  // namespace vlp::pretrain
