/// \file
/// The folder of a run: its files, its settings, and the lock that keeps a second process out.
#pragma once

#include <fcntl.h>
#include <sys/file.h>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>
#include <vlp/train/settings.hpp>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace vlp::train {

namespace detail {

/// Holds a folder until its own end, or the end of the process, however that comes.
class FolderLock {
 public:
  /// Throws std::runtime_error, naming the folder, when another process holds it. (A file system without
  /// locks is taken at its word.) Clears away the temporary files that a killed run left.
  explicit FolderLock(const std::string& folder)
      : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    ensure(folder_.valid(), "cannot open the run folder '", folder, "': ", io::detail::reason(errno));
    ensure(::flock(folder_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK,
           "another run is at work in '", folder, "'");
    io::remove_temporaries(folder);
  }

 private:
  io::detail::Descriptor folder_;
};

}  // namespace detail

/// A folder that holds one run, or will: config.json with its settings, logs, checkpoints, and whatever the
/// program adds. Making one of these touches nothing.
class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  /// The path of a file in the folder.
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Whether config.json is there. Throws std::runtime_error, naming the folder, where that cannot be told:
  /// the path leads over a file, in a circle of links, or where this user may not look.
  [[nodiscard]] bool holds_run() const {
    std::error_code error;
    const auto status = std::filesystem::status(file("config.json"), error);
    const bool absent = status.type() == std::filesystem::file_type::not_found;
    ensure((!error || absent) && error != std::errc::not_a_directory, "cannot use the run folder '", path_,
           "': ", error.message());
    return !absent;
  }

  /// The settings of the run that the folder holds. Throws std::runtime_error, naming the file, where there
  /// is none or it holds no settings.
  [[nodiscard]] Settings settings() const {
    ensure(holds_run(), "there is no run in '", path_, "' (", file("config.json"), " does not exist)");
    return parse_settings(io::read_file(file("config.json")), file("config.json"));
  }

  /// Locks the folder for a run that goes on. Throws std::runtime_error where another process is at work in
  /// it.
  void lock() { lock_.emplace(path_); }

  /// Makes the folder of a new run: creates and locks it, calls `write_rest()` for the program's own files,
  /// and writes config.json last, with which the folder holds a run. Throws std::runtime_error where the
  /// folder cannot be made or holds a run already.
  template <class WriteRest>
  void start(const Settings& settings, WriteRest&& write_rest) {
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    ensure(!error, "cannot create the run folder '", path_, "': ", error.message());
    lock();
    ensure(!holds_run(), "'", path_, "' holds a run that began in the meantime");
    write_rest();
    write_settings(settings);
  }

  /// Writes config.json, atomically. The folder must be locked.
  void write_settings(const Settings& settings) const {
    io::write_file(file("config.json"), settings.dump(2) + "\n");
  }

 private:
  std::string path_;
  std::optional<detail::FolderLock> lock_;
};

/// The first of stem, stem-2, stem-3, ... that does not exist.
[[nodiscard]] inline std::string first_free_folder(const std::string& stem) {
  std::string name = stem;
  std::error_code none;  // what cannot be looked at is taken; RunFolder then says why
  for (int n = 2; std::filesystem::exists(name, none); ++n) name = stem + "-" + std::to_string(n);
  return name;
}

}  // namespace vlp::train
