/// \file
/// Reading and writing of whole files. A file is written under a temporary name and renamed, so that a
/// reader, or a run that is killed, sees either the old file or the new one and never a part. POSIX.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/stop.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <new>
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

/// Throws std::runtime_error, "PATH: cannot DO: REASON", unless the system `did` what it was called for. The
/// call stands in the argument itself: errno is read here, when all arguments have been evaluated.
inline void ensure_system(bool did, const Path& path, const char* doing) {
  const int error = errno;
  ensure(did, path.string(), ": cannot ", doing, ": ", reason(error));
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

inline void write_all(int descriptor, std::string_view bytes, const Path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    ensure_system(written >= 0, path, "write");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// Brings a new name in the folder of `path` to the disk. Some file systems cannot sync a folder; the file is
/// complete all the same.
inline void sync_folder_of(const Path& path) {
  const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid()) static_cast<void>(::fsync(directory.get()));
}

inline constexpr std::string_view temporary_prefix = ".vlp-", temporary_suffix = ".tmp";

/// A name in the folder of `path` that only vlp gives: ".vlp-NAME.PID-NUMBER.tmp", NAME without its end where
/// a file system would find all of it too long.
inline Path temporary_name(const Path& path, unsigned number) {
  const std::string name = path.filename().string().substr(0, 200);
  return path.parent_path() / concat(temporary_prefix, name, ".", ::getpid(), "-", number, temporary_suffix);
}

}  // namespace detail

/// How much a file that is committed must survive.
enum class Durability {
  disk,    ///< the machine's sudden end: its bytes are on the disk before its name is
  process  ///< the process's sudden end; serves files that are checked when they are read and can be made
           ///< anew
};

/// A new, empty file that becomes the file `path`, or nothing. It is made only where nothing, not even a
/// link, has its name.
class TemporaryFile {
 public:
  /// The file lies beside `path` until it is committed. Throws std::runtime_error with `path` and the
  /// system's reason.
  explicit TemporaryFile(const Path& path) : TemporaryFile(path, path.parent_path()) {}
  /// The file lies in `folder`, of the same file system, until it is committed.
  TemporaryFile(Path path, const Path& folder) : path_(std::move(path)), file_(open(folder)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  /// The file, open to read and write.
  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }
  void write(std::string_view bytes) { detail::write_all(file_.get(), bytes, path_); }

  /// Puts the file in the place of `path`, and first on the disk where that is asked for. A file that is
  /// replaced leaves its permissions; a link is replaced itself. Throws std::runtime_error with `path` and
  /// the system's reason.
  void commit(Durability durability = Durability::disk) {
    struct stat old {};
    // A file without its old permissions is still better than none, so a refusal is no error.
    if (::stat(path_.c_str(), &old) == 0 && S_ISREG(old.st_mode))
      static_cast<void>(::fchmod(file_.get(), old.st_mode & 07777));
    const bool to_disk = durability == Durability::disk;
    detail::ensure_system((!to_disk || ::fsync(file_.get()) == 0) && file_.close(), path_, "write");
    detail::ensure_system(::rename(temporary_.c_str(), path_.c_str()) == 0, path_, "write");
    temporary_.clear();
    if (to_disk) detail::sync_folder_of(path_);
  }

 private:
  [[nodiscard]] int open(const Path& folder) {
    static std::atomic<unsigned> counter{0};
    // A name may be left from a killed process of the same number, as it has in every new container.
    for (unsigned tries = 0; tries < 1000; ++tries) {
      temporary_ = detail::temporary_name(folder / path_.filename(), counter.fetch_add(1));
      const int file = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
      if (file >= 0) return file;
      if (errno != EEXIST) break;
    }
    temporary_.clear();
    detail::ensure_system(false, path_, "write");
    return -1;
  }

  Path path_, temporary_;
  detail::Descriptor file_;
};

namespace detail {

/// Waits until a file that is no regular one, such as a pipe, has something to read or has ended.
inline void wait_for_input(int descriptor, StopToken stop) {
  pollfd waiting{descriptor, POLLIN, 0};
  do stop.check();
  while (::poll(&waiting, 1, 50) <= 0);
}

}  // namespace detail

/// Tells whether vlp gave this file name, without folder, to a file that it was writing.
[[nodiscard]] inline bool is_temporary_name(std::string_view name) {
  if (!name.starts_with(detail::temporary_prefix) || !name.ends_with(detail::temporary_suffix)) return false;
  name.remove_suffix(detail::temporary_suffix.size());
  for (const char mark : {'-', '.'}) {  // NUMBER, then PID
    const std::size_t end = name.find_last_not_of("0123456789");
    if (end == std::string_view::npos || end + 1 == name.size() || name[end] != mark) return false;
    name.remove_suffix(name.size() - end);
  }
  return name.size() > detail::temporary_prefix.size();
}

