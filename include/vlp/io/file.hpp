/// \file
/// Reading and writing of whole files. A file is written under a temporary name and renamed, so that a
/// reader, or a run that is killed, sees either the old file or the new one and never a part. POSIX.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vlp/core/errors.hpp>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace vlp::io {

using Path = std::filesystem::path;

namespace detail {

/// The system's words for an errno value, e.g. "No such file or directory".
inline std::string reason(int error) {
  return std::generic_category().message(error);
}

/// An open file that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] bool valid() const noexcept { return descriptor_ >= 0; }
  /// Closes now. Returns false, with errno set, when the system reports a write that failed late.
  [[nodiscard]] bool close() noexcept { return ::close(std::exchange(descriptor_, -1)) == 0; }

 private:
  int descriptor_;
};

/// Removes a file when it ends, unless told that the file has been moved away.
class Removal {
 public:
  explicit Removal(Path path) : path_(std::move(path)) {}
  Removal(const Removal&) = delete;
  Removal& operator=(const Removal&) = delete;
  ~Removal() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void cancel() noexcept { path_.clear(); }

 private:
  Path path_;
};

/// A name in the folder of `path` that no other file, process or thread uses.
inline Path temporary_name(const Path& path) {
  static std::atomic<unsigned> counter{0};
  return path.parent_path() /
         concat(".", path.filename().string(), ".", ::getpid(), "-", counter.fetch_add(1), ".tmp");
}

inline void write_all(int descriptor, std::string_view bytes, const Path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    ensure(written >= 0, path.string(), ": cannot write: ", reason(errno));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace detail

/// The bytes of a file. Throws std::runtime_error with the path and the system's reason.
[[nodiscard]] inline std::string read_file(const Path& path) {
  const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ensure(file.valid(), path.string(), ": cannot open: ", detail::reason(errno));
  struct stat status {};
  ensure(::fstat(file.get(), &status) == 0, path.string(), ": cannot read: ", detail::reason(errno));
  // One byte more than the size, so that the end of an unchanged file is seen without growing. A pipe says 0.
  std::string bytes(static_cast<std::size_t>(status.st_size) + 1, '\0');
  std::size_t used = 0;
  while (true) {
    if (used == bytes.size()) bytes.resize(2 * used + 4096);
    const ssize_t got = ::read(file.get(), bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR) continue;
    ensure(got >= 0, path.string(), ": cannot read: ", detail::reason(errno));
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  bytes.resize(used);
  return bytes;
}

/// Writes the `pieces` one after the other as the whole contents of `path`, atomically: into a temporary file
/// in the same folder, flushed to the disk, then renamed. Whatever fails, an existing file stays as it was.
/// A file that is replaced keeps its permissions. Throws std::runtime_error with the path and the system's
/// reason; only a regular file is ever replaced.
inline void write_file(const Path& path, std::span<const std::string_view> pieces) {
  struct stat old {};
  const bool replaces = ::stat(path.c_str(), &old) == 0;
  ensure(!replaces || S_ISREG(old.st_mode), path.string(), ": cannot write: not a regular file");
  const Path temporary = detail::temporary_name(path);
  detail::Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  ensure(file.valid(), path.string(), ": cannot write: ", detail::reason(errno));
  detail::Removal removal(temporary);
  // A file without its old permissions is still better than none, so a refusal is no error.
  if (replaces) static_cast<void>(::fchmod(file.get(), old.st_mode & 07777));
  for (std::string_view piece : pieces) detail::write_all(file.get(), piece, path);
  ensure(::fsync(file.get()) == 0 && file.close(), path.string(), ": cannot write: ", detail::reason(errno));
  ensure(::rename(temporary.c_str(), path.c_str()) == 0, path.string(),
         ": cannot write: ", detail::reason(errno));
  removal.cancel();
  // The rename itself survives a power cut once the folder is on the disk. Some file systems cannot sync a
  // folder; the file is complete all the same.
  const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
  const detail::Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid()) static_cast<void>(::fsync(directory.get()));
}

/// Writes one piece as the whole contents of `path`; see above.
inline void write_file(const Path& path, std::string_view bytes) {
  write_file(path, std::span(&bytes, 1));
}

}  // namespace vlp::io
