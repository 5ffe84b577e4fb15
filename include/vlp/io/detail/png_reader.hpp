/// \file
/// PNG files by libpng.
#pragma once

#include <png.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/gray_rows.hpp>
#include <vlp/io/detail/guarded.hpp>
#include <vlp/io/detail/orientation.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

/// Decodes one PNG file that is in memory. All checksums must be right, and the data must fill the image.
class PngReader {
 public:
  PngReader(std::string_view bytes, const std::string& name) : bytes_(bytes), rest_(bytes), name_(name) {}
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  /// Passes the rows, as they are stored, to the sink `sink_for(orientation)`, after `admit(pixels)`. To be
  /// called once.
  template <class SinkFor>
  void read(const SinkFor& sink_for, Index max_pixels, const Admit& admit) {
    read_header();
    ensure_size(name_, width_, height_, max_pixels);
    ensure_data();
    if (admit) admit(width_ * height_);
    if (depth_ <= 8 && channels_ == 1) make_table();
    call([this] {
      png_set_packing(png_);  // samples of less than 8 bits, each to a byte
      png_read_update_info(png_, info_);
    });
    const Chunks chunks = find_chunks();
    RowSink& sink = sink_for(orientation_of(chunks.exif));
    sink.begin(width_, height_);
    if (interlaced_)
      read_passes(sink, chunks.data_end);
    else
      read_rows(sink, chunks.data_end);
    call([this] { png_read_end(png_, nullptr); });
  }

 private:
  static PngReader& self(void* pointer) { return *static_cast<PngReader*>(pointer); }

  /// Calls libpng, and throws what it complains of.
  template <class Step>
  void call(const Step& step) {
    if (guarded(jump_, step)) return;
    ensure(!ran_out_, name_, ": truncated PNG image (no end chunk)");
    ensure(false, name_, ": damaged or truncated PNG image (", reason_.data(), ")");
  }

  static void on_error(png_structp png, png_const_charp reason) {
    PngReader& reader = self(png_get_error_ptr(png));
    std::snprintf(reader.reason_.data(), reader.reason_.size(), "%s", reason);
    std::longjmp(reader.jump_, 1);
  }

  static void on_read(png_structp png, png_bytep to, std::size_t count) {
    PngReader& reader = self(png_get_io_ptr(png));
    if (count > reader.rest_.size()) {
      reader.ran_out_ = true;
      png_error(png, "no end");
    }
    std::memcpy(to, reader.rest_.data(), count);
    reader.rest_.remove_prefix(count);
  }

