#include "builtin/study.hpp"
#include "pictures/attention_picture.hpp"
#include "pictures/plots.hpp"
#include "support/catch.hpp"
#include "support/grouping_locale.hpp"
#include "support/messages.hpp"

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

/// Makes a folder the working one for as long as it lives.
class WorkingFolder {
 public:
  explicit WorkingFolder(const fs::path& path) : before_(fs::current_path()) { fs::current_path(path); }
  WorkingFolder(const WorkingFolder&) = delete;
  WorkingFolder& operator=(const WorkingFolder&) = delete;
  ~WorkingFolder() {
    std::error_code ignored;
    fs::current_path(before_, ignored);
  }

 private:
  fs::path before_;
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

TEST_CASE("no name of a folder is a command or an option of gnuplot") {
  const Folder folder;
  const fs::path victim = folder.path / "victim";
  vlp::io::write_file(victim, "precious");
  const std::vector<Curve> curves{{"set output '|touch pwned'", {0, 1}, {4, 3}}};
  const WorkingFolder inside(folder.path);
  for (const char* name : {"|touch pwned;#", "-e", "--default-settings", "a\nset output \"b\"", "'", "\"",
                           "back\\slash\\n", "`touch pwned`", "$(touch pwned)", "%s", "caf\xE9"}) {
    fs::create_directory(name);
    // Names that earlier versions wrote through.
    for (const char* trap : {"losses.png", "losses.png.part", "losses.png.gp"})
      fs::create_symlink(victim, fs::path(name) / trap);
    check_plot(plot_losses(fs::path(name) / "losses.png", curves), fs::path(name) / "losses.png");
  }
  check_plot(plot_losses("-x.png", curves), "-x.png");
  CHECK(vlp::io::read_file(victim) == "precious");
  CHECK_FALSE(fs::exists("pwned"));
  CHECK(folder.files() == 11 + 1 + (fs::exists("-x.png") ? 1 : 0));
}

TEST_CASE("an unfinished picture replaces nothing") {
  const Folder folder;
  vlp::io::write_file(folder.path / "losses.png", "old");
  const std::vector<Curve> curves{{"total", {0, 1}, {4, 3}}};
  // gnuplot on a full disk, failing behind a whole picture, writing none, killed.
  for (const char* body :
       {"printf '\\211PNG begun'", "printf 'IEND\\256B`\\202'; exit 3", ":", "kill -9 $$"}) {
    vlp::io::write_file(folder.path / "gnuplot", std::string("#!/bin/sh\ncat > /dev/null\n") + body + "\n");
    fs::permissions(folder.path / "gnuplot", fs::perms::owner_all);
    const SearchPath fake((folder.path.string() + ":/usr/bin:/bin").c_str());
    CHECK(plot_losses(folder.path / "losses.png", curves).find("not plotted, gnuplot failed") !=
          std::string::npos);
    CHECK(vlp::io::read_file(folder.path / "losses.png") == "old");
    CHECK(folder.files() == 2);
  }
}

TEST_CASE("a plot that cannot be written is an error that names it") {
  const Folder folder;
  const std::vector<Curve> curves{{"total", {0, 1}, {4, 3}}};
  fs::create_directory(folder.path / "folder.png");
  CHECK_MESSAGE_HAS(plot_losses(folder.path / "none/a.png", curves),
                    (folder.path / "none/a.png").string() + ": cannot write: No such file or directory");
  const std::string message =
      vlp::test::message_of([&] { static_cast<void>(plot_losses(folder.path / "folder.png", curves)); });
  if (message != "no error") CHECK(message.find("folder.png: cannot write: ") != std::string::npos);
  CHECK(folder.files() == 1);
}

TEST_CASE("a script's numbers are the same in every locale") {
  const vlp::test::GroupingLocale locale;
  detail::Script script;
  script << 123456 << ' ' << 0.5;
  CHECK(script.str() == "123456 0.5");
  const Folder folder;
  const std::vector<Curve> curves{{"total", {0, 1234567}, {4.5, 3}}};
  check_plot(plot_losses(folder.path / "losses.png", curves), folder.path / "losses.png");
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
    const auto picture =
        draw_attention(image, std::span(panels).first(count), "No report.", {.panel_width = 384});
    CHECK(picture.width == static_cast<Index>(std::min<std::size_t>(count + 1, 4)) * 400 + 16);
    CHECK(picture.height > (count < 4 ? 288 : 2 * 288));
    vlp::io::write_png(folder.path / "attention.png", picture);
    CHECK(vlp::io::read_image(folder.path / "attention.png").height == picture.height);
  }
}

