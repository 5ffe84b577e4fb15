/// \file
/// The samples of a DICOM image, from pixel data of any coding (PS3.5, chapter 8 and annexes A and G).
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/dicom_attributes.hpp>
#include <vlp/io/detail/dicom_elements.hpp>
#include <vlp/io/detail/dicom_jpeg.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

/// How the pixels of a file are coded.
enum class DicomCoding { native, rle, jpeg };

/// The extents of an image and of its samples, as its attributes have them.
struct DicomShape {
  Index width = 0, height = 0;
  int channels = 1;          ///< samples per pixel
  int allocated = 8;         ///< bits from one sample to the next: 1, 8 or 16
  int precision = 1;         ///< bits that a compressed sample must have: of signed ones all that are stored
  bool planar = false;       ///< each channel on its own, one after the other
  bool half_chroma = false;  ///< Two pixels share their chroma, as in YBR_FULL_422.

  [[nodiscard]] std::size_t samples() const { return static_cast<std::size_t>(width * height * channels); }
  /// The bytes of all samples.
  [[nodiscard]] std::size_t size() const {
    return allocated == 1 ? (samples() + 7) / 8 : samples() * static_cast<std::size_t>(allocated / 8);
  }
};

/// The samples of an image: in its file, or decoded from it.
struct DicomSamples {
  std::string decoded;
  std::string_view native;
  bool big_endian = false;
  bool planar = false;

  [[nodiscard]] std::string_view bytes() const { return decoded.empty() ? native : decoded; }
};

/// Throws unless uncompressed pixel data have the length of their image, or more that is no second one: some
/// writers pad it.
inline void ensure_native_length(const DicomElement& pixels, const DicomShape& shape,
                                 const std::string& name) {
  const std::size_t size = shape.size();
  ensure(!pixels.undefined, name, ": damaged DICOM file (uncompressed pixel data of undefined length)");
  ensure(!shape.half_chroma, name,
         ": a DICOM image of the kind YBR_FULL_422 that is not compressed is not supported");
  ensure(pixels.length >= size && (pixels.length <= size + size % 2 || pixels.length < 2 * size), name,
         ": damaged DICOM file (", pixels.length, " bytes of pixel data, but ", shape.width, " x ",
         shape.height, " pixels take ", size, ")");
}

/// The pixel data of uncompressed images, as they lie in the file. Their length must be right.
inline DicomSamples native_samples(const DicomElement& pixels, const DicomShape& shape,
                                   DicomEncoding encoding, const std::string& name) {
  const std::size_t size = shape.size();
  ensure(pixels.value.size() >= pixels.length, name, ": truncated DICOM file (", pixels.length,
         " bytes of pixel data, but ", pixels.value.size(), " are left)");
  DicomSamples samples{{}, pixels.value.substr(0, size), encoding.big_endian, shape.planar};
  if (encoding.big_endian && shape.allocated < 16 && pixels.vr == "OW") {  // bytes in words
    ensure(pixels.value.size() % 2 == 0, name, ": damaged DICOM file (an odd number of bytes in words)");
    samples.decoded.resize(size);
    for (std::size_t i = 0; i < size; ++i) samples.decoded[i] = pixels.value[i ^ 1];
  }
  return samples;
}

/// Decodes one segment of PackBits (PS3.5, G.3) to every `step`-th byte of `to`, `count` of them.
inline void decode_rle_segment(std::string_view segment, char* to, std::size_t step, std::size_t count,
                               const std::string& name) {
  std::size_t at = 0, done = 0;
  while (done < count) {
    ensure(at < segment.size(), name, ": truncated RLE data of a DICOM file");
    const int control = static_cast<signed char>(segment[at++]);
    if (control == -128) continue;  // nothing
    const auto run = static_cast<std::size_t>(control < 0 ? 1 - control : 1 + control);
    const std::size_t taken = control < 0 ? 1 : run;
    ensure(segment.size() - at >= taken, name, ": truncated RLE data of a DICOM file");
    ensure(run <= count - done, name, ": damaged RLE data of a DICOM file (more bytes than pixels)");
    for (std::size_t i = 0; i < run; ++i, to += step) *to = segment[at + (control < 0 ? 0 : i)];
    at += taken;
    done += run;
  }
}

