#include "builtin/study.hpp"
#include "pictures/attention_picture.hpp"
#include "pictures/plots.hpp"
#include "support/catch.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>

using vlp::Index;
using namespace vlp::pictures;
namespace fs = std::filesystem;

namespace {

const double nan_value = std::numeric_limits<double>::quiet_NaN();

/// A folder of its own, removed at the end; a name that would trip a shell or gnuplot.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("vlp's pictures $HOME " + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator(path), fs::directory_iterator());
  }
};

/// Sets PATH for as long as it lives.
class SearchPath {
 public:
  explicit SearchPath(const char* value) : before_(std::getenv("PATH")) { ::setenv("PATH", value, 1); }
  SearchPath(const SearchPath&) = delete;
  SearchPath& operator=(const SearchPath&) = delete;
  ~SearchPath() { ::setenv("PATH", before_.c_str(), 1); }

 private:
  std::string before_;
};

vlp::eval::StructureDiscrimination some_result() {
  vlp::eval::StructureDiscrimination out;
  out.overall = {60, 100, 0.25};
  out.perturbations = {{"it's_one", {90, 100, 0.5}}, {"never_valid", {}}, {"three", {0, 100, 0.5}}};
  return out;
}

/// A plot is there and can be read, or gnuplot is not installed and the note says so.
void check_plot(const std::string& note, const fs::path& png) {
  if (note.find("gnuplot is not installed") != std::string::npos) {
    WARN(note);
    return;
  }
  CHECK(note.empty());
  const auto image = vlp::io::read_image(png);
  CHECK(image.width == 960);
  const auto [low, high] = std::minmax_element(image.pixels.begin(), image.pixels.end());
  CHECK(*low < 0.2f);
  CHECK(*high == 1.0f);
}

/// How many pixels have this colour.
Index count(const vlp::io::RgbImage& image, detail::Colour colour) {
  Index out = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3)
    out += image.pixels[i] == colour.red && image.pixels[i + 1] == colour.green &&
           image.pixels[i + 2] == colour.blue;
  return out;
}

}  // namespace

TEST_CASE("plots are written whole and leave nothing else behind") {
  const Folder folder;
  const std::vector<Curve> curves{{"it's the total", {0, 1, 2, 3}, {4, 3, nan_value, 1}}, {"empty", {}, {}}};
  check_plot(plot_losses(folder.path / "losses.png", curves), folder.path / "losses.png");
  check_plot(plot_structure_accuracy(folder.path / "structure.png", some_result()),
             folder.path / "structure.png");
  CHECK((folder.files() == 2 || folder.files() == 0));
}

TEST_CASE("without gnuplot there is a note and no picture") {
  const Folder folder;
  const SearchPath nowhere("/nonexistent");
  const std::vector<Curve> curves{{"total", {0, 1}, {4, 3}}};
  const std::string note = plot_losses(folder.path / "losses.png", curves);
  CHECK(note.find("gnuplot is not installed") != std::string::npos);
  CHECK(note.find("losses.png") != std::string::npos);
  CHECK(folder.files() == 0);
}

TEST_CASE("nothing to plot is a note, curves that do not fit are an error") {
  const Folder folder;
  const std::vector<Curve> nothing{{"total", {0, 1}, {nan_value, nan_value}}},
      unequal{{"total", {0, 1}, {1}}};
  CHECK(plot_losses(folder.path / "a.png", nothing).find("nothing to plot") != std::string::npos);
  CHECK(plot_losses(folder.path / "a.png", {}).find("nothing to plot") != std::string::npos);
  CHECK(plot_structure_accuracy(folder.path / "a.png", {}).find("nothing to plot") != std::string::npos);
  CHECK_THROWS_WITH(plot_losses(folder.path / "a.png", unequal),
                    "plot_losses: curve \"total\" has 2 x but 1 y");
  CHECK(folder.files() == 0);
}

TEST_CASE("an attention picture shows boxes, attention and verdict") {
  const auto study = vlp::builtin::draw_study(1, 0, 64);
  std::vector<float> attention(64, 0.0f);
  attention[9] = 1;  // row 1, column 1: pixels 8 to 16
  const vlp::MatrixView<const float> map(attention.data(), {8, 8});
  const std::vector<AttentionPanel> hit{{"tube", map, vlp::eval::Box{8, 8, 16, 16}}};
  const std::vector<AttentionPanel> miss{{"tube", map, vlp::eval::Box{40, 8, 48, 16}}};
  const std::vector<AttentionPanel> unknown{{"tube", map, {}}};

  const auto picture =
      draw_attention(study.image, hit, "A tube. Na\xC3\xAFve caf\xC3\xA9\n" + study.findings);
  CHECK(picture.width == 2 * 448 + 3 * 16);
  CHECK(count(picture, detail::box_colour) > 600);
  CHECK(count(picture, detail::hit_colour) > 100);
  CHECK(count(picture, detail::miss_colour) == 0);
  const auto missed = draw_attention(study.image, miss, "");
  CHECK(count(missed, detail::hit_colour) == 0);
  CHECK(count(missed, detail::miss_colour) > 100);
  const auto without = draw_attention(study.image, unknown, "");
  CHECK(count(without, detail::hit_colour) + count(without, detail::miss_colour) == 0);

  // The attended region is coloured, the opposite corner is grey.
  const auto pixel = [&](Index x, Index y) {
    return &picture.pixels[static_cast<std::size_t>(3 * (y * picture.width + x))];
  };
  const auto* peak = pixel(16 + 448 + 16 + 448 * 3 / 16 + 14, 44 + 448 * 3 / 16 + 14);
  const auto* corner = pixel(16 + 448 + 16 + 448 * 12 / 16, 44 + 448 * 12 / 16);
  CHECK(peak[0] > peak[2] + 60);
  CHECK(corner[0] == corner[1]);
  CHECK(corner[1] == corner[2]);
}

TEST_CASE("attention pictures of many words, of none, of NaN and of oblong images") {
  const Folder folder;
  const std::vector<float> attention(12, std::numeric_limits<float>::quiet_NaN());
  const std::vector<AttentionPanel> panels(5, {"opacity", {attention.data(), {3, 4}}, {}});
  auto image = vlp::io::make_gray_image(40, 30);
  for (const std::size_t count : {std::size_t{0}, std::size_t{3}, std::size_t{5}}) {
    const auto picture = draw_attention(image, std::span(panels).first(count), "No report.", 384);
    CHECK(picture.width == static_cast<Index>(std::min<std::size_t>(count + 1, 4)) * 400 + 16);
    CHECK(picture.height > (count < 4 ? 288 : 2 * 288));
    vlp::io::write_png(folder.path / "attention.png", picture);
    CHECK(vlp::io::read_image(folder.path / "attention.png").height == picture.height);
  }
}

TEST_CASE("attention pictures refuse bad input") {
  const auto image = vlp::io::make_gray_image(64, 64);
  const std::vector<AttentionPanel> no_grid{{"opacity", {}, {}}};
  CHECK_THROWS_WITH(draw_attention(image, no_grid, ""),
                    "draw_attention: the attention of \"opacity\" is 0 x 0 regions");
  CHECK_THROWS_AS(draw_attention(image, {}, "", 10), std::invalid_argument);
  CHECK_THROWS_AS(draw_attention({64, 64, {}}, {}, ""), std::invalid_argument);
}
