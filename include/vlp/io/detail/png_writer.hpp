/// \file
/// PNG files made by libpng.
#pragma once

#include <png.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/guarded.hpp>

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

namespace vlp::io::detail {

/// Encodes one PNG file in memory.
class PngWriter {
 public:
  explicit PngWriter(const std::string& name) : name_(name) {}
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }

  /// The file of [height, width, channels] samples of 8 bits; 1 channel is grey and 3 are colour. To be
  /// called once.
  std::string write(Index width, Index height, int channels, const std::uint8_t* samples) {
    const auto ignore = [](png_structp, png_const_charp) {};
    call([&] { png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, on_error, ignore); });
    ensure(png_ != nullptr, name_, ": cannot write: not enough memory, or another libpng than compiled for");
    call([&] {
      info_ = png_create_info_struct(png_);
      if (info_ == nullptr) png_error(png_, "not enough memory");
      png_set_write_fn(png_, this, on_write, [](png_structp) {});
      png_set_IHDR(png_, info_, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                   channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                   PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
      png_write_info(png_, info_);
      for (Index y = 0; y < height; ++y) png_write_row(png_, samples + y * width * channels);
      png_write_end(png_, info_);
    });
    return std::move(bytes_);
  }

 private:
  template <class Step>
  void call(const Step& step) {
    ensure(guarded(jump_, step), name_, ": cannot write: ", reason_.data());
  }

  static void on_error(png_structp png, png_const_charp reason) {
    PngWriter& writer = *static_cast<PngWriter*>(png_get_error_ptr(png));
    std::snprintf(writer.reason_.data(), writer.reason_.size(), "%s", reason);
    std::longjmp(writer.jump_, 1);
  }

  /// Keeps the bytes; false when there is no memory for them. No exception may pass through libpng, and no
  /// jump may leave a handler of exceptions.
  bool keep(png_bytep data, std::size_t count) noexcept {
    try {
      bytes_.append(reinterpret_cast<const char*>(data), count);
      return true;
    } catch (...) {
      return false;
    }
  }

  static void on_write(png_structp png, png_bytep data, std::size_t count) {
    if (!static_cast<PngWriter*>(png_get_io_ptr(png))->keep(data, count)) png_error(png, "not enough memory");
  }

  const std::string& name_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_{};
  std::array<char, 256> reason_{};
  std::string bytes_;
};

}  // namespace vlp::io::detail
