// The program generate as a process, on the folder of a run that was never trained.
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/summariser.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/train/checkpoint.hpp>
#include <vlp/train/settings.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#ifdef VLP_TEST_GENERATE  // the program, where it is built

using namespace vlp;
using namespace vlp::test;
using Arguments = std::vector<std::string>;

namespace {

const std::vector<std::string> pieces{"[PAD]", "[UNK]", "[CLS]",    "[SEP]", "[MASK]",   "no",
                                      "acute", "heart", "effusion", "##s",   ",",        "the",
                                      "large", "small", "lungs",    "clear", "nodule",   "left",
                                      "right", "is",    "are",      "seen",  "##ularity"};

tasks::HybridOptions tiny_options() {
  tasks::HybridOptions options;
  options.pairs.image_size = 16;
  options.pairs.max_words = 8;
  options.pairs.model = {.width = 8, .heads = 2, .embedding = 6};
  options.objective.decoder_blocks = 1;
  return options;
}

/// The models of both stages, with weights that write something about everything.
struct Models {
  Models()
      : encoders(tiny_options().pairs.model, {.image_size = 16, .vocabulary = vocabulary, .longest_text = 18},
                 1),
        decoder(models::report_decoder_options(tiny_options().pairs.model, shape(), "caption"), Random(1)),
        summariser(tiny_options().pairs.model, shape(), 1) {}
  static models::DecoderShape shape() { return {.blocks = 1, .vocabulary = vocabulary, .longest_text = 18}; }
  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    encoders.for_each_parameter(prefix, visit);
    decoder.for_each_parameter(join_names(prefix, "decoder"), visit);
  }
  static constexpr Index vocabulary = 23;
  models::DualEncoder<float> encoders;
  models::ReportDecoder<float> decoder;
  models::Summariser<float> summariser;
};

/// A folder with a run of objective hybrid and two images.
class RunFolder : public TemporaryFolder {
 public:
  RunFolder() {
    std::filesystem::create_directories(*this / "run/stage1");
    train::Settings settings = train::settings_of(tiny_options());
    settings["objective"] = "hybrid";
    settings["epochs"] = 3;  // a setting that does not concern writing
    write("run/config.json", settings.dump());
    std::string lines;
    for (const std::string& piece : pieces) lines += piece + "\n";
    write("run/vocab.txt", lines);
    Cpu device(1);
    Models models;
    const Parameters<float> second(device, models), first(device, models.summariser);
    std::uint32_t stream = 0;
    for (const auto* parameters : {&first, &second})
      for (const auto& [name, parameter] : parameters->list()) {
        Random random(10, ++stream);
        std::vector<float> values(static_cast<std::size_t>(parameter->size()));
        for (float& value : values) value = random.normal();
        if (name.ends_with("output.bias")) values[3] = -2;  // texts of more than a word
        upload_value(device, *parameter, values);
      }
    const train::Provenance provenance{
        settings, {"data", "sources"}, {{"vocab.txt", hash_of_pieces(text::Vocabulary(pieces))}}};
    const train::Progression progression{.step = 1, .best_loss = 1, .best_step = 1};
    save(device, *this / "run/best.safetensors", second, provenance, progression);
    save(device, *this / "run/stage1/best.safetensors", first, provenance, progression);
    for (int i = 0; i < 2; ++i) {
      io::GrayImage image = io::make_gray_image(40 + 10 * i, 50);
      for (std::size_t p = 0; p < image.pixels.size(); ++p)
        image.pixels[p] = static_cast<float>(p * static_cast<std::size_t>(7 + i) % 51) / 51.0f;
      io::write_png(*this / ("chest" + std::to_string(i) + ".png"), image);
    }
  }

