#include "io/image_bytes.hpp"
#include "support/messages.hpp"

#include <rapidcheck.h>

#include <vlp/io/decode_square.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;

const std::vector<Fit> fits{Fit::crop, Fit::pad, Fit::squash};

/// Whether decoding to a square gives the bits of decoding and then resizing.
bool agree(const std::string& bytes, Index size, Fit fit) {
  const GrayImage square = decode_square(bytes, "x", size, fit);
  const GrayImage expected = fit_square(decode_image(bytes, "x"), size, fit);
  return square.width == size && square.height == size && square.pixels == expected.pixels;
}

TEST_CASE("decoding to a square is decoding and then resizing, bit for bit") {
  CHECK(rc::check([] {
    const auto any = [](int low, int high) { return *rc::gen::inRange(low, high); };
    const auto width = static_cast<std::uint32_t>(any(1, 60)),
               height = static_cast<std::uint32_t>(any(1, 60));
    test::PngForm form;
    form.depth = *rc::gen::element(8, 16);
    form.interlaced = any(0, 3) == 0;
    std::vector<std::uint16_t> samples(width * height);
    for (std::uint16_t& sample : samples) sample = static_cast<std::uint16_t>(any(0, 1 << form.depth));
    const std::string bytes = test::png(form, width, height, samples);
    for (const Fit fit : fits) RC_ASSERT(agree(bytes, any(1, 40), fit));
    RC_ASSERT(agree(bytes, width, Fit::crop));
  }));
}

TEST_CASE("rows that are cropped off change no pixel of a square") {
  constexpr std::uint32_t width = 250, height = 270;
  std::vector<std::uint16_t> samples(width * height, 178);
  std::fill_n(samples.begin(), 10 * width, std::uint16_t{0});
  std::fill_n(samples.end() - 10 * width, 10 * width, std::uint16_t{255});
  const std::string bytes = test::png(test::PngForm{}, width, height, samples);
  for (const Index size : {3, 7, 11, 100}) {
    CHECK(agree(bytes, size, Fit::crop));
    const std::vector<float> pixels = decode_square(bytes, "x", size).pixels;
    CHECK(pixels == std::vector<float>(pixels.size(), decode_image(bytes, "x").at(0, 100)));
  }
}

TEST_CASE("a stored JPEG image of any kind is decoded to a square as it is decoded and resized") {
  int images = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(Path(VLP_TEST_DATA_DIR) / "../io/data/images")) {
    const std::string bytes = read_file(entry.path());
    const auto whole = test::message_of([&] { static_cast<void>(decode_image(bytes, "x")); });
    INFO(entry.path());
    CHECK(test::message_of([&] { static_cast<void>(decode_square(bytes, "x", 7)); }) == whole);
    if (whole != "no error") continue;
    ++images;
    for (const Fit fit : fits)
      for (const Index size : {1, 5, 16, 200}) CHECK(agree(bytes, size, fit));
  }
  CHECK(images >= 5);  // turned ones among them
}

TEST_CASE("an image that is cut anywhere is refused as a square, too") {
  const std::string bytes = test::png(5, 4, 1, 8, std::vector<std::uint16_t>(20, 9));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    const auto message = test::message_of([&] { static_cast<void>(decode_square(cut, "x", 3)); });
    CHECK(message != "no error");
    CHECK(message == test::message_of([&] { static_cast<void>(decode_image(cut, "x")); }));
  }
}

TEST_CASE("limits and admission of a square are those of an image") {
  const std::string bytes = test::png(5, 4, 1, 8, std::vector<std::uint16_t>(20, 9));
  CHECK_MESSAGE_HAS(decode_square(bytes, "x", 3, Fit::crop, 19), "x: an image of 5 x 4 pixels is too large");
  Index admitted = 0;
  static_cast<void>(decode_square(bytes, "x", 3, Fit::crop, 20, [&](Index pixels) { admitted += pixels; }));
  CHECK(admitted == 20);
  CHECK_THROWS_AS(decode_square(bytes, "x", 0), std::invalid_argument);
  CHECK_THROWS_AS(decode_square(bytes, "x", 3, Fit::crop, 0), std::invalid_argument);
}

TEST_CASE("what is neither PNG nor JPEG is decoded to a square by another decoder, and by none without one") {
  std::string asked;
  const auto other = [&](std::string_view bytes, const std::string& name, Index max_pixels,
                         const Admit& admit) {
    asked = concat(bytes, " ", name, " ", max_pixels);
    admit(8);
    GrayImage image = make_gray_image(4, 2);
    image.pixels = {9, 1, 3, 9, 9, 5, 7, 9};
    return image;
  };
  Index admitted = 0;
  const auto admit = [&](Index pixels) { admitted += pixels; };
  CHECK(decode_square("DICM", "x", 1, Fit::crop, 20, admit, other).pixels == std::vector<float>{4});
  CHECK(asked == "DICM x 20");
  CHECK(admitted == 8);
  asked = {};
  const std::string png = test::png(1, 1, 1, 8, {255});
  CHECK(decode_square(png, "x", 1, Fit::crop, 20, admit, other).pixels == std::vector<float>{1});
  CHECK(asked.empty());
  CHECK_MESSAGE_HAS(decode_square("DICM", "x", 1), "x: neither a PNG nor a JPEG image");
}

TEST_CASE("a square is made in the memory of the rows of one of its pixels") {
  io::detail::SquareImage square(8, Fit::squash);
  square.begin(64, 100'000);
  const float* first = square.next_row();
  const float* last = first;
  for (int y = 0; y < 100'000; ++y) {
    float* row = square.next_row();
    first = std::min<const float*>(first, row);
    last = std::max<const float*>(last, row);
    std::fill_n(row, 64, 0.25F);
    square.finish_row();
  }
  CHECK(last - first <= 64 * 12'501);
  CHECK(square.take().pixels == std::vector<float>(64, 0.25F));
}

}  // namespace
