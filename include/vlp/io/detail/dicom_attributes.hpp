/// \file
/// The attributes of a DICOM image that say what its pixels mean (PS3.6, chapter 6).
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/io/detail/dicom_elements.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

/// An attribute that is read, by its tag and its name in the standard.
struct DicomAttribute {
  DicomTag tag;
  const char* name;
};

namespace dicom {

inline constexpr DicomAttribute transfer_syntax{0x00020010, "TransferSyntaxUID"},
    samples_per_pixel{0x00280002, "SamplesPerPixel"}, photometric{0x00280004, "PhotometricInterpretation"},
    planar_configuration{0x00280006, "PlanarConfiguration"}, frames{0x00280008, "NumberOfFrames"},
    rows{0x00280010, "Rows"}, columns{0x00280011, "Columns"}, bits_allocated{0x00280100, "BitsAllocated"},
    bits_stored{0x00280101, "BitsStored"}, high_bit{0x00280102, "HighBit"},
    pixel_representation{0x00280103, "PixelRepresentation"}, padding_value{0x00280120, "PixelPaddingValue"},
    padding_limit{0x00280121, "PixelPaddingRangeLimit"}, window_center{0x00281050, "WindowCenter"},
    window_width{0x00281051, "WindowWidth"}, rescale_intercept{0x00281052, "RescaleIntercept"},
    rescale_slope{0x00281053, "RescaleSlope"}, window_function{0x00281056, "VOILUTFunction"},
    modality_luts{0x00283000, "ModalityLUTSequence"}, lut_descriptor{0x00283002, "LUTDescriptor"},
    lut_data{0x00283006, "LUTData"}, voi_luts{0x00283010, "VOILUTSequence"},
    presentation_shape{0x20500020, "PresentationLUTShape"},
    shared_groups{0x52009229, "SharedFunctionalGroupsSequence"},
    frame_groups{0x52009230, "PerFrameFunctionalGroupsSequence"}, float_pixels{0x7FE00008, "FloatPixelData"},
    double_pixels{0x7FE00009, "DoubleFloatPixelData"}, pixels{dicom_pixel_data, "PixelData"};

/// The attributes of a data set that are read; all others are stepped over.
inline constexpr DicomAttribute of_image[]{transfer_syntax,
                                           samples_per_pixel,
                                           photometric,
                                           planar_configuration,
                                           frames,
                                           rows,
                                           columns,
                                           bits_allocated,
                                           bits_stored,
                                           high_bit,
                                           pixel_representation,
                                           padding_value,
                                           padding_limit,
                                           window_center,
                                           window_width,
                                           rescale_intercept,
                                           rescale_slope,
                                           window_function,
                                           modality_luts,
                                           lut_descriptor,
                                           lut_data,
                                           voi_luts,
                                           presentation_shape,
                                           shared_groups,
                                           frame_groups,
                                           float_pixels,
                                           double_pixels,
                                           pixels};

}  // namespace dicom

/// The elements of one data set, or of one item of a sequence, that are among dicom::of_image.
class DicomAttributes {
 public:
  DicomAttributes(DicomEncoding encoding, const std::string& name) : encoding_(encoding), name_(&name) {}

  /// Reads elements up to the end, the end of the item, or the pixel data, behind which nothing changes a
  /// pixel.
  void read(DicomWalker& walker) {
    while (const std::optional<DicomTag> tag = walker.peek()) {
      if (*tag == DicomWalker::item_end) return;
      const DicomElement element = walker.next();
      ensure(*tag >> 16 != DicomWalker::item >> 16, *name_, ": damaged DICOM file (", dicom_tag_text(*tag),
             " outside of a sequence)");
      const auto wanted =
          std::find_if(std::begin(dicom::of_image), std::end(dicom::of_image),
                       [&](const DicomAttribute& attribute) { return attribute.tag == *tag; });
      if (wanted != std::end(dicom::of_image)) {
        ensure(find(*wanted) == nullptr, *name_, ": damaged DICOM file (", wanted->name, " is there twice)");
        elements_.push_back(element);
        if (*tag == dicom_pixel_data) return;
      }
      if (element.undefined) walker.skip_sequence(element);
    }
  }

  [[nodiscard]] const DicomEncoding& encoding() const { return encoding_; }
  [[nodiscard]] const std::string& name() const { return *name_; }

  /// The element, or null where there is none.
  [[nodiscard]] const DicomElement* find(const DicomAttribute& attribute) const {
    const auto found = std::find_if(elements_.begin(), elements_.end(), [&](const DicomElement& element) {
      return element.tag == attribute.tag;
    });
    return found == elements_.end() ? nullptr : &*found;
  }

  /// The text without padding, up to a backslash where there are several values; empty where there is none.
  [[nodiscard]] std::string_view text(const DicomAttribute& attribute) const {
    const DicomElement* element = find(attribute);
    if (element == nullptr) return {};
    std::string_view text = element->value.substr(0, element->value.find('\\'));
    constexpr std::string_view padding(" \0", 2);
    text.remove_prefix(std::min(text.find_first_not_of(padding), text.size()));
    return text.substr(0, text.find_last_not_of(padding) + 1);
  }

  /// The first of the decimal numbers written in text, if any.
  [[nodiscard]] std::optional<double> decimal(const DicomAttribute& attribute) const {
    const std::string_view written = text(attribute);
    if (written.empty()) return {};
    const std::string_view digits = written.substr(written[0] == '+' ? 1 : 0);
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    constexpr double largest = 1e100;  // so that no sum or product of two is infinite
    ensure(error == std::errc() && end == digits.data() + digits.size() && std::abs(value) <= largest, *name_,
           ": ", attribute.name, " is no number up to ", largest, ": \"", written.substr(0, 40), "\"");
    return value;
  }

  /// The number of 16 bits, if there is one.
  [[nodiscard]] std::optional<int> number(const DicomAttribute& attribute) const {
    const DicomElement* element = find(attribute);
    if (element == nullptr || element->value.empty()) return {};
    ensure(!element->undefined && element->value.size() == 2, *name_, ": damaged DICOM file (",
           attribute.name, " must have 2 bytes, but has ", element->value.size(), ")");
    return encoding_.number16(element->value);
  }

  /// The number of 16 bits, which must be there.
  [[nodiscard]] int required(const DicomAttribute& attribute) const {
    const std::optional<int> value = number(attribute);
    ensure(value.has_value(), *name_, ": a DICOM file without ", attribute.name);
    return *value;
  }

  /// The attributes of the first item of a sequence; nothing where there is none.
  [[nodiscard]] std::optional<DicomAttributes> first_item(const DicomAttribute& attribute) const {
    const DicomElement* sequence = find(attribute);
    if (sequence == nullptr) return {};
    DicomEncoding encoding = encoding_;
    if (sequence->vr == "UN") encoding.explicit_vr = false;
    DicomWalker items(sequence->value, encoding, *name_);
    const std::optional<std::string_view> item = items.next_item();
    if (!item) return {};
    DicomAttributes attributes(encoding, *name_);
    DicomWalker elements(*item, encoding, *name_);
    attributes.read(elements);
    return attributes;
  }

 private:
  DicomEncoding encoding_;
  const std::string* name_;
  std::vector<DicomElement> elements_;
};

}  // namespace vlp::io::detail