  [[nodiscard]] std::string path(const char* name) const { return (*this / name).string(); }
  [[nodiscard]] ProgramResult generate(const Arguments& arguments) const {
    Arguments all{VLP_TEST_GENERATE, "--run", path("run")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_program(this->TemporaryFolder::path(), all);
  }

 private:
  static void save(Cpu& device, const io::Path& file, const Parameters<float>& parameters,
                   const train::Provenance& provenance, const train::Progression& progression) {
    train::save_checkpoint<float, Cpu>(device, file.string(), parameters.list(), nullptr, provenance,
                                       progression);
  }
};

/// One line on stderr that holds `part`, nothing on stdout, and exit status 2.
void check_refused(const ProgramResult& result, const std::string& part) {
  INFO("stderr: " << result.error);
  CHECK(result.status == 2);
  CHECK(result.out.empty());
  CHECK(std::ranges::count(result.error, '\n') == 1);
  CHECK(result.error.starts_with("generate: "));
  INFO("expected: " << part);
  CHECK(result.error.find(part) != std::string::npos);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

/// What stands behind the label of a line.
std::string written(const std::string& line, const std::string& label) {
  INFO(line);
  REQUIRE(line.starts_with(label + ": "));
  return line.substr(label.size() + 2);
}

}  // namespace

TEST_CASE("generate writes about images, findings and both, a labelled line each") {
  const RunFolder folder;
  const std::string image0 = folder.path("chest0.png"), image1 = folder.path("chest1.png");
  const ProgramResult images = folder.generate({"--image", image0, image1});
  CHECK(images.error.empty());
  REQUIRE(images.status == 0);
  const auto of_images = lines_of(images.out);
  REQUIRE(of_images.size() == 2);
  const std::string first = written(of_images[0], image0 + ", from the image"),
                    second = written(of_images[1], image1 + ", from the image");
  CHECK(first != second);
  CHECK(first.find("##") == std::string::npos);
  CHECK(first.find('[') == std::string::npos);

  const ProgramResult findings = folder.generate({"--findings", "The lungs are clear."});
  REQUIRE(findings.status == 0);
  REQUIRE(lines_of(findings.out).size() == 1);
  const std::string of_findings = written(lines_of(findings.out)[0], "from the findings");

  const std::string file = folder.write("findings.txt", "The lungs\nare clear.\r\n").string();
  const ProgramResult both = folder.generate({"--image", image0, "--image", image1, "--findings-file", file});
  REQUIRE(both.status == 0);
  const auto of_both = lines_of(both.out);
  REQUIRE(of_both.size() == 6);
  CHECK(written(of_both[0], image0 + ", from the image") == first);
  CHECK(written(of_both[1], image0 + ", from the findings") == of_findings);
  CHECK(written(of_both[2], image0 + ", from both") != first);
  CHECK(written(of_both[3], image1 + ", from the image") == second);
  CHECK(written(of_both[5], image1 + ", from both") != second);
  // The same again, whatever the threads.
  CHECK(folder.generate({"--image", image0, image1, "--findings-file", file, "--threads", "1"}).out ==
        both.out);
  CHECK(folder.generate({"--image", image0, image1, "--findings-file", file, "--threads", "3"}).out ==
        both.out);
}

TEST_CASE("generate writes as its options say") {
  const RunFolder folder;
  const std::string image = folder.path("chest0.png");
  const auto text = [&](const Arguments& options) {
    Arguments arguments{"--image", image};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const ProgramResult result = folder.generate(arguments);
    CHECK(result.status == 0);
    return written(lines_of(result.out).at(0), image + ", from the image");
  };
  const std::string usual = text({});
  CHECK(text({"--beam", "4", "--length-penalty", "0.6", "--no-repeat", "0", "--longest", "16"}) == usual);
  const std::string greedy = text({"--beam", "1"});
  const std::string short_text = text({"--beam", "1", "--longest", "2"});
  CHECK(short_text.size() < greedy.size());
  CHECK(short_text.find(" (cut: the longest text)") != std::string::npos);
  const std::string no_repeat = text({"--beam", "1", "--no-repeat", "1"});
  CHECK(no_repeat != greedy);
}

TEST_CASE("generate draws the attention of each word, a picture for each image") {
  const RunFolder folder;
  std::filesystem::create_directory(folder / "other");
  std::filesystem::copy_file(folder / "chest1.png", folder / "other/chest0.png");
  const std::string overlay = folder.path("new/overlays");
  const ProgramResult result =
      folder.generate({"--image", folder.path("chest0.png"), folder.path("other/chest0.png"), "--overlay",
                       overlay, "--no-repeat", "2"});
  CHECK(result.error.empty());
  REQUIRE(result.status == 0);
  const auto lines = lines_of(result.out);
  REQUIRE(lines.size() == 4);
  CHECK(lines[1] ==
        folder.path("chest0.png") + ", attention of its words: " + overlay + "/chest0-attention.png");
  CHECK(lines[3] ==
        folder.path("other/chest0.png") + ", attention of its words: " + overlay + "/chest0-2-attention.png");
  for (const int line : {0, 2}) {
    const std::string& of_text = lines[static_cast<std::size_t>(line)];
    const auto words = std::ranges::count(of_text.substr(of_text.find("image: ") + 7), ' ') + 1 -
                       (of_text.ends_with(')') ? 4 : 0);
    const auto picture =
        io::read_image(overlay + (line == 0 ? "/chest0-attention.png" : "/chest0-2-attention.png"));
    CHECK(picture.width == std::min<Index>(8, words + 1) * 240 + 16);
  }
  CHECK(folder.generate({"--image", folder.path("chest0.png"), "--findings", "Clear.", "--overlay", overlay})
            .status == 0);
}

TEST_CASE("generate needs the part of the run that writes, and no other") {
  const RunFolder folder;
  const Arguments image{"--image", folder.path("chest0.png")}, findings{"--findings", "Clear."};
  std::filesystem::rename(folder / "run/best.safetensors", folder / "run/away");
  CHECK(folder.generate(findings).status == 0);
  check_refused(folder.generate(image),
                "best.safetensors is not there: writing about images needs the run's second stage");
  std::filesystem::rename(folder / "run/away", folder / "run/best.safetensors");
  std::filesystem::remove_all(folder / "run/stage1");
  CHECK(folder.generate(image).status == 0);
  check_refused(folder.generate(findings),
                "stage1/best.safetensors is not there: writing about findings needs the run's first stage");
}

TEST_CASE("generate refuses what it cannot read in a sentence") {
  const RunFolder folder;
  const Arguments findings{"--findings", "Clear."};
  const std::string image = folder.path("chest0.png");
  check_refused(folder.generate({}), "there is nothing to write about: name images by --image");
  check_refused(folder.generate({"--findings", "Clear.", "--overlay", "x"}), "--overlay needs --image");
  check_refused(folder.generate({"--findings", ""}), "--findings is empty");
  check_refused(folder.generate({"--findings", " .. "}), "--findings: there are no words in the findings");
  check_refused(folder.generate({"--findings", "x", "--findings-file", "y"}),
                "--findings excludes --findings-file");
  check_refused(folder.generate({"--findings-file", folder.path("none.txt")}), "none.txt");
  check_refused(folder.generate({"--findings-file", folder.write("latin.txt", "caf\xe9").string()}),
                "latin.txt");
  check_refused(folder.generate({"--image", folder.path("none.png")}), "none.png");
  check_refused(folder.generate({"--image", folder.write("text.png", "no image").string()}),
                "text.png: neither a PNG");
  check_refused(folder.generate({"--image", image, "--max-image-pixels", "99"}), "chest0.png");
  check_refused(folder.generate({"--findings", "x", "--beam", "0"}), "--beam must be from 1");
  check_refused(folder.generate({"--findings", "x", "--length-penalty", "-1"}),
                "--length-penalty must be 0 or a positive number, but is -1");
  check_refused(folder.generate({"--findings", "x", "--no-repeat", "-1"}), "--no-repeat must be from 0");
  check_refused(folder.generate({"--findings", "x", "--longest", "17"}),
                "longest must be from 0 to 16, but is 17");
  check_refused(folder.generate({"--findings", "x", "--threads", "-1"}), "--threads must be from 0");
  check_refused(folder.generate({"--image", image, "--overlay", image}), "of --overlay: ");
  check_refused(folder.generate({"--image", image, "--overlay", ""}), "--overlay names no folder");
  check_refused(run_program(folder.TemporaryFolder::path(), {VLP_TEST_GENERATE, "--findings", "x"}),
                "--run is required");
  check_refused(run_program(folder.TemporaryFolder::path(),
                            {VLP_TEST_GENERATE, "--run", folder.path("none"), "--findings", "x"}),
                "there is no run in '" + folder.path("none") + "'");
  // Each of several images is named.
  const ProgramResult both = folder.generate({"--image", folder.path("a.png"), image, folder.path("b.png")});
  CHECK(both.status == 2);
  CHECK(both.out.empty());
  REQUIRE(lines_of(both.error).size() == 2);
  CHECK(lines_of(both.error)[0].find("a.png") != std::string::npos);
  CHECK(lines_of(both.error)[1].find("b.png") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}

TEST_CASE("generate refuses runs that are not hybrid, and files that have changed") {
  const RunFolder folder;
  const Arguments image{"--image", folder.path("chest0.png")}, findings{"--findings", "Clear."};
  const std::string config = io::read_file(folder / "run/config.json");
  const auto with = [&](const char* name, auto value) {
    train::Settings settings = train::parse_settings(config, "config");
    settings[name] = value;
    folder.write("run/config.json", settings.dump());
  };
  with("objective", "multi-scale");
  check_refused(folder.generate(findings), "the objective of this run is multi-scale, which trains nothing");
  train::Settings old = train::parse_settings(config, "config");
  old.erase("objective");
  folder.write("run/config.json", old.dump());
  check_refused(folder.generate(findings), "the objective of this run is multi-scale");
  with("objective", "both");
  CHECK(folder.generate(findings).status == 0);
  with("width", "wide");
  check_refused(folder.generate(findings), "config.json: the setting 'width' must be a whole number");
  with("width", 7);
  check_refused(folder.generate(findings), "config.json: the setting width must be a multiple of heads");
  with("width", 16);
  check_refused(folder.generate(findings), "stage1/best.safetensors: does not fit the model: ");
  check_refused(folder.generate(image), "run/best.safetensors: does not fit the model: ");
  with("lambda-caption", 0);
  CHECK(folder.generate(image).status == 0);
  train::Settings settings = train::parse_settings(config, "config");
  settings["lambda-caption"] = settings["lambda-distillation"] = 0;
  folder.write("run/config.json", settings.dump());
  check_refused(folder.generate(image), "this run has nothing that writes about images");
  folder.write("run/config.json", "{");
  check_refused(folder.generate(findings), "config.json");
  folder.write("run/config.json", config);

  const std::string vocabulary = io::read_file(folder / "run/vocab.txt");
  std::string swapped = vocabulary;
  swapped.replace(swapped.find("left"), 4, "back");
  folder.write("run/vocab.txt", swapped);
  check_refused(folder.generate(findings), "made with another vocab.txt than the one in the run's folder");
  folder.write("run/vocab.txt", "no\n");
  check_refused(folder.generate(findings), "vocab.txt: there is no [PAD] among 1 pieces");
  folder.write("run/vocab.txt", vocabulary);

  std::string bytes = io::read_file(folder / "run/best.safetensors");
  bytes[bytes.size() - 5] ^= 1;
  folder.write("run/best.safetensors", bytes);
  check_refused(folder.generate(image), "best.safetensors: damaged, or changed since it was written");
  CHECK(folder.generate(findings).status == 0);
}

TEST_CASE("generate says where it does not read all of the findings, and explains itself") {
  const RunFolder folder;
  const ProgramResult cut = folder.generate({"--findings", "a b c d e f g h i"});
  CHECK(cut.status == 0);
  CHECK(cut.error == "generate: the findings have 9 words, of which the model reads the first 8\n");
  CHECK(lines_of(cut.out).size() == 1);
  const ProgramResult help = run_program(folder.TemporaryFolder::path(), {VLP_TEST_GENERATE, "--help"});
  CHECK(help.status == 0);
  CHECK(help.error.empty());
  for (const char* option : {"--run", "--image", "--findings", "--findings-file", "--beam",
                             "--length-penalty", "--no-repeat", "--longest", "--overlay"})
    CHECK(help.out.find(option) != std::string::npos);
}

#endif
