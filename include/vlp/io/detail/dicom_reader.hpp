/// \file
/// One DICOM file: its transfer syntax, its attributes, and its image.
#pragma once

#include <dcmtk/config/osconfig.h>
// DCMTK's other headers need what stands above.
#include <dcmtk/dcmdata/dcerror.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcuid.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/dicom_attributes.hpp>
#include <vlp/io/detail/dicom_elements.hpp>
#include <vlp/io/detail/dicom_pixels.hpp>
#include <vlp/io/detail/dicom_transform.hpp>
#include <vlp/io/detail/gray_rows.hpp>
#include <vlp/io/pixels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

/// A transfer syntax (PS3.5, chapter 10) that is read.
struct DicomTransferSyntax {
  std::string_view uid;
  DicomCoding coding = DicomCoding::native;
  DicomEncoding encoding{};
  bool deflated = false;
};

/// The transfer syntax of that UID. Throws, with its name, for those that are not read.
inline DicomTransferSyntax find_dicom_transfer_syntax(std::string_view uid, const std::string& name) {
  using enum DicomCoding;
  static constexpr DicomTransferSyntax all[]{{"1.2.840.10008.1.2", native, {.explicit_vr = false}},
                                             {"1.2.840.10008.1.2.1"},
                                             {"1.2.840.10008.1.2.1.99", native, {}, true},
                                             {"1.2.840.10008.1.2.2", native, {.big_endian = true}},
                                             {"1.2.840.10008.1.2.4.50", jpeg},
                                             {"1.2.840.10008.1.2.4.51", jpeg},
                                             {"1.2.840.10008.1.2.4.57", jpeg},
                                             {"1.2.840.10008.1.2.4.70", jpeg},
                                             {"1.2.840.10008.1.2.5", rle}};
  const auto found = std::find_if(std::begin(all), std::end(all),
                                  [&](const DicomTransferSyntax& syntax) { return syntax.uid == uid; });
  if (found == std::end(all)) {
    const std::string text(uid.substr(0, 64));
    ensure(!text.empty(), name, ": a DICOM file without TransferSyntaxUID");
    ensure(false, name, ": a DICOM file of a transfer syntax that is not supported (",
           dcmFindNameOfUID(text.c_str(), "unknown"), ", ", text, ")");
  }
  return *found;
}

/// Makes the contents of a deflated data set (RFC 1951), as far as they are asked for.
class DicomInflater {
 public:
  DicomInflater(std::string_view deflated, const std::string& name) : name_(name) {
    ensure(!deflated.empty(), name_, ": truncated DICOM file (no data set)");
    stream_.setBuffer(deflated.data(), static_cast<offile_off_t>(deflated.size()));
    stream_.setEos();
    const OFCondition outcome = stream_.installCompressionFilter(ESC_zlib);
    ensure(outcome.good(), name_, ": a deflated DICOM file, which this DCMTK cannot read");
  }

  /// Lengthens `contents` to `size` bytes, or to the end.
  void inflate(std::string& contents, std::size_t size) {
    constexpr std::size_t step = 1 << 18;  // memory grows with what comes
    while (contents.size() < size) {
      const std::size_t before = contents.size();
      const std::size_t wanted = std::min(step + before, size - before);
      contents.resize(before + wanted);
      const auto got =
          static_cast<std::size_t>(stream_.read(contents.data() + before, static_cast<offile_off_t>(wanted)));
      contents.resize(before + got);
      const OFCondition outcome = stream_.status();
      ensure(outcome.good() || outcome == EC_EndOfStream, name_, ": damaged DICOM file (", outcome.text(),
             ")");
      if (got == 0) return;
    }
  }

 private:
  DcmInputBufferStream stream_;
  const std::string& name_;
};

/// Reads one DICOM file that is in memory, and begins with a preamble and "DICM".
class DicomReader {
 public:
  DicomReader(std::string_view bytes, const std::string& name)
      : bytes_(bytes), name_(name), image_({}, name_) {}
  DicomReader(const DicomReader&) = delete;
  DicomReader& operator=(const DicomReader&) = delete;
  ~DicomReader() = default;

