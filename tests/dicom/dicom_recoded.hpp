/// \file
/// DICOM files as DCMTK writes them.
#pragma once

#include <dcmtk/config/osconfig.h>
// DCMTK's other headers need what stands above.
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmimage/diregist.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpeg/djrplol.h>
#include <dcmtk/dcmjpeg/djrploss.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace vlp::test {

/// The same DICOM file in another transfer syntax, read, compressed and written by DCMTK. `parameter` says
/// how.
inline std::string recoded(const std::string& file, E_TransferSyntax syntax,
                           const DcmRepresentationParameter* parameter = nullptr) {
  static const bool registered = [] {
    DJEncoderRegistration::registerCodecs();
    DcmRLEEncoderRegistration::registerCodecs();
    return true;
  }();
  static_cast<void>(registered);
  const auto need = [](const OFCondition& outcome, const char* step) {
    if (outcome.bad()) throw std::logic_error(std::string(step) + ": " + outcome.text());
  };
  DcmInputBufferStream in;
  in.setBuffer(file.data(), static_cast<offile_off_t>(file.size()));
  in.setEos();
  DcmFileFormat format;
  format.transferInit();
  need(format.read(in), "DCMTK reads the test's file");
  format.transferEnd();
  need(format.getDataset()->chooseRepresentation(syntax, parameter), "DCMTK compresses it");
  std::vector<char> buffer(file.size() * 4 + 65536);
  DcmOutputBufferStream out(buffer.data(), static_cast<offile_off_t>(buffer.size()));
  format.transferInit();
  need(format.write(out, syntax, EET_ExplicitLength, nullptr), "DCMTK writes it");
  format.transferEnd();
  out.flush();
  void* bytes = nullptr;
  offile_off_t length = 0;
  out.flushBuffer(bytes, length);
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(length)};
}

}  // namespace vlp::test