  void read_header() {
    const auto ignore = [](png_structp, png_const_charp) {};
    call([&] { png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, ignore); });
    ensure(png_ != nullptr, name_, ": not enough memory to decode it, or another libpng than compiled for");
    call([this] {
      info_ = png_create_info_struct(png_);
      if (info_ == nullptr) png_error(png_, "not enough memory");
      png_set_read_fn(png_, this, on_read);
      png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
      png_set_benign_errors(png_, 0);  // an error all the same, such as a wrong checksum of the data
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ensure_size has others
      png_set_chunk_malloc_max(png_, 0);  // none is kept, and none is longer than the file
      // Text, colour profiles and transparency change no pixel, so they can neither harm nor be wrong.
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
      constexpr std::array<png_byte, 5> transparency{'t', 'R', 'N', 'S', 0};
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, transparency.data(), 1);
#ifdef PNG_MAXIMUM_INFLATE_WINDOW
      png_set_option(png_, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);  // some encoders note one too small
#endif
      png_read_info(png_, info_);
      width_ = png_get_image_width(png_, info_);
      height_ = png_get_image_height(png_, info_);
      depth_ = png_get_bit_depth(png_, info_);
      channels_ = png_get_channels(png_, info_);
      colour_type_ = png_get_color_type(png_, info_);
      interlaced_ = png_get_interlace_type(png_, info_) == PNG_INTERLACE_ADAM7;
    });
  }

  /// Throws where the file is too short for that many pixels, before memory is taken for them: deflate makes
  /// 258 bytes of 2 bits at best (RFC 1951).
  void ensure_data() const {
    const auto bits = static_cast<std::size_t>(depth_) * static_cast<std::size_t>(channels_);
    const std::size_t raw = static_cast<std::size_t>(width_ * height_) * bits / 8;
    ensure(raw / 1032 <= bytes_.size(), name_, ": truncated PNG image (", bytes_.size(),
           " bytes cannot hold ", width_, " x ", height_, " pixels)");
  }

  /// Notes the grey of each value that a pixel of 1, 2, 4 or 8 bits can have.
  void make_table() {
    if (colour_type_ != PNG_COLOR_TYPE_PALETTE) {
      values_ = 1 << depth_;
      const int step = 255 / (values_ - 1);
      for (int i = 0; i < values_; ++i)
        table_[static_cast<std::size_t>(i)] = in_unit(static_cast<float>(i * step), 255);
      return;
    }
    png_colorp palette = nullptr;
    call([&] { png_get_PLTE(png_, info_, &palette, &values_); });
    for (int i = 0; i < values_; ++i)
      table_[static_cast<std::size_t>(i)] =
          in_unit(luma(palette[i].red, palette[i].green, palette[i].blue), 255);
  }

  struct Pass {
    int columns, rows;
  };

  /// The size of one of the seven smaller images as which an interlaced one comes.
  [[nodiscard]] Pass pass_of(int pass) const {
    const int width = static_cast<int>(width_), height = static_cast<int>(height_);
    const int columns = PNG_PASS_COLS(width, pass);
    return {columns, columns == 0 ? 0 : PNG_PASS_ROWS(height, pass)};
  }

  /// Reads all rows, of data that end at `data_end`.
  void read_rows(RowSink& sink, std::size_t data_end) {
    std::vector<png_byte> row(png_get_rowbytes(png_, info_));
    for (Index y = 0; y < height_; ++y) {
      if (y + 1 == height_) ensure_end(row.size(), data_end);
      call([&] { png_read_row(png_, row.data(), nullptr); });
      to_gray(row.data(), static_cast<int>(width_), sink.next_row());
      sink.finish_row();
    }
  }

  /// Reads an interlaced image, which is complete only when all of it has been read.
  void read_passes(RowSink& sink, std::size_t data_end) {
    std::vector<png_byte> row(png_get_rowbytes(png_, info_));
    std::vector<float> gray(static_cast<std::size_t>(width_));
    GrayImage image = make_gray_image(width_, height_);
    int left = 0;
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass) left += pass_of(pass).rows;
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass) {
      const auto [columns, rows] = pass_of(pass);
      for (int y = 0; y < rows; ++y) {
        if (--left == 0) ensure_end(row.size(), data_end);
        call([&] { png_read_row(png_, row.data(), nullptr); });
        to_gray(row.data(), columns, gray.data());
        for (int x = 0; x < columns; ++x)
          image.at(PNG_COL_FROM_PASS_COL(x, pass), PNG_ROW_FROM_PASS_ROW(y, pass)) =
              gray[static_cast<std::size_t>(x)];
      }
    }
    for (Index y = 0; y < height_; ++y) {
      std::copy_n(&image.at(0, y), width_, sink.next_row());
      sink.finish_row();
    }
  }

  /// Throws, before the last row of `row_size` bytes, when there are more data than it takes. libpng would
  /// decompress them, up to a thousand times their size, to say that they are too many.
  void ensure_end(std::size_t row_size, std::size_t data_end) const {
    const std::size_t at = bytes_.size() - rest_.size();
    constexpr std::size_t around = 1 << 16;  // what a compressor may add
    ensure(data_end < at + 2 * row_size + around, name_, ": damaged PNG image (more data than pixels)");
  }

  /// The grey of `count` pixels. Alpha is left out.
  void to_gray(const png_byte* from, int count, float* to) const {
    if (depth_ == 16) {
      const auto sample = [&](int channel) {
        return static_cast<float>(from[2 * channel] << 8 | from[2 * channel + 1]);
      };
      for (int x = 0; x < count; ++x, from += 2 * channels_)
        to[x] = in_unit(channels_ < 3 ? sample(0) : luma(sample(0), sample(1), sample(2)), 65535);
    } else if (channels_ == 1) {
      for (int x = 0; x < count; ++x) {
        ensure(from[x] < values_, name_, ": damaged PNG image (a pixel of colour ", int{from[x]},
               " of a palette of ", values_, ")");
        to[x] = table_[from[x]];
      }
    } else {
      for (int x = 0; x < count; ++x, from += channels_)
        to[x] = in_unit(channels_ < 3 ? static_cast<float>(from[0]) : luma(from[0], from[1], from[2]), 255);
    }
  }

  struct Chunks {
    std::size_t data_end = 0;  // where the last of the image's data end
    std::string_view exif;
  };

  /// Walks over the chunks, as far as their lengths lead; libpng finds what is wrong with them.
  [[nodiscard]] Chunks find_chunks() const {
    Chunks chunks;
    std::size_t at = 8;                 // behind the signature
    constexpr std::size_t around = 12;  // bytes of length, type and checksum
    while (bytes_.size() - at >= around) {
      const std::size_t length = png_get_uint_32(reinterpret_cast<png_const_bytep>(bytes_.data() + at));
      const std::string_view type = bytes_.substr(at + 4, 4);
      if (length > bytes_.size() - at - around || type == "IEND") break;
      if (type == "IDAT") chunks.data_end = at + around + length;
      if (type == "eXIf") chunks.exif = bytes_.substr(at + 8, length);
      at += around + length;
    }
    return chunks;
  }

  std::string_view bytes_, rest_;
  const std::string& name_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_{};
  std::array<char, 256> reason_{};
  bool ran_out_ = false;
  Index width_ = 0, height_ = 0;
  int depth_ = 0, channels_ = 0, colour_type_ = 0;
  bool interlaced_ = false;
  std::array<float, 256> table_{};
  int values_ = 0;
};

}  // namespace vlp::io::detail
