/// \file
/// JPEG files by libjpeg.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdio>
// libjpeg's own headers need what stands above them.
#include <jpeglib.h>
//
#include <jerror.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/gray_rows.hpp>
#include <vlp/io/detail/guarded.hpp>
#include <vlp/io/detail/orientation.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

/// Decodes one JPEG file that is in memory. Whatever libjpeg warns of and would mend by a guess is an error.
class JpegReader {
 public:
  JpegReader(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }

  /// Passes the rows, as they are stored, to the sink `sink_for(orientation)`, after `admit(pixels)`. To be
  /// called once.
  template <class SinkFor>
  void read(const SinkFor& sink_for, Index max_pixels, const Admit& admit) {
    read_header();
    const Index width = jpeg_.image_width, height = jpeg_.image_height;
    ensure_size(name_, width, height, max_pixels);
    choose_colours();
    if (admit) admit(width * height);
    const int turned = orientation();  // which libjpeg forgets at the end
    const bool many_scans = jpeg_has_multiple_scans(&jpeg_) != 0;
    jpeg_.buffered_image = many_scans ? TRUE : FALSE;
    jpeg_.do_block_smoothing = FALSE;  // a guess at coefficients that have not come
    call([this] { jpeg_start_decompress(&jpeg_); });
    if (many_scans) {
      read_scans();
      call([this] { jpeg_start_output(&jpeg_, jpeg_.input_scan_number); });
    }
    RowSink& sink = sink_for(turned);
    sink.begin(width, height);
    read_rows(sink, static_cast<std::size_t>(width));
    if (!many_scans) call([this] { jpeg_finish_decompress(&jpeg_); });  // as far as the end marker
    jpeg_abort_decompress(&jpeg_);  // gives memory back before more is taken
  }

 private:
  static JpegReader& self(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }
  static JpegReader& self(j_decompress_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }

  /// True for the errors by which libjpeg refuses a sound image.
  static bool is_unsupported(int code) {
    switch (code) {
#if JPEG_LIB_VERSION < 70  // later interfaces always have arithmetic coding
      case JERR_ARITH_NOTIMPL:
#endif
      case JERR_SOF_UNSUPPORTED:
      case JERR_BAD_PRECISION:
      case JERR_CONVERSION_NOTIMPL:
      case JERR_FRACT_SAMPLE_NOTIMPL:
      case JERR_CCIR601_NOTIMPL:
        return true;
      default:
        return false;
    }
  }

  /// Calls libjpeg, and throws what it complains of.
  template <class Step>
  void call(const Step& step) {
    if (guarded(jump_, step)) return;
    ensure(!ran_out_, name_, ": truncated JPEG image (no end marker)");
    const int code = errors_.msg_code;
    ensure(code != JERR_OUT_OF_MEMORY, name_, ": not enough memory to decode it");
    const bool is_jpeg_ls = code == JERR_UNKNOWN_MARKER && errors_.msg_parm.i[0] == 0xF7;
    char reason[JMSG_LENGTH_MAX];
    (*errors_.format_message)(reinterpret_cast<j_common_ptr>(&jpeg_), reason);
    ensure(!is_jpeg_ls && !is_unsupported(code), name_, ": a JPEG image of a kind that is not supported (",
           is_jpeg_ls ? "JPEG-LS" : reason, ")");
    ensure(false, name_, ": damaged or truncated JPEG image (", reason, ")");
  }

  static void on_error(j_common_ptr jpeg) {
    std::longjmp(self(jpeg).jump_, 1);
  }

