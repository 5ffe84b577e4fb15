/// \file
/// Files that were compressed by gzip (RFC 1952), read by zlib.
#pragma once

#include <zlib.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace vlp::io {

/// Options of gunzip and read_unpacked_file.
struct GunzipOptions {
  /// Data that unpack to more are refused, so that a few bytes cannot fill the memory.
  std::uint64_t max_bytes = std::uint64_t{1} << 30;
  StopToken stop = {};  ///< asked between parts of the data
};

/// Tells whether `bytes` begin as gzip's files do. No text in UTF-8 begins so.
[[nodiscard]] constexpr bool is_gzip(std::string_view bytes) {
  return bytes.starts_with("\x1f\x8b");
}

namespace detail {

/// zlib's decompressor, with the bytes it has unpacked so far.
class Gunzip {
 public:
  Gunzip(std::string_view bytes, std::string_view name, const GunzipOptions& options)
      : bytes_(bytes), name_(name), options_(options) {
    constexpr int window_bits = 15, gzip_alone = 16;
    if (::inflateInit2(&stream_, window_bits + gzip_alone) != Z_OK) throw std::bad_alloc();
  }
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;
  ~Gunzip() { ::inflateEnd(&stream_); }

  std::string read() {
    ensure(is_gzip(bytes_), name_, ": not gzip data");
    do {
      unpack_member();
    } while (goes_on());
    return std::move(out_);
  }

 private:
  /// Unpacks one member to its end, where zlib compares checksum and length.
  void unpack_member() {
    while (true) {
      options_.stop.check();
      const std::size_t given = std::min(piece_.size(), bytes_.size() - at_);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes_.data()) + at_);
      stream_.avail_in = static_cast<uInt>(given);
      stream_.next_out = reinterpret_cast<Bytef*>(piece_.data());
      stream_.avail_out = static_cast<uInt>(piece_.size());
      const int result = ::inflate(&stream_, Z_NO_FLUSH);
      at_ += given - stream_.avail_in;
      if (result == Z_MEM_ERROR) throw std::bad_alloc();
      ensure(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR, name_,
             ": damaged gzip data, at byte ", at_, " (", stream_.msg == nullptr ? "zlib fails" : stream_.msg,
             ")");
      const std::size_t got = piece_.size() - stream_.avail_out;
      ensure(out_.size() + got <= options_.max_bytes, name_, ": ", bytes_.size(),
             " bytes of gzip data unpack to more than the ", options_.max_bytes, " bytes that are read");
      out_.append(piece_, 0, got);
      if (result == Z_STREAM_END) return;
      ensure(at_ < bytes_.size() || stream_.avail_out == 0, name_, ": gzip data that are cut off after ",
             bytes_.size(), " bytes");
    }
  }

  /// Tells whether another member follows. Zeros alone are padding, as on tapes and in blocks of a disk.
  bool goes_on() {
    const std::string_view rest = bytes_.substr(at_);
    if (rest.find_first_not_of('\0') == rest.npos) return false;
    ensure(is_gzip(rest), name_, ": ", rest.size(), " bytes after the end of the gzip data, at byte ", at_,
           ", are no gzip data");
    return ::inflateReset(&stream_) == Z_OK;
  }

  std::string_view bytes_, name_;
  GunzipOptions options_;
  z_stream stream_{};
  std::size_t at_ = 0;  // of bytes_: what comes next
  std::string out_, piece_ = std::string(std::size_t{1} << 18, '\0');
};

}  // namespace detail

/// Unpacks gzip data, all members that follow one another, with checksums and lengths compared; zeros at the
/// end are padding. Memory grows with what is unpacked. Throws std::runtime_error, naming `name` and the byte
/// or the sizes, for data that are damaged, cut off or followed by something else, and for more than
/// `max_bytes`; Stopped.
[[nodiscard]] inline std::string gunzip(std::string_view bytes, std::string_view name,
                                        const GunzipOptions& options = {}) {
  try {
    return detail::Gunzip(bytes, name, options).read();
  } catch (const std::bad_alloc&) {
    ensure(false, name, ": cannot unpack: out of memory");
  }
  return {};
}

/// Returns the bytes of a file, unpacked if they are gzip data, whatever its name. `max_bytes` holds for the
/// file and for what it unpacks to. Throws what read_file and gunzip throw.
[[nodiscard]] inline std::string read_unpacked_file(const Path& path, const GunzipOptions& options = {}) {
  std::string bytes = read_file(path, {.max_bytes = options.max_bytes, .stop = options.stop});
  return is_gzip(bytes) ? gunzip(bytes, path.string(), options) : bytes;
}

}  // namespace vlp::io
