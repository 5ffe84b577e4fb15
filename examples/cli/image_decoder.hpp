/// \file
/// The decoder of image files that the programs use: with DICOM where vlp was built with it.
#pragma once

#include <vlp/io/image.hpp>
#ifdef VLP_HAS_DICOM
#include <vlp/io/dicom.hpp>
#endif

namespace vlp::cli {

#ifdef VLP_HAS_DICOM
inline constexpr auto& decode_image = io::decode_radiograph;
#else
inline constexpr auto& decode_image = io::decode_image;
#endif

}  // namespace vlp::cli
