/// \file
/// Images at the size of a model, kept in a folder from one epoch and one run to the next.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vlp/core/build.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace vlp::data {

/// The pixels of a square image, row-major, top row first; 0 is black and 65535 white. No source has more
/// bits.
using Pixels = std::vector<std::uint16_t>;

/// An image file's image at the size of a model.
struct ResizedImage {
  Pixels pixels;                   ///< [image_size, image_size]
  std::uint64_t source = 0;        ///< hash of the file's bytes; see hash_of
  std::uint64_t source_bytes = 0;  ///< size of the file
};

namespace detail {

/// A name of 128 bits for some bytes: two hashes, since one would confuse two of 10^8 images in every
/// thousandth collection.
struct CacheKey {
  std::uint64_t first = 0, second = 0;

  [[nodiscard]] bool operator==(const CacheKey&) const = default;
};

inline CacheKey key_of(std::string_view bytes) {
  Hash second;
  second.add(std::uint64_t{0x5EC0DD});
  second.add(bytes);
  return {hash_of(bytes), second.value()};
}

/// The marks by which a file is known unread. Another file in its place, or other contents, have another
/// time or size.
struct FileState {
  std::uint64_t bytes = 0;
  std::int64_t seconds = 0, nanoseconds = 0;  // when it was last written to
  std::uint64_t device = 0, inode = 0;

