// libFuzzer target: the attention picture of any report and word, over grids and images of any shape and
// value.
#include "fuzzer.hpp"
#include "pictures/attention_picture.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

namespace {

using vlp::Index;
using vlp::fuzz::promise;
namespace pictures = vlp::pictures;

/// A float of any bits, from the bytes and, where they end, zero.
float number_at(std::string_view bytes, std::size_t at) {
  float value = 0;
  if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 8) return 0;
  const std::string_view text = vlp::fuzz::text_of(data, size).substr(8);
  // The first bytes choose shapes and the number of panels; the rest is report, word and values alike.
  vlp::io::GrayImage image = vlp::io::make_gray_image(1 + data[0] % 24, 1 + data[1] % 24);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = number_at(text, 4 * i);
  const Index rows = 1 + data[2] % 8, cols = 1 + data[3] % 8;
  std::vector<float> attention(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < attention.size(); ++i) attention[i] = number_at(text, 3 * i);
  std::optional<vlp::eval::Box> box;
  if (data[4] % 2 != 0)
    box = vlp::eval::Box{number_at(text, 0), number_at(text, 4), number_at(text, 8), number_at(text, 12)};
  const std::string word(text.substr(0, data[5]));
  const std::vector<pictures::AttentionPanel> panels(data[6] % 6,
                                                     {word, {attention.data(), {rows, cols}}, box});
  const Index panel_width = 64 + data[7] % 8, columns = 1 + data[7] / 8 % 4;
  try {
    const vlp::io::RgbImage picture =
        pictures::draw_attention(image, panels, text, {.panel_width = panel_width, .columns = columns});
    promise(picture.width == (std::min<Index>(columns, data[6] % 6 + 1)) * (panel_width + 16) + 16,
            "as many panels in a row as there are columns");
    promise(static_cast<Index>(picture.pixels.size()) == 3 * picture.width * picture.height,
            "all pixels are there");
    promise(picture.height <= 6 * (16 * panel_width + 80) + 41 * 26 + 80, "a picture is of a page");
  } catch (const std::invalid_argument& error) {  // an image too narrow, or a box that is none
    promise(std::strlen(error.what()) > 0 && std::strlen(error.what()) < 4096, "an error has a message");
  }
  return 0;
}