/// Decodes a frame of RLE (PS3.5, annex G): for each channel its bytes, the highest ones first.
inline DicomSamples rle_samples(std::string_view frame, const DicomShape& shape, const std::string& name) {
  constexpr std::size_t header = 64, longest_run = 128;
  const DicomEncoding little{};
  const auto bytes = static_cast<std::size_t>(shape.allocated / 8);
  const std::size_t segments = static_cast<std::size_t>(shape.channels) * bytes;
  ensure(shape.allocated >= 8 && frame.size() >= header && little.number32(frame) == segments, name,
         ": damaged RLE data of a DICOM file (its header is not that of ", shape.channels, " channels of ",
         shape.allocated, " bits)");
  ensure(shape.size() / longest_run <= frame.size() / 2, name, ": truncated RLE data of a DICOM file (",
         frame.size(), " bytes cannot hold ", shape.width, " x ", shape.height, " pixels)");
  const auto offset = [&](std::size_t i) -> std::size_t {
    return i == segments ? frame.size() : little.number32(frame.substr(4 + 4 * i));
  };
  DicomSamples samples;
  samples.decoded.resize(shape.size());
  for (std::size_t i = 0; i < segments; ++i) {
    ensure(offset(i) >= header && offset(i) <= offset(i + 1) && offset(i + 1) <= frame.size(), name,
           ": damaged RLE data of a DICOM file (segment ", i + 1, " is not in it)");
    const std::size_t channel = i / bytes,
                      byte = bytes - 1 - i % bytes;  // the lowest byte comes to be the first
    decode_rle_segment(frame.substr(offset(i), offset(i + 1) - offset(i)),
                       samples.decoded.data() + channel * bytes + byte, segments,
                       static_cast<std::size_t>(shape.width * shape.height), name);
  }
  return samples;
}

/// Decodes a JPEG stream whose size is that of the image.
inline DicomSamples jpeg_samples(std::string_view stream, const DicomShape& shape, const std::string& name) {
  using Process = JpegFrame::Process;
  const JpegFrame frame = inspect_jpeg(stream, name);
  const bool lossless = frame.process == Process::lossless;
  ensure(lossless || frame.process == Process::baseline || frame.process == Process::extended, name,
         ": a DICOM file whose JPEG data are of a process that its transfer syntax does not name");
  ensure(frame.width == shape.width && frame.height == shape.height && frame.components == shape.channels,
         name, ": damaged DICOM file (", shape.width, " x ", shape.height, " pixels of ", shape.channels,
         ", but JPEG data of ", frame.width, " x ", frame.height, " pixels of ", frame.components, ")");
  ensure(frame.precision >= shape.precision && frame.precision <= shape.allocated, name,
         ": damaged DICOM file (JPEG data of ", frame.precision, " bits, BitsAllocated ", shape.allocated,
         ")");
  // A sample takes a bit or more without loss, and a block of 64 two bits or more with loss.
  ensure(shape.samples() / (lossless ? 8 : 256) <= stream.size(), name,
         ": truncated JPEG data of a DICOM file (", stream.size(), " bytes cannot hold ", shape.width, " x ",
         shape.height, " pixels)");
  const std::size_t bytes = frame.precision > 8 ? 2 : 1;
  constexpr std::size_t largest = std::numeric_limits<std::uint32_t>::max();
  ensure(stream.size() <= largest && bytes * shape.samples() <= largest, name, ": an image of ", shape.width,
         " x ", shape.height, " pixels is too large for DCMTK");

  std::string decoded(bytes * shape.samples(), '\0');
  if (frame.precision <= 8)
    decode_jpeg<DJDecompressIJG8Bit>(stream, frame, decoded, name);
  else if (frame.precision <= 12)
    decode_jpeg<DJDecompressIJG12Bit>(stream, frame, decoded, name);
  else
    decode_jpeg<DJDecompressIJG16Bit>(stream, frame, decoded, name);
  DicomSamples samples;
  samples.big_endian = std::endian::native == std::endian::big;
  if (bytes == 1 && shape.allocated == 16) {  // each to a word
    samples.decoded.resize(2 * decoded.size());
    for (std::size_t i = 0; i < decoded.size(); ++i)
      samples.decoded[2 * i + (samples.big_endian ? 1 : 0)] = decoded[i];
  } else {
    samples.decoded = std::move(decoded);
  }
  return samples;
}

/// The samples of an image. Compressed ones take as many bytes of memory as they have, and a compressed frame
/// of several fragments as many as it has.
inline DicomSamples read_dicom_samples(const DicomElement& pixels, const DicomShape& shape,
                                       DicomCoding coding, DicomEncoding encoding, const std::string& name) {
  if (coding == DicomCoding::native) return native_samples(pixels, shape, encoding, name);
  ensure(pixels.undefined, name, ": damaged DICOM file (compressed pixel data of a given length)");
  DicomWalker items(pixels.value, encoding, name);
  ensure(items.next_item().has_value(), name, ": damaged DICOM file (compressed pixel data without items)");
  std::string_view frame;
  std::string joined;
  while (items.position() < pixels.value.size()) {
    const std::optional<std::string_view> fragment = items.next_item();
    if (!fragment) {  // at its delimiter
      if (!joined.empty()) frame = joined;
      return coding == DicomCoding::rle ? rle_samples(frame, shape, name) : jpeg_samples(frame, shape, name);
    }
    if (frame.empty()) {
      frame = *fragment;
    } else {
      if (joined.empty()) joined = frame;
      joined += *fragment;
    }
  }
  ensure(false, name, ": truncated DICOM file (its pixel data have no end)");
  return {};
}

}  // namespace vlp::io::detail
