#include "support/catch.hpp"

#include <rapidcheck.h>

#include <vlp/io/resize.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;

/// A ramp in x and y, whose average over any area is the ramp at its centre.
GrayImage ramp(Index width, Index height) {
  GrayImage image = make_gray_image(width, height);
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x)
      image.at(x, y) = static_cast<float>(x) / static_cast<float>(width) +
                       2 * static_cast<float>(y) / static_cast<float>(height);
  return image;
}

/// Area averages by the definition: the integral of the image as a step function over each target pixel.
GrayImage area_average(const GrayImage& image, Index width, Index height) {
  GrayImage out = make_gray_image(width, height);
  const double sx = static_cast<double>(image.width) / static_cast<double>(width);
  const double sy = static_cast<double>(image.height) / static_cast<double>(height);
  const auto overlap = [](Index pixel, Index target, double scale) {
    const auto p = static_cast<double>(pixel), t = static_cast<double>(target);
    return std::max(0.0, std::min(p + 1, (t + 1) * scale) - std::max(p, t * scale));
  };
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      double sum = 0;
      for (Index v = 0; v < image.height; ++v)
        for (Index u = 0; u < image.width; ++u)
          sum += overlap(u, x, sx) * overlap(v, y, sy) * static_cast<double>(image.at(u, v));
      out.at(x, y) = static_cast<float>(sum / (sx * sy));
    }
  }
  return out;
}

TEST_CASE("shrinking averages over area") {
  GrayImage image = make_gray_image(4, 2);
  image.pixels = {0, 1, 2, 3, 4, 5, 6, 7};
  CHECK(resize(image, 2, 1).pixels == std::vector<float>{2.5F, 4.5F});
  CHECK(rc::check([] {
    const auto size = [](Index low, Index high) { return *rc::gen::inRange<Index>(low, high); };
    GrayImage source = make_gray_image(size(1, 24), size(1, 24));
    for (float& value : source.pixels) value = static_cast<float>(*rc::gen::inRange(0, 256)) / 255.0F;
    const Index width = size(1, source.width + 1), height = size(1, source.height + 1);
    const GrayImage expected = area_average(source, width, height);
    const GrayImage actual = resize(source, width, height);
    RC_ASSERT(actual.width == width);
    RC_ASSERT(actual.height == height);
    for (std::size_t i = 0; i < actual.pixels.size(); ++i)
      RC_ASSERT(std::abs(actual.pixels[i] - expected.pixels[i]) < 1e-5F);
  }));
}

TEST_CASE("growing interpolates between pixel centres and repeats the edge") {
  GrayImage image = make_gray_image(2, 1);
  image.pixels = {0, 1};
  CHECK(resize(image, 4, 2).pixels == std::vector<float>{0, 0.25F, 0.75F, 1, 0, 0.25F, 0.75F, 1});
  const GrayImage grown = resize(ramp(10, 10), 25, 10);
  for (Index x = 2; x < 23; ++x) CHECK(grown.at(x, 0) == Approx((x + 0.5) / 25 - 0.05).margin(1e-6));
  CHECK(resize(ramp(1, 1), 5, 3).pixels == std::vector<float>(15, 0.0F));
}

TEST_CASE("resizing keeps values within their range, whatever the sizes") {
  CHECK(rc::check([] {
    const auto size = [] { return *rc::gen::inRange<Index>(1, 40); };
    GrayImage source = make_gray_image(size(), size());
    for (float& value : source.pixels) value = static_cast<float>(*rc::gen::inRange(0, 2));
    const auto [low, high] = std::minmax_element(source.pixels.begin(), source.pixels.end());
    for (float value : resize(source, size(), size()).pixels) {
      RC_ASSERT(value >= *low - 1e-6F);
      RC_ASSERT(value <= *high + 1e-6F);
    }
  }));
}

TEST_CASE("an oblong image is cropped, padded or squashed to a square") {
  GrayImage image = make_gray_image(8, 4);
  for (float& value : image.pixels) value = 0.5F;
  for (Index y = 0; y < 4; ++y) image.at(0, y) = image.at(7, y) = 1;  // the outer columns
  CHECK(fit_square(image, 4).pixels == std::vector<float>(16, 0.5F));
  CHECK(fit_square(image, 4, Fit::crop).pixels == std::vector<float>(16, 0.5F));
  const std::vector<float> line{0.75F, 0.5F, 0.5F, 0.75F};
  const GrayImage padded = fit_square(image, 4, Fit::pad);
  const GrayImage squashed = fit_square(image, 4, Fit::squash);
  for (Index x = 0; x < 4; ++x) {
    CHECK(padded.at(x, 0) == 0);
    CHECK(padded.at(x, 1) == Approx(line[static_cast<std::size_t>(x)]));
    CHECK(padded.at(x, 2) == Approx(line[static_cast<std::size_t>(x)]));
    CHECK(padded.at(x, 3) == 0);
    for (Index y = 0; y < 4; ++y) CHECK(squashed.at(x, y) == Approx(line[static_cast<std::size_t>(x)]));
  }
  for (const Fit fit : {Fit::crop, Fit::pad, Fit::squash}) {
    for (const auto& [width, height] : {std::pair<Index, Index>{1, 1000}, {1000, 1}, {3, 2}, {7, 7}}) {
      const GrayImage square = fit_square(ramp(width, height), 5, fit);
      CHECK(square.width == 5);
      CHECK(square.pixels.size() == 25);
    }
  }
}

TEST_CASE("standardised values have mean 0 and deviation 1") {
  GrayImage image = ramp(31, 17);
  standardise(image);
  double sum = 0, squares = 0;
  for (float value : image.pixels) {
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  CHECK(sum / 527 == Approx(0).margin(1e-6));
  CHECK(squares / 527 == Approx(1).epsilon(1e-6));
  GrayImage flat = make_gray_image(3, 3);
  for (float& value : flat.pixels) value = 0.1F;
  standardise(flat);
  CHECK(flat.pixels == std::vector<float>(9, 0.0F));
}

TEST_CASE("sizes without pixels are refused") {
  CHECK_THROWS_AS(resize(ramp(2, 2), 0, 2), std::invalid_argument);
  CHECK_THROWS_AS(resize(GrayImage{}, 2, 2), std::invalid_argument);
  CHECK_THROWS_AS(fit_square(ramp(2, 2), -1), std::invalid_argument);
  CHECK_THROWS_AS(fit_square(GrayImage{}, 2), std::invalid_argument);
}

}  // namespace

TEST_CASE("values stay within those of the image, however many are averaged") {
  GrayImage image = make_gray_image(16, 10'256);
  for (float& pixel : image.pixels) pixel = 1;
  image.at(0, 0) = 0;
  for (const float pixel : resize(image, 8, 8).pixels) CHECK((pixel >= 0 && pixel <= 1));
}