/// Removes what killed processes left of the files that they were writing to a folder, and nothing else. No
/// other process may be writing there.
inline void remove_temporaries(const Path& folder) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (is_temporary_name(entry.path().filename().string())) ::unlink(entry.path().c_str());
}

/// Options of read_file.
struct ReadFileOptions {
  /// A larger file is refused, and before it is read where the system tells its size.
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  StopToken stop = {};  ///< asked between parts of a file, and while a pipe has nothing to read
};

/// Returns the bytes of a file. Memory grows with what has been read, whatever size the file claims. Throws
/// std::runtime_error with the path and the system's reason, or both sizes for a file of more than
/// `max_bytes`; Stopped where `stop` asks for it.
[[nodiscard]] inline std::string read_file(const Path& path, const ReadFileOptions& options = {}) {
  struct stat status {};
  // A pipe without a writer would block here, where no signal is sure to end it.
  const bool is_regular = ::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode);
  const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | (is_regular ? 0 : O_NONBLOCK)));
  detail::ensure_system(file.valid(), path, "open");
  detail::ensure_system(::fstat(file.get(), &status) == 0, path, "read");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const auto check_size = [&](std::uint64_t bytes) {
    ensure(bytes <= options.max_bytes, path.string(), ": has ", size < bytes ? "at least " : "",
           std::max(size, bytes), " bytes, more than the ", options.max_bytes, " that are read");
  };
  check_size(size);
  // Memory is reserved for the bytes on the disk, holes left out, but touched only as they are read.
  const std::uint64_t on_disk = std::min(size, 512 * static_cast<std::uint64_t>(status.st_blocks));
  constexpr std::size_t least = std::size_t{1} << 12, most = std::size_t{1} << 24;
  std::string bytes;
  std::size_t used = 0;
  try {
    bytes.reserve(static_cast<std::size_t>(on_disk) + 1);  // one more shows the end without growing
    while (true) {
      if (used == bytes.size())
        bytes.resize(used +
                     std::clamp(used < bytes.capacity() ? bytes.capacity() - used : used, least, most));
      options.stop.check();
      if (!is_regular) detail::wait_for_input(file.get(), options.stop);
      const ssize_t got = ::read(file.get(), bytes.data() + used, bytes.size() - used);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      detail::ensure_system(got >= 0, path, "read");
      if (got == 0) break;
      used += static_cast<std::size_t>(got);
      check_size(used);
    }
    bytes.resize(used);
  } catch (const std::bad_alloc&) {
    bytes = {};
    ensure(false, path.string(), ": cannot read: out of memory after ", used, " bytes");
  }
  return bytes;
}

/// Writes the `pieces` one after the other as the whole contents of `path`, atomically: into a temporary file
/// in the same folder, flushed to the disk, then renamed. Whatever fails, an existing file stays as it was.
/// A file that is replaced keeps its permissions; a link is replaced, not followed. Throws std::runtime_error
/// with the path and the system's reason; only a regular file is ever replaced.
inline void write_file(const Path& path, std::span<const std::string_view> pieces) {
  struct stat old {};
  ensure(::stat(path.c_str(), &old) != 0 || S_ISREG(old.st_mode), path.string(),
         ": cannot write: not a regular file");
  TemporaryFile file(path);
  for (std::string_view piece : pieces) file.write(piece);
  file.commit();
}

/// Writes one piece as the whole contents of `path`; see above.
inline void write_file(const Path& path, std::string_view bytes) {
  write_file(path, std::span(&bytes, 1));
}

/// Appends to a regular file of `size` bytes and brings it to the disk. Returns false, having written
/// nothing, unless `path` is such a file (and no link), as when another program has changed it. A process
/// that is killed meanwhile may leave a part of `bytes`. Throws std::runtime_error with the path and the
/// system's reason.
[[nodiscard]] inline bool append_to_file(const Path& path, std::uint64_t size, std::string_view bytes) {
  const detail::Descriptor file(
      ::open(path.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != size)
    return false;
  if (bytes.empty()) return true;
  detail::write_all(file.get(), bytes, path);
  detail::ensure_system(::fsync(file.get()) == 0, path, "write");
  return true;
}

}  // namespace vlp::io
