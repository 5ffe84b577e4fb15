// Decodes image files to squares for compare_images.py, one request to a line of standard input:
//
//   time WAY FILE REPEATS   answers with the processor's seconds of that many decodings, from bytes in memory
//   pixels WAY FILE         answers with the square, 224 x 224 floats as they lie in memory
//
// WAY is `square`, rows resized as they are decoded, or `whole`, the whole image decoded first. PNG and JPEG,
// and DICOM where the program was built with it.
#include <vlp/core/errors.hpp>
#include <vlp/io/decode_square.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>
#ifdef VLP_HAS_DICOM
#include <vlp/io/dicom.hpp>
#endif

#include <time.h>

#include <cstddef>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace io = vlp::io;

constexpr vlp::Index edge = 224;

#ifdef VLP_HAS_DICOM
constexpr auto decode = io::decode_radiograph;
#else
constexpr auto decode = io::decode_image;
#endif

io::GrayImage square_of(const std::string& way, const std::string& bytes) {
  constexpr vlp::Index most = io::default_max_pixels;
  if (way == "square") return io::decode_square(bytes, "image", edge, io::Fit::crop, most, {}, decode);
  vlp::ensure(way == "whole", "no way called '", way, "'");
  return io::fit_square(decode(bytes, "image", most, {}), edge);
}

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Answers a request.
void answer(const std::string& line) {
  std::istringstream words(line);
  std::string what, way, file;
  int repeats = 1;
  words >> what >> way >> file >> repeats;
  const std::string bytes = io::read_file(file);
  if (what == "pixels") {
    const std::vector<float> pixels = square_of(way, bytes).pixels;
    std::cout.write(reinterpret_cast<const char*>(pixels.data()),
                    static_cast<std::streamsize>(pixels.size() * sizeof(float)));
    return;
  }
  vlp::ensure(what == "time", "no request called '", what, "'");
  float sum = 0;  // keeps the work
  const double start = processor_seconds();
  for (int i = 0; i < repeats; ++i) sum += square_of(way, bytes).pixels[edge];
  const double seconds = processor_seconds() - start;
  std::cout << (sum >= 0 ? seconds : -1) << '\n';
}

}  // namespace

int main() {
  std::cout.precision(9);
  try {
    for (std::string line; std::getline(std::cin, line);) {
      answer(line);
      std::cout.flush();
    }
  } catch (const std::exception& error) {
    std::cerr << "benchmark_images: " << error.what() << '\n';
    return 1;
  }
}