TEST_CASE("an attention picture of every word of a text has a panel for each, and no room for boxes") {
  const auto image = vlp::io::make_gray_image(64, 64);
  std::vector<float> attention(16, 0.0f);
  attention[5] = 1;
  const std::vector<AttentionPanel> panels(30, {"effusion,", {attention.data(), {4, 4}}, {}});
  std::string report;
  for (const AttentionPanel& panel : panels) report += panel.word + " ";
  const auto picture = draw_attention(image, panels, report, every_word);
  CHECK(picture.width == 8 * 240 + 16);  // 31 panels in 4 rows
  CHECK(picture.height == 4 * (224 + 44 + 16) + 52 + 2 * 26 + 16);
  CHECK(count(picture, detail::box_colour) == 0);
  // Labels and the words of the text below stand out.
  CHECK(count(picture, detail::word_colour) > 2 * 30 * 100);
  const auto other = draw_attention(image, panels, "A comma, none.", every_word);
  CHECK(count(other, detail::word_colour) < count(picture, detail::word_colour) - 30 * 100);
}

TEST_CASE("values are stretched whatever their range") {
  constexpr float most = std::numeric_limits<float>::max();
  vlp::io::GrayImage image = vlp::io::make_gray_image(5, 1);
  image.pixels = {-most, 0, most, static_cast<float>(nan_value), std::numeric_limits<float>::infinity()};
  CHECK(detail::stretched(image).pixels == std::vector<float>{0, 0.5F, 1, 0, 0});
  image.pixels = {2, 2, 2, 2, 2};
  CHECK(detail::stretched(image).pixels == std::vector<float>(5, 0));
}

TEST_CASE("text is wrapped, and what is too long is cut and counted") {
  using detail::Canvas, detail::wrap;
  using Lines = std::vector<std::string>;
  CHECK(wrap("", 400, 3).empty());
  CHECK(wrap(" \n\t ", 400, 3).empty());
  CHECK(wrap("  one\r\ntwo  three ", 400, 3) == Lines{"one two three"});
  const Index four = Canvas::text_width("four five");
  CHECK(wrap("four five four five", four, 3) == Lines{"four five", "four five"});
  CHECK(wrap("four five four five", four - 1, 4) == Lines{"four", "five", "four", "five"});
  CHECK(wrap("four five four five", four, 1) == Lines{"four five", "(... 2 more words)"});
  CHECK(wrap("four five four", four, 1) == Lines{"four five", "(... 1 more word)"});
  const Lines cut = wrap("a " + std::string(1'000'000, 'w') + " b", 100, 3);
  REQUIRE(cut.size() == 3);
  CHECK(cut[0] == "a");
  CHECK(cut[1].starts_with("ww"));
  CHECK(cut[1].ends_with("ww..."));
  CHECK(Canvas::text_width(cut[1]) <= 100);
  CHECK(cut[2] == "b");
}

TEST_CASE("a line of any length is drawn as far as it lies in the picture") {
  detail::Canvas canvas(64, 16, {0, 0, 0});
  canvas.text(0, 0, std::string(6'000'000, 'w'), {1, 2, 3});
  CHECK(count(canvas.image(), {1, 2, 3}) > 50);
}

TEST_CASE("a report of any length makes a picture of a page") {
  const auto image = vlp::io::make_gray_image(32, 32);
  std::string report;
  for (int i = 0; i < 400'000; ++i) report += "effusion ";
  const auto picture = draw_attention(image, {}, report, {.panel_width = 200});
  CHECK(picture.height < 40 * 26 + 500);
  CHECK(picture.height > 40 * 26);
  const auto word = draw_attention(image, {}, std::string(4'000'000, 'w'), {.panel_width = 200});
  CHECK(word.height < 400);
  const std::vector<float> attention(1, 0.5F);
  const std::vector<AttentionPanel> panel{{std::string(4'000'000, 'w'), {attention.data(), {1, 1}}, {}}};
  CHECK(draw_attention(image, panel, "", {.panel_width = 200}).height < 400);
}

TEST_CASE("attention pictures refuse bad input") {
  const auto image = vlp::io::make_gray_image(64, 64);
  const std::vector<AttentionPanel> no_grid{{"opacity", {}, {}}};
  CHECK_THROWS_WITH(draw_attention(image, no_grid, ""),
                    "draw_attention: the attention of \"opacity\" is 0 x 0 regions");
  CHECK_THROWS_AS(draw_attention(image, {}, "", {.panel_width = 10}), std::invalid_argument);
  CHECK_THROWS_AS(draw_attention(image, {}, "", {.panel_width = 5000}), std::invalid_argument);
  CHECK_THROWS_WITH(draw_attention(image, {}, "", {.columns = 0}),
                    "draw_attention: columns must be from 1 to 64, but is 0");
  CHECK_THROWS_AS(draw_attention(vlp::io::make_gray_image(1, 17), {}, ""), std::invalid_argument);
  CHECK(draw_attention(vlp::io::make_gray_image(1, 16), {}, "", {.panel_width = 64}).height > 16 * 64);
  CHECK_THROWS_AS(draw_attention({64, 64, {}}, {}, ""), std::invalid_argument);
}