  /// The image, after `admit(pixels)`. To be called once.
  GrayImage read(Index max_pixels, const Admit& admit) {
    read_attributes();
    const DicomShape shape = read_shape();
    ensure_size(name_, shape.width, shape.height, max_pixels);
    const bool grey = shape.channels == 1;
    std::optional<DicomTransform> transform;
    if (grey) transform.emplace(image_);
    ensure_data(shape);
    if (admit) admit(shape.width * shape.height);
    const DicomSamples samples = read_samples(shape);
    GrayImage image{shape.width, shape.height, {}};
    image.pixels.resize(static_cast<std::size_t>(shape.width * shape.height));
    with_samples(samples, shape, [&](const auto& sample) {
      grey ? to_grey(sample, *transform, image) : to_luma(sample, shape, samples.planar, image);
    });
    return image;
  }

 private:
  void read_attributes() {
    constexpr std::size_t preamble = 132;
    const std::string_view file = bytes_.substr(preamble);
    // The group of meta information is encoded alike in all files.
    DicomWalker meta_walker(file, {}, name_);
    DicomAttributes meta({}, name_);
    std::size_t end = 0;
    while (meta_walker.peek().value_or(0) >> 16 == 2) {
      ensure(!meta_walker.next().undefined, name_,
             ": damaged DICOM file (meta information of undefined length)");
      end = meta_walker.position();
    }
    DicomWalker meta_elements(file.substr(0, end), {}, name_);
    meta.read(meta_elements);
    syntax_ = find_dicom_transfer_syntax(meta.text(dicom::transfer_syntax), name_);

    data_ = file.substr(end);
    if (syntax_.deflated) {
      inflater_.emplace(data_, name_);
      inflater_->inflate(inflated_, largest_head);
      data_ = inflated_;
    }
    image_ = DicomAttributes(syntax_.encoding, name_);
    DicomWalker elements(data_, syntax_.encoding, name_);
    image_.read(elements);
    ensure(image_.find(dicom::float_pixels) == nullptr && image_.find(dicom::double_pixels) == nullptr, name_,
           ": a DICOM file with pixels of floating point is not supported");
    ensure(image_.find(dicom::pixels) != nullptr, name_, ": a DICOM file without PixelData");
    ensure(
        image_.find(dicom::shared_groups) == nullptr && image_.find(dicom::frame_groups) == nullptr, name_,
        ": a DICOM file of an enhanced object, whose frames have attributes of their own, is not supported");
  }

  [[nodiscard]] DicomShape read_shape() const {
    DicomShape shape;
    shape.height = image_.required(dicom::rows);
    shape.width = image_.required(dicom::columns);
    ensure(shape.height > 0 && shape.width > 0, name_, ": damaged DICOM file (", shape.width, " x ",
           shape.height, " pixels)");
    const double frames = image_.decimal(dicom::frames).value_or(1);
    ensure(frames <= 1, name_, ": a DICOM file of ", frames, " frames, but a radiograph has one");
    shape.channels = image_.required(dicom::samples_per_pixel);
    shape.allocated = image_.required(dicom::bits_allocated);
    ensure(shape.allocated == 1 || shape.allocated == 8 || shape.allocated == 16, name_,
           ": a DICOM file with BitsAllocated ", shape.allocated, " is not supported; 1, 8 and 16 are");
    const std::string_view kind = image_.text(dicom::photometric);
    ensure(!kind.empty(), name_, ": a DICOM file without PhotometricInterpretation");
    const bool grey = kind == "MONOCHROME1" || kind == "MONOCHROME2";
    shape.half_chroma = kind == "YBR_FULL_422";
    ensure(grey || kind == "RGB" || kind == "YBR_FULL" || shape.half_chroma, name_,
           ": a DICOM image of the kind ", kind.substr(0, 40), " is not supported");
    ensure(shape.channels == (grey ? 1 : 3), name_, ": damaged DICOM file (", kind, " with ", shape.channels,
           " samples per pixel)");
    if (image_.number(dicom::pixel_representation) == 1)
      shape.precision = image_.required(dicom::bits_stored);
    if (grey) return shape;
    shape.planar = image_.number(dicom::planar_configuration).value_or(0) == 1;
    ensure(
        image_.number(dicom::pixel_representation).value_or(0) == 0 && shape.allocated >= 8 &&
            image_.required(dicom::bits_stored) == shape.allocated,
        name_,
        ": a DICOM image in colour with samples other than unsigned ones of 8 or 16 bits is not supported");
    return shape;
  }

