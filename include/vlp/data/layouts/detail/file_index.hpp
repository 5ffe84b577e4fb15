/// \file
/// Files of several folders by their names.
#pragma once

#include <vlp/core/stop.hpp>
#include <vlp/io/file.hpp>

#include <filesystem>
#include <string>
#include <system_error>
#include <unordered_map>

namespace vlp::data::layouts::detail {

/// The files of some folders. Where a collection lies in dozens of folders, listing them is faster than to
/// look for each file in all of them; a name from a table can lead nowhere else.
class FileIndex {
 public:
  /// Adds the files of a folder, without those of folders in it; of two files of one name the first is kept.
  /// A folder that is not there has none. Throws Stopped.
  void add(const io::Path& folder, StopToken stop) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
      stop.check();
      if (entry.is_regular_file(ignored)) files_.try_emplace(entry.path().filename().string(), entry.path());
    }
  }

  /// The file of that name; null if there is none.
  [[nodiscard]] const io::Path* find(const std::string& name) const {
    const auto found = files_.find(name);
    return found == files_.end() ? nullptr : &found->second;
  }

 private:
  std::unordered_map<std::string, io::Path> files_;
};

}  // namespace vlp::data::layouts::detail