  [[nodiscard]] bool operator==(const FileState&) const = default;
};

/// Throws std::runtime_error, as io::read_file would, for a file that is not there.
inline FileState state_of(const io::Path& file) {
  struct stat status {};
  io::detail::ensure_system(::stat(file.c_str(), &status) == 0, file, "open");
  return {static_cast<std::uint64_t>(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
          static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
}

/// The beginning of a file of the cache, in the byte order of the machine that wrote it; pixels follow.
struct CacheHeader {
  /// Reads otherwise in another byte order.
  static constexpr std::uint64_t magic_number = 0x0131'474D'4950'4C56;  // "VLPIMG1" and a 1

  std::uint64_t magic = magic_number;
  std::uint64_t recipe = 0;  // how pixels were made of the file's bytes
  CacheKey content = {};     // of the file's bytes
  std::uint64_t hash = 0;    // of all above and of the pixels
};
static_assert(sizeof(CacheHeader) == 40);

}  // namespace detail

/// A folder of images at one size, so that a file is decoded once and not in every epoch of every run.
///
/// Images are kept by the contents of their files. So that not even these are read, an image has a second
/// name (a hard link, or a copy where the file system has none), made of the path of its file, its size and
/// the time of its last change: a file that has changed is read anew. Files that have changed within the last
/// two seconds have no second name, for a change that follows at once might show neither in time nor size.
/// Each build (build_text) has images of its own, since another may round them otherwise.
///
/// Any number of threads and processes may share a folder, and a process may be killed at any moment: each
/// image is a file of its own that is written under another name and renamed. What is damaged, cut short,
/// empty or of another machine's byte order is found by its hash, made anew and replaced. Where nothing can
/// be written (a full disk, a folder that is read-only), `note` says so and reading goes on without.
///
/// The folder is made for its owner alone, since it holds images of patients. It may be removed at any time.
class ImageCache {
 public:
  /// Changes with the way in which vlp decodes and resizes images, so that older images are not met again.
  static constexpr std::uint64_t version = 1;

  /// Opens a folder, which is made where it is missing, for images of `image_size` x `image_size` pixels, and
  /// removes what killed processes left half written an hour ago or earlier. Throws std::runtime_error where
  /// its name is that of something else.
  ImageCache(io::Path folder, Index image_size, io::Fit fit = io::Fit::crop)
      : folder_(std::move(folder)), temporary_(folder_ / "temporary"), image_size_(image_size) {
    require(image_size > 0, "ImageCache: image_size must be positive, but is ", image_size);
    Hash recipe;
    recipe.add(version);
    recipe.add(build_text());  // by which averages are rounded
    recipe.add(static_cast<std::uint64_t>(image_size));
    recipe.add(static_cast<std::uint64_t>(fit));
    recipe_ = recipe.value();
    make_folders();
    remove_old_temporaries();
  }
  ImageCache(const ImageCache&) = delete;
  ImageCache& operator=(const ImageCache&) = delete;
  ~ImageCache() { delete fault_.load(); }

  /// The image of a file: from the cache, or else made by `make(bytes)`, which returns its pixels, and kept.
  /// Throws what reading the file or `make` throws. May be called on several threads at a time.
  template <class Make>
  [[nodiscard]] ResizedImage image(const io::Path& file, Index max_pixels, Make&& make) {
    const detail::FileState state = detail::state_of(file);
    const io::Path second_name = path_of(identity(file, state));
    detail::CacheHeader header{.recipe = recipe_};
    if (auto pixels = load(second_name, header))
      return {std::move(*pixels), header.content.first, state.bytes};
    const std::string bytes = io::read_image_file(file, max_pixels);
    const detail::CacheKey content = detail::key_of(bytes);
    const io::Path name = path_of(content_name(content));
    std::optional<Pixels> pixels = load(name, header);
    const bool is_kept = pixels && header.content == content;
    if (!is_kept) {
      pixels = make(std::string_view(bytes));
      require(pixels->size() == pixel_count(), "ImageCache: ", pixels->size(),
              " pixels made for an image of ", image_size_, " x ", image_size_);
    }
    try {
      if (!is_kept) store(name, content, *pixels);
      if (is_settled(state) && detail::state_of(file) == state) link(name, second_name, content, *pixels);
    } catch (const std::runtime_error& error) {
      stop_writing(error.what());
    }
    return {std::move(*pixels), content.first, bytes.size()};
  }

  /// The images that were in the cache when they were asked for.
  [[nodiscard]] Index hits() const { return hits_.load(std::memory_order_relaxed); }

  /// A sentence for the user where nothing can be written any more; else empty.
  [[nodiscard]] std::string note() const {
    const std::string* fault = fault_.load(std::memory_order_acquire);
    return fault == nullptr ? std::string() : "the cache of images is read and not written: " + *fault;
  }

 private:
  [[nodiscard]] std::size_t pixel_count() const {
    return static_cast<std::size_t>(image_size_) * static_cast<std::size_t>(image_size_);
  }

  // Names are 32 hexadecimal digits, of which the first two are the folder.
  using Name = std::array<char, 33>;
  static Name text_of(std::uint64_t first, std::uint64_t second) {
    Name name;
    std::snprintf(name.data(), name.size(), "%016llx%016llx", static_cast<unsigned long long>(first),
                  static_cast<unsigned long long>(second));
    return name;
  }
  [[nodiscard]] Name content_name(const detail::CacheKey& content) const {
    Hash first, second;
    first.add(recipe_);
    first.add(content.first);
    second.add(content.second);
    second.add(recipe_);
    return text_of(first.value(), second.value());
  }
  [[nodiscard]] Name identity(const io::Path& file, const detail::FileState& state) const {
    std::error_code failed;
    const io::Path canonical = std::filesystem::canonical(file, failed);
    std::string text = failed ? std::filesystem::absolute(file).string() : canonical.string();
    const auto add = [&](auto number) { text.append(reinterpret_cast<const char*>(&number), sizeof number); };
    add(state.bytes);
    add(state.seconds);
    add(state.nanoseconds);
    add(recipe_);
    const detail::CacheKey key = detail::key_of(text);
    return text_of(key.first, key.second);
  }
  [[nodiscard]] io::Path path_of(const Name& name) const {
    return folder_ / std::string(name.data(), 2) / std::string(name.data() + 2);
  }

  /// Whether a later change of a file must show in its time: clocks of file systems go in steps of up to two
  /// seconds.
  static bool is_settled(const detail::FileState& state) {
    return state.seconds < static_cast<std::int64_t>(std::time(nullptr)) - 2;
  }

  static std::uint64_t hash_of(const detail::CacheHeader& header, std::span<const std::uint16_t> pixels) {
    Hash hash;
    hash.add(header.magic);
    hash.add(header.recipe);
    hash.add(header.content.first);
    hash.add(header.content.second);
    hash.add(pixels);
    return hash.value();
  }

  /// The pixels of a file of the cache and its header, or nothing unless it is there and sound.
  std::optional<Pixels> load(const io::Path& name, detail::CacheHeader& header) {
    Pixels pixels(pixel_count());
    const io::detail::Descriptor file(::open(name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat status {};
    const std::size_t bytes = pixels.size() * sizeof(std::uint16_t);
    if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
        static_cast<std::size_t>(status.st_size) != sizeof header + bytes)
      return {};
    detail::CacheHeader found;
    if (!read_all(file.get(), &found, sizeof found) || !read_all(file.get(), pixels.data(), bytes) ||
        found.magic != detail::CacheHeader::magic_number || found.recipe != recipe_ ||
        found.hash != hash_of(found, pixels))
      return {};
    header = found;
    hits_.fetch_add(1, std::memory_order_relaxed);
    return pixels;
  }

  static bool read_all(int file, void* memory, std::size_t bytes) {
    auto* at = static_cast<char*>(memory);
    while (bytes > 0) {
      const ssize_t got = ::read(file, at, bytes);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      at += got;
      bytes -= static_cast<std::size_t>(got);
    }
    return true;
  }

  void store(const io::Path& name, const detail::CacheKey& content, const Pixels& pixels) {
    if (fault_.load(std::memory_order_relaxed) != nullptr) return;
    detail::CacheHeader header{.recipe = recipe_, .content = content};
    header.hash = hash_of(header, pixels);
    io::TemporaryFile file(name, temporary_);
    file.write({reinterpret_cast<const char*>(&header), sizeof header});
    file.write({reinterpret_cast<const char*>(pixels.data()), pixels.size() * sizeof(std::uint16_t)});
    make_folder(name.parent_path());
    file.commit(io::Durability::process);
  }

  /// Gives the image `name` its second name. What stood there was damaged, or is the same by now.
  void link(const io::Path& name, const io::Path& second_name, const detail::CacheKey& content,
            const Pixels& pixels) {
    if (fault_.load(std::memory_order_relaxed) != nullptr) return;
    make_folder(second_name.parent_path());
    if (::link(name.c_str(), second_name.c_str()) == 0) return;
    if (errno == EEXIST && ::unlink(second_name.c_str()) == 0 &&
        ::link(name.c_str(), second_name.c_str()) == 0)
      return;
    if (errno != EEXIST) store(second_name, content, pixels);  // another process may have been faster
  }

  void make_folders() {
    std::error_code failed;
    ensure(!std::filesystem::exists(folder_, failed) || std::filesystem::is_directory(folder_, failed),
           folder_.string(), ": not a folder, but a cache of images needs one");
    if (folder_.has_parent_path()) std::filesystem::create_directories(folder_.parent_path(), failed);
    const bool made =
        make_folder(folder_) && make_folder(temporary_) && ::access(temporary_.c_str(), W_OK | X_OK) == 0;
    const int error = errno;
    if (!made) stop_writing(concat(folder_.string(), ": cannot write: ", io::detail::reason(error)));
  }
  static bool make_folder(const io::Path& folder) {
    return ::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST;
  }

  void remove_old_temporaries() {
    constexpr std::int64_t hour = 3600;
    const auto now = static_cast<std::int64_t>(std::time(nullptr));
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(temporary_, failed)) {
      struct stat status {};
      if (io::is_temporary_name(entry.path().filename().string()) &&
          ::lstat(entry.path().c_str(), &status) == 0 && status.st_mtim.tv_sec < now - hour)
        ::unlink(entry.path().c_str());
    }
  }

  void stop_writing(const std::string& why) {
    const std::string* none = nullptr;
    auto* fault = new std::string(why);
    if (!fault_.compare_exchange_strong(none, fault)) delete fault;
  }

  io::Path folder_, temporary_;
  Index image_size_;
  std::uint64_t recipe_ = 0;
  std::atomic<Index> hits_{0};
  std::atomic<const std::string*> fault_{nullptr};  // why nothing is written any more; set once
};

}  // namespace vlp::data