  /// Throws where the file cannot hold that many pixels, before memory is taken for them.
  void ensure_data(const DicomShape& shape) const {
    if (syntax_.coding != DicomCoding::native) return;  // whose decoders see to it
    const DicomElement& pixels = *image_.find(dicom::pixels);
    ensure_native_length(pixels, shape, name_);
    ensure(syntax_.deflated || pixels.value.size() >= pixels.length, name_, ": truncated DICOM file (",
           pixels.length, " bytes of pixel data, but ", pixels.value.size(), " are left)");
    ensure(!syntax_.deflated || shape.size() / 1032 <= bytes_.size(), name_, ": truncated DICOM file (",
           bytes_.size(), " bytes cannot hold ", shape.width, " x ", shape.height, " pixels)");
  }

  [[nodiscard]] DicomSamples read_samples(const DicomShape& shape) {
    DicomElement pixels = *image_.find(dicom::pixels);
    if (syntax_.deflated && pixels.value.size() < pixels.length) {
      inflater_->inflate(inflated_, pixels.begin + pixels.length);
      pixels.value = std::string_view(inflated_).substr(pixels.begin);
    }
    return read_dicom_samples(pixels, shape, syntax_.coding, syntax_.encoding, name_);
  }

  /// Calls `convert(sample)`, where sample(i) is the i-th sample as it is stored.
  template <class Convert>
  static void with_samples(const DicomSamples& samples, const DicomShape& shape, const Convert& convert) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(samples.bytes().data());
    if (shape.allocated == 1)  // the lowest bit first
      convert([=](std::size_t i) { return static_cast<std::uint32_t>(bytes[i / 8] >> (i % 8) & 1); });
    else if (shape.allocated == 8)
      convert([=](std::size_t i) { return static_cast<std::uint32_t>(bytes[i]); });
    else if (samples.big_endian)
      convert(
          [=](std::size_t i) { return static_cast<std::uint32_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]); });
    else
      convert(
          [=](std::size_t i) { return static_cast<std::uint32_t>(bytes[2 * i + 1] << 8 | bytes[2 * i]); });
  }

  template <class Sample>
  static void to_grey(const Sample& sample, const DicomTransform& transform, GrayImage& image) {
    const std::size_t count = image.pixels.size();
    std::vector<std::uint8_t> present;
    if (transform.needs_range()) {
      present.resize(std::size_t{1} << transform.stored_bits());
      for (std::size_t i = 0; i < count; ++i) present[transform.index(sample(i))] = 1;
    }
    const std::vector<float> greys = transform.greys(present);
    float* const to = image.pixels.data();
    for (std::size_t i = 0; i < count; ++i) to[i] = greys[transform.index(sample(i))];
  }

  template <class Sample>
  void to_luma(const Sample& sample, const DicomShape& shape, bool planar, GrayImage& image) const {
    const std::size_t count = image.pixels.size();
    const std::size_t step = planar ? 1 : 3, channel = planar ? count : 1;
    const float largest = shape.allocated == 8 ? 255.0F : 65535.0F;
    const bool rgb = image_.text(dicom::photometric) == "RGB";  // else the first channel is the luma
    const auto value = [&](std::size_t i) { return static_cast<float>(sample(i)); };
    for (std::size_t i = 0, at = 0; i < count; ++i, at += step)
      image.pixels[i] =
          in_unit(rgb ? luma(value(at), value(at + channel), value(at + 2 * channel)) : value(at), largest);
  }

  /// Bytes that may precede the pixels of a deflated file.
  static constexpr std::size_t largest_head = 1 << 24;

  std::string_view bytes_;
  const std::string& name_;
  DicomTransferSyntax syntax_;
  std::optional<DicomInflater> inflater_;
  std::string inflated_;
  std::string_view data_;
  DicomAttributes image_;
};

}  // namespace vlp::io::detail
