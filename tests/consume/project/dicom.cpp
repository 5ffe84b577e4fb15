#include <vlp/io/dicom.hpp>

#include <stdexcept>
#include <string_view>

int main() {
  try {
    return static_cast<int>(vlp::io::decode_radiograph("no radiograph", "a file").width);
  } catch (const std::runtime_error& error) {
    return std::string_view(error.what()) == "a file: neither a PNG, a JPEG nor a DICOM file" ? 0 : 1;
  }
}