  static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;  // a remark
    const int code = jpeg->err->msg_code;
    // A version number, and numbers of a scan that some baseline encoders left 0, change no pixel.
    if (code == JWRN_JFIF_MAJOR || code == JWRN_NOT_SEQUENTIAL) return;
    if (code == JWRN_EXTRANEOUS_DATA && self(jpeg).skipped_only_padding()) return;
    on_error(jpeg);
  }

  /// True when the bytes that libjpeg has just skipped in search of a marker are all 0.
  [[nodiscard]] bool skipped_only_padding() const {
    const std::size_t at = bytes_.size() - source_.bytes_in_buffer;
    const auto skipped = static_cast<std::size_t>(errors_.msg_parm.i[0]);
    const std::string_view part = skipped <= at ? bytes_.substr(at - skipped, skipped) : bytes_;
    return std::all_of(part.begin(), part.end(), [](char byte) { return byte == 0; });
  }

  static boolean on_end_of_bytes(j_decompress_ptr jpeg) {
    self(jpeg).ran_out_ = true;
    on_error(reinterpret_cast<j_common_ptr>(jpeg));
    return FALSE;
  }

  static void skip(j_decompress_ptr jpeg, long count) {
    if (count <= 0) return;
    jpeg_source_mgr& source = *jpeg->src;
    if (static_cast<std::size_t>(count) > source.bytes_in_buffer) on_end_of_bytes(jpeg);
    source.next_input_byte += count;
    source.bytes_in_buffer -= static_cast<std::size_t>(count);
  }

  void read_header() {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    jpeg_.client_data = this;
    call([this] { jpeg_create_decompress(&jpeg_); });
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes_.data());
    source_.bytes_in_buffer = bytes_.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = on_end_of_bytes;
    source_.skip_input_data = skip;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    jpeg_.src = &source_;
    call([this] {
      jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xFFFF);
      jpeg_read_header(&jpeg_, TRUE);
    });
    ensure(jpeg_.data_precision == 8, name_, ": a JPEG image of a kind that is not supported (",
           jpeg_.data_precision, " bits per sample)");
  }

  void choose_colours() {
    switch (jpeg_.jpeg_color_space) {
      case JCS_GRAYSCALE:
      case JCS_YCbCr:
        jpeg_.out_color_space = JCS_GRAYSCALE;
        break;  // Y is the luma
      case JCS_RGB:
        jpeg_.out_color_space = JCS_RGB;
        break;
      case JCS_CMYK:
      case JCS_YCCK:
        jpeg_.out_color_space = JCS_CMYK;
        break;
      default:
        ensure(false, name_, ": a JPEG image of a kind that is not supported (", jpeg_.num_components,
               " components)");
    }
  }

  /// Takes in all scans of an image that has several, so that no pixel is shown before it is complete.
  void read_scans() {
    // Encoders make up to a dozen or two. Each costs time by the number of pixels however short it is.
    const Index pixels = static_cast<Index>(jpeg_.image_width) * jpeg_.image_height;
    const Index max_scans = std::clamp((Index{1} << 30) / pixels, Index{20}, Index{100});
    std::array<bool, MAX_COMPONENTS> seen{};
    int status = JPEG_REACHED_SOS;  // where reading the header ended
    while (status != JPEG_REACHED_EOI) {
      if (status == JPEG_REACHED_SOS) {
        ensure(jpeg_.input_scan_number <= max_scans, name_, ": a JPEG image of ", jpeg_.image_width, " x ",
               jpeg_.image_height, " pixels in more than ", max_scans, " scans");
        for (int i = 0; i < jpeg_.comps_in_scan; ++i)
          seen[static_cast<std::size_t>(jpeg_.cur_comp_info[i]->component_index)] = true;
      }
      call([&] {
        do status = jpeg_consume_input(&jpeg_);
        while (status != JPEG_REACHED_SOS && status != JPEG_REACHED_EOI);
      });
    }
    for (int i = 0; i < jpeg_.num_components; ++i) {
      const auto exact = [](int missing_bits) { return missing_bits == 0; };
      const bool complete = seen[static_cast<std::size_t>(i)] &&
                            (jpeg_.coef_bits == nullptr ||
                             std::all_of(jpeg_.coef_bits[i], jpeg_.coef_bits[i] + DCTSIZE2, exact));
      ensure(complete, name_, ": truncated JPEG image (a scan is missing)");
    }
  }

  void read_rows(RowSink& sink, std::size_t width) {
    constexpr std::size_t rows_at_once = 16;
    const auto channels = static_cast<std::size_t>(jpeg_.output_components);
    std::vector<JSAMPLE> samples(rows_at_once * width * channels);
    std::array<JSAMPROW, rows_at_once> rows;
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = &samples[i * width * channels];
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JDIMENSION count = 0;
      call([&] { count = jpeg_read_scanlines(&jpeg_, rows.data(), rows_at_once); });
      ensure(count > 0, name_, ": damaged or truncated JPEG image");
      for (JDIMENSION i = 0; i < count; ++i) {
        to_gray(rows[i], width, sink.next_row());
        sink.finish_row();
      }
    }
  }

  /// The grey of a row of `width` pixels.
  void to_gray(const JSAMPLE* from, std::size_t width, float* to) const {
    if (jpeg_.out_color_space == JCS_GRAYSCALE) {
#pragma omp simd
      for (std::size_t x = 0; x < width; ++x) to[x] = in_unit(from[x], 255);
    } else if (jpeg_.out_color_space == JCS_RGB) {
      for (std::size_t x = 0; x < width; ++x, from += 3)
        to[x] = in_unit(luma(from[0], from[1], from[2]), 255);
    } else {  // Adobe's convention, which other encoders follow: 255 is no ink
      for (std::size_t x = 0; x < width; ++x, from += 4)
        to[x] = in_unit(luma(from[0], from[1], from[2]) * from[3], 255 * 255);
    }
  }

  [[nodiscard]] int orientation() const {
    constexpr std::string_view prefix("Exif\0\0", 6);
    for (auto* marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
      const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
      if (data.substr(0, prefix.size()) == prefix) return orientation_of(data.substr(prefix.size()));
    }
    return 1;
  }

  std::string_view bytes_;
  const std::string& name_;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  std::jmp_buf jump_{};
  bool ran_out_ = false;
};

}  // namespace vlp::io::detail
