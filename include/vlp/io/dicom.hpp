/// \file
/// Radiographs from DICOM files.
///
/// DCMTK decodes JPEG, inflates, and names transfer syntaxes; the target vlp::dicom links it.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/dicom_reader.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/pixels.hpp>

#include <string>
#include <string_view>

namespace vlp::io {

/// Decodes the contents of a DICOM file of one frame, of up to `max_pixels` pixels, as a viewer shows it
/// (PS3.3, C.11):
///
/// 1. The stored value of a pixel is what BitsStored, HighBit and PixelRepresentation say of its sample.
/// 2. A modality LUT, or else RescaleSlope and RescaleIntercept, are applied to it.
/// 3. A VOI LUT, or else a window (LINEAR, LINEAR_EXACT or SIGMOID), leads to [0, 1]: the first one of
/// several. Without
///    either, black is the least value of the image and white the greatest, leaving out PixelPaddingValue and
///    the range to PixelPaddingRangeLimit; an image of one value is black. Padding is shown like any other
///    pixel.
/// 4. MONOCHROME1, PresentationLUTShape INVERSE, or both swap black and white once.
///
/// RGB, YBR_FULL and YBR_FULL_422 become luma by ITU-R BT.601. Pixels have 1, 8 or 16 bits allocated,
/// uncompressed in either order of bytes, deflated, or compressed by RLE or JPEG (baseline,
/// extended, lossless). Takes 4 bytes of memory a pixel, and where they are compressed as many more as
/// samples take. The result depends on the bytes alone, and any number of threads may decode at once.
///
/// Throws std::runtime_error, which begins with `name`, for images that are too large, for damaged or
/// truncated contents, for transfer syntaxes other than these, by their names, and for several frames,
/// palettes and pixels of floating point. `admit`, where given, is called once the header has been read.
[[nodiscard]] inline GrayImage decode_dicom(std::string_view bytes, const std::string& name,
                                            Index max_pixels = default_max_pixels, const Admit& admit = {}) {
  require(max_pixels > 0, "decode_dicom: max_pixels must be positive, but is ", max_pixels);
  ensure(is_dicom(bytes), name, ": not a DICOM file");
  return detail::DicomReader(bytes, name).read(max_pixels, admit);
}

/// Decodes the contents of a PNG, JPEG or DICOM file, which its first bytes tell; see decode_image and
/// decode_dicom.
[[nodiscard]] inline GrayImage decode_radiograph(std::string_view bytes, const std::string& name,
                                                 Index max_pixels = default_max_pixels,
                                                 const Admit& admit = {}) {
  require(max_pixels > 0, "decode_radiograph: max_pixels must be positive, but is ", max_pixels);
  if (is_dicom(bytes)) return decode_dicom(bytes, name, max_pixels, admit);
  const bool other = detail::format_name(bytes).empty() && bytes.front() != '\x89' && bytes.front() != '\xFF';
  ensure(!other, name, ": neither a PNG, a JPEG nor a DICOM file");
  return decode_image(bytes, name, max_pixels, admit);
}

}  // namespace vlp::io
