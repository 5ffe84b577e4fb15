/// \file
/// A folder for a test's files, the folder of real data, and that of real collections.
#pragma once

#include "support/catch.hpp"
#include "support/messages.hpp"

#include <unistd.h>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace vlp::test {

/// A new, empty folder that is removed with all it holds when the test ends.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> counter{0};
    path_ = std::filesystem::temp_directory_path() / concat("vlp_test_", ::getpid(), "_", counter++);
    std::filesystem::create_directory(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const io::Path& path() const { return path_; }
  [[nodiscard]] io::Path operator/(const std::string& name) const { return path_ / name; }
  /// Writes a file and returns its path.
  io::Path write(const std::string& name, std::string_view bytes) const {
    // Not write_file, which waits for the disk.
    std::ofstream(path_ / name, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path_ / name;
  }
  [[nodiscard]] int file_count() const {
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 private:
  io::Path path_;
};

/// Real data: the folder VLP_DATA_DIR, else the one beside the checkout. Says so when there is none.
inline std::optional<io::Path> real_data() {
  const char* given = std::getenv("VLP_DATA_DIR");
  const io::Path folder = given != nullptr ? given : VLP_TEST_SHARED_DATA_DIR;
  if (std::filesystem::is_directory(folder)) return folder;
  WARN("skipped: there is no folder of real data at " << folder << " (set VLP_DATA_DIR)");
  return std::nullopt;
}

/// A collection as its owners distribute it: the folder of its layout's name ("mimic-cxr") in VLP_REAL_DATA.
/// Says so when it is not there.
inline std::optional<io::Path> real_collection(std::string_view layout) {
  const char* given = std::getenv("VLP_REAL_DATA");
  if (given == nullptr || *given == '\0') {
    WARN("skipped: VLP_REAL_DATA names no folder that holds " << layout << "/");
    return std::nullopt;
  }
  const io::Path folder = io::Path(given) / layout;
  if (std::filesystem::is_directory(folder)) return folder;
  WARN("skipped: VLP_REAL_DATA has no folder " << folder);
  return std::nullopt;
}

}  // namespace vlp::test
