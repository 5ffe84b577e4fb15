// libFuzzer target: any bytes as a .npy file.
#include "fuzzer.hpp"

#include <vlp/io/npy.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace {

namespace io = vlp::io;
using vlp::fuzz::promise;

/// Checks that the values can be had as `T` or are refused.
template <class T>
void check_values(const io::NpyArray& array) {
  vlp::fuzz::reads([&] {
    const std::vector<T> values = array.as<T>();
    promise(values.size() == static_cast<std::size_t>(array.size()), "as many values as the shape has");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = vlp::fuzz::text_of(data, size);
  const std::filesystem::path path = vlp::fuzz::file_with(bytes, "a.npy");
  vlp::fuzz::reads([&] {
    const io::NpyArray array = io::read_npy(path);
    promise(array.shape.size() <= 64, "at most 64 dimensions");
    promise(array.bytes.size() < size, "no more elements than the file has");
    const std::size_t width = static_cast<std::size_t>(array.dtype[1] - '0');
    promise(array.bytes.size() == width * static_cast<std::size_t>(array.size()),
            "the shape fits the elements");
    check_values<double>(array);
    check_values<float>(array);
    check_values<std::uint8_t>(array);
    check_values<std::int32_t>(array);
    check_values<std::int64_t>(array);
    check_values<std::uint64_t>(array);
    if (array.dtype == "f8" && !array.bytes.empty()) {
      io::write_npy(path, array.as<double>(), array.shape);
      const io::NpyArray again = io::read_npy(path);
      promise(again.shape == array.shape && again.bytes == array.bytes, "what is written is read back");
    }
  });
  return 0;
}
