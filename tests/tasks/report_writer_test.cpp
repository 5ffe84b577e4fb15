// The writers of a hybrid run, read from its files: what they write is what the tasks' own models write.
#include "support/catch.hpp"
#include "support/guarded_device.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"
#include "tasks/few_pairs.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/tasks/detail/pairs_on_device.hpp>
#include <vlp/tasks/hybrid.hpp>
#include <vlp/tasks/report_writer.hpp>
#include <vlp/tasks/summarisation.hpp>
#include <vlp/tasks/written_report.hpp>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using tasks::AttendedWord, tasks::ReportWriter, tasks::WrittenReport;

namespace {

tasks::HybridOptions small_hybrid_options() {
  tasks::HybridOptions options;
  options.pairs = small_options().pairs;
  options.pairs.model.image_blocks = 2;
  options.pairs.model.region_blocks = 1;
  options.objective.decoder_blocks = 1;
  return options;
}

/// Both stages of a run with random weights, in files.
struct Run {
  explicit Run(Cpu& device)
      : dataset(few_pairs(16)),
        options(small_hybrid_options()),
        vocabulary(tasks::build_vocabulary(dataset, options.pairs)),
        summarisation(device, options, dataset, vocabulary) {
    spread(device, summarisation, 3);
    io::write_parameters(device, folder / "stage1.safetensors", summarisation.parameters());
    hybrid.emplace(device, options, dataset, vocabulary, folder / "stage1.safetensors");
    spread(device, *hybrid, 800);
    io::write_parameters(device, folder / "best.safetensors", hybrid->parameters());
    for (const data::Example& example : dataset.train) {
      images.push_back(dataset.images->image(example.image_id));
      findings.push_back(example.findings);
    }
  }

  /// Weights that write different things about different contexts.
  template <class Task>
  static void spread(Cpu& device, Task& task, std::uint32_t stream) {
    for (const auto& [name, parameter] : task.parameters())
      upload_value(device, *parameter, normal_values<float>(parameter->size(), ++stream));
  }

  [[nodiscard]] tasks::ReportWriterFiles files() const {
    return {folder / "best.safetensors", folder / "stage1.safetensors"};
  }

  TemporaryFolder folder;
  data::Dataset dataset;
  tasks::HybridOptions options;
  text::Vocabulary vocabulary;
  tasks::Summarisation<> summarisation;
  std::optional<tasks::Hybrid<>> hybrid;
  std::vector<io::GrayImage> images;
  std::vector<std::string> findings;
};

/// A batch of all training pairs as the task makes it.
data::PairBatch whole_batch(Run& run) {
  data::PairBatchMaker maker(run.hybrid->batch_options(), run.hybrid->word_piece(), {});
  std::vector<Index> all(run.dataset.train.size());
  std::iota(all.begin(), all.end(), Index{0});
  return maker.make(*run.dataset.images, run.dataset.train, all, 0);
}

}  // namespace

TEST_CASE("a writer that was read from the files of a run writes what its models write") {
  Cpu device(1);
  Run run(device);
  ReportWriter<> writer(device, run.options, run.vocabulary, run.files());

  // The context of each branch as evaluation has it at hand: features of the encoders of a batch.
  const data::PairBatch batch = whole_batch(run);
  tasks::detail::PairInputsOnDevice<float, Cpu> inputs;
  inputs.assign(device, data::part_of(batch, 0, batch.pairs), 16);
  auto& model = run.hybrid->model();
  models::PairFeatureBuffers<float, Cpu> features;
  features.resize(model.feature_extents(batch.pairs, batch.texts_per_pair, batch.max_words));
  model.forward(device, inputs.view(), features.view());
  const auto regions = model.encoder_features(inputs.view()).regions;
  nn::Sequences<Cpu> sequences;
  sequences.assign_equal(device, batch.pairs, regions.extent(1));
  const tasks::WritingContext<float, Cpu> about_images{run.hybrid->decoder(), flatten_rows(regions),
                                                       sequences};
  const auto of_images = write_reports(device, about_images, run.vocabulary, {});

  std::vector<std::int32_t> ids;
  std::vector<Index> offsets{0};
  for (Index b = 0; b < batch.pairs; ++b) {  // findings are a pair's last text
    const auto text = static_cast<std::size_t>((b + 1) * batch.texts_per_pair - 1);
    ids.insert(ids.end(), batch.pieces.begin() + batch.offsets[text],
               batch.pieces.begin() + batch.offsets[text + 1]);
    offsets.push_back(static_cast<Index>(ids.size()));
  }
  nn::Tokens<Cpu> tokens;
  tokens.assign(device, ids, offsets);
  auto& summariser = run.summarisation.model();
  const tasks::WritingContext<float, Cpu> about_findings{
      summariser.decoder(), summariser.encode(device, tokens), tokens.sequences()};
  const auto of_findings = write_reports(device, about_findings, run.vocabulary, {});
  const auto of_both = write_reports(device, about_images, about_findings, run.vocabulary, {});

  std::vector<std::vector<AttendedWord>> attention, attention_of_both;
  CHECK(writer.from_images(device, run.images, {}, &attention) == of_images);
  CHECK(writer.from_findings(device, run.findings, {}) == of_findings);
  CHECK(writer.from_both(device, run.images, run.findings, {}, &attention_of_both) == of_both);
  CHECK(of_images != of_findings);
  CHECK(of_images != of_both);
  CHECK(of_images.at(0).text != of_images.at(1).text);
  REQUIRE(attention.size() == run.images.size());
  CHECK(writer.grid() == 2);
  for (std::size_t i = 0; i < attention.size(); ++i)
    for (const AttendedWord& word : attention[i]) {
      CHECK(word.attention.size() == 4);
      CHECK(of_images[i].text.find(word.word) != std::string::npos);
    }
  CHECK(attention_of_both.size() == run.images.size());
}

TEST_CASE("images and findings are written about in batches, each as alone") {
  Cpu device(1);
  Run run(device);
  ReportWriter<> writer(device, run.options, run.vocabulary, run.files());
  std::vector<io::GrayImage> images;
  std::vector<std::string> findings;
  for (std::size_t i = 0; i < 35; ++i) {
    images.push_back(run.images[i % 4]);
    findings.push_back(run.findings[i % 4]);
  }
  std::vector<std::vector<AttendedWord>> attention;
  const auto of_images = writer.from_images(device, images, {}, &attention);
  const auto of_findings = writer.from_findings(device, findings, {});
  REQUIRE(of_images.size() == 35);
  REQUIRE(of_findings.size() == 35);
  CHECK(attention.size() == 35);
  for (std::size_t i = 0; i < 35; ++i) {
    CHECK(of_images[i].pieces ==
          writer.from_images(device, std::span(run.images).subspan(i % 4, 1), {}).at(0).pieces);
    CHECK(of_findings[i].pieces == of_findings[i % 4].pieces);
  }
  CHECK(writer.from_images(device, {}, {}).empty());
  // The scale of an image's pixels does not matter, nor do words behind those that the model reads.
  std::vector<io::GrayImage> darker{run.images[0]};
  for (float& pixel : darker[0].pixels) pixel = pixel / 2 + 3;
  CHECK(writer.from_images(device, darker, {}).at(0).pieces == of_images[0].pieces);
  const std::string twelve = "a b c d e f g h i j k l";
  CHECK(writer.from_findings(device, std::vector{twelve + " heart"}, {}) ==
        writer.from_findings(device, std::vector{twelve}, {}));
}

TEST_CASE("a writer has the parts that it was given files of") {
  Cpu device(1);
  Run run(device);
  ReportWriter<> images_alone(device, run.options, run.vocabulary, {.captioner = run.files().captioner});
  ReportWriter<> findings_alone(device, run.options, run.vocabulary, {.summariser = run.files().summariser});
  CHECK(images_alone.from_images(device, run.images, {}).size() == 4);
  CHECK(findings_alone.from_findings(device, run.findings, {}).size() == 4);
  CHECK_THROWS_WITH(images_alone.from_findings(device, run.findings, {}),
                    "ReportWriter: made without a summariser, which findings need");
  CHECK_THROWS_WITH(findings_alone.from_images(device, run.images, {}),
                    "ReportWriter: made without a captioner, which images need");
  CHECK_THROWS_WITH(findings_alone.grid(), "ReportWriter: made without a captioner, which images need");
  CHECK_THROWS_WITH(images_alone.from_both(device, run.images, {}, {}),
                    "ReportWriter: 4 images but 0 findings");
  CHECK_THROWS_WITH(images_alone.from_images(device, std::vector{io::make_gray_image(16, 24)}, {}),
                    "ReportWriter: an image of 16 x 24 pixels for a model of 16 x 16");
}

TEST_CASE("files that are not those of the run's models are refused by name") {
  Cpu device(1);
  Run run(device);
  const auto refused = [&](tasks::HybridOptions options, const tasks::ReportWriterFiles& files) {
    return message_of([&] { ReportWriter<> writer(device, options, run.vocabulary, files); });
  };
  auto wider = run.options;
  wider.pairs.model.width = 12;
  CHECK(
      refused(wider, run.files()).starts_with(run.files().captioner.string() + ": does not fit the model: "));
  auto deeper = run.options;
  deeper.objective.decoder_blocks = 2;
  CHECK(refused(deeper, run.files()).find("decoder.block1.") != std::string::npos);
  // Each file for the other.
  CHECK(refused(run.options, {.captioner = run.files().summariser}).find("image_encoder.") !=
        std::string::npos);
  CHECK(refused(run.options, {.summariser = run.files().captioner})
            .find("decoder.block0.cross_attention.summary") != std::string::npos);
  CHECK(refused(run.options, {.captioner = run.folder / "none"}).find("none") != std::string::npos);
  auto bad = run.options;
  bad.objective.decoder_blocks = 0;
  CHECK_THROWS_AS(ReportWriter<>(device, bad, run.vocabulary, run.files()), std::invalid_argument);
}

TEST_CASE("a writer reads memory of a device by its operations alone") {
  Cpu cpu(1);
  Run run(cpu);
  Guarded device;
  ReportWriter<float, Guarded> guarded(device, run.options, run.vocabulary, run.files());
  ReportWriter<> writer(cpu, run.options, run.vocabulary, run.files());
  std::vector<std::vector<AttendedWord>> attention;
  CHECK(guarded.from_both(device, run.images, run.findings, {}, &attention) ==
        writer.from_both(cpu, run.images, run.findings, {}));
  CHECK(attention.size() == 4);
}
