// pretrain with the stages of hybrid pretraining, run as a process on tiny data.
#include "examples/pretrain_process.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>

#include <vlp/core/numbers.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/safetensors.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#ifdef VLP_TEST_PRETRAIN

using namespace vlp;
using namespace vlp::test;

namespace {

const Arguments hybrid{"--objective",      "hybrid", "--stage-1-epochs", "1",  "--epochs",   "1",
                       "--decoder-blocks", "1",      "--studies",        "40", "--overlays", "0"};

ProgramResult run_hybrid(const TemporaryFolder& folder, const io::Path& run, const Arguments& more = {}) {
  return pretrain_with(folder, {no_plots}, {tiny, hybrid, {"--out", run.string()}, more});
}
ProgramResult resume(const TemporaryFolder& folder, const io::Path& run, const Arguments& more = {}) {
  return pretrain_with(folder, {no_plots},
                       {{"--resume", "--threads", "1", "--overlays", "0", "--out", run.string()}, more});
}

/// The tensors of a checkpoint, without its metadata.
std::vector<std::string> tensors_of(const io::Path& file) {
  const io::SafeTensors checkpoint = io::read_safetensors(file);
  std::vector<std::string> tensors;
  for (const std::string& name : checkpoint.names()) {
    const auto bytes = checkpoint.bytes(name);
    tensors.push_back(name + ": " + std::string(bytes.begin(), bytes.end()));
  }
  return tensors;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

TEST_CASE("a hybrid run trains two stages and leaves what it promises") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const ProgramResult result = run_hybrid(
      folder, run, {"--studies", "60", "--stage-1-epochs", "8", "--epochs", "6", "--overlays", "1"});
  INFO(result.out << result.error);
  REQUIRE(result.status == 0);
  CHECK(result.error.empty());
  for (const char* file : {"config.json", "vocab.txt", "log.csv", "held_out.csv", "best.safetensors",
                           "last.safetensors", "summary.md", "stage1/log.csv", "stage1/held_out.csv",
                           "stage1/best.safetensors", "stage1/last.safetensors"})
    CHECK(std::filesystem::exists(run / file));
  CHECK(result.out.find("stage 1 of 2: summarisation") < result.out.find("stage 2 of 2: alignment"));
  for (const char* file : {"stage1/log.csv", "log.csv"}) {
    const auto loss = column(run / file, "loss");
    REQUIRE(loss.size() == (file[0] == 's' ? 40 : 30));
    CHECK(loss.back() < 0.97 * loss.front());
  }
  const auto caption = column(run / "log.csv", "caption"),
             summary = column(run / "stage1/log.csv", "summary");
  CHECK(caption.front() < summary.front());  // it begins with what the summariser knows
  for (const double value : column(run / "log.csv", "perturbation")) CHECK(value == 0);
  CHECK(column(run / "log.csv", "distillation").back() > 0);

  const std::string text = io::read_file(run / "summary.md");
  for (const char* part : {"Losses of stage 1", "Losses of stage 2", "lambda-distillation 1", "examples/s",
                           "the checkpoint of step ", "R@10", "Impressions written for 12 pairs",
                           "| image and findings |", "| blank image |", "| nearest training image's |",
                           "finding F1", "What impressions written from the image state", "](written/1.png)"})
    CHECK(text.find(part) != std::string::npos);
  CHECK(std::filesystem::exists(run / "written/1.png"));
  std::set<std::string> scored;
  for (const auto& row : io::read_csv(run / "scores.csv").rows) {
    scored.insert(row[0] + ": " + row[1]);
    const double value = std::stod(row[2]);
    CHECK((value >= 0 && value <= 1));
    if (row[0] == "image" && row[1] == "BLEU-1")
      CHECK(text.find("\n| image | " + fixed_text(100 * value, 1) + " % |") != std::string::npos);
  }
  for (const char* score : {"alignment: R@1 report to image", "alignment: pointing", "image: BLEU-1",
                            "findings: exact", "nearest training image's: ROUGE-L"})
    CHECK(scored.contains(score));
  const auto held_out = column(run / "held_out.csv", "loss");
  const auto best = static_cast<std::size_t>(std::ranges::min_element(held_out) - held_out.begin());
  CHECK(text.find("| caption | 1 | " + fixed_text(column(run / "held_out.csv", "caption")[best], 3) + " |") !=
        std::string::npos);

  const auto before = results_of_stages(run);
  const ProgramResult evaluation =
      pretrain(folder, {{"--eval-only", "--threads", "1", "--out", run.string()}});
  INFO(evaluation.error);
  CHECK(evaluation.status == 0);
  CHECK(results_of_stages(run) == before);
  CHECK(text.find(evaluation.out.substr(evaluation.out.find("### Structure"))) != std::string::npos);
}

TEST_CASE("a hybrid run says how many parameters its stages and their branches have") {
  const TemporaryFolder folder;
  const ProgramResult frozen = run_hybrid(folder, folder / "run", {"--shared-weights", "frozen"});
  INFO(frozen.out << frozen.error);
  REQUIRE(frozen.status == 0);
  const io::SafeTensors checkpoint = io::read_safetensors(folder / "run/best.safetensors");
  Index all = 0, decoder = 0, branch = 0;
  for (const std::string& name : checkpoint.names()) {
    const Index size = static_cast<Index>(checkpoint.values<float>(name).size());
    all += size;
    if (name.starts_with("decoder.")) decoder += size;
    if (name.find("cross_attention.caption") != std::string::npos) branch += size;
  }
  CHECK(branch == 4 * 16 * 16 + 4 * 16);
  CHECK(frozen.out.find(concat(all, " parameters, of which ", all - (decoder - branch), " are trained; ",
                               decoder, " are the decoder's, and of these ", branch,
                               " its attention for the branch 'caption' alone")) != std::string::npos);
  // Frozen weights are those of the summariser to the last.
  const io::SafeTensors summariser = io::read_safetensors(folder / "run/stage1/best.safetensors");
  for (const std::string& name : checkpoint.names())
    if (name.starts_with("decoder.") && name.find("cross_attention") == std::string::npos) {
      INFO(name);
      CHECK(checkpoint.values<float>(name) == summariser.values<float>(name));
    }
}

TEST_CASE("objective both has perturbed impressions at work with a weight of 1 unless another is given") {
  const TemporaryFolder folder;
  REQUIRE(run_hybrid(folder, folder / "one", {"--objective", "both"}).status == 0);
  REQUIRE(
      run_hybrid(folder, folder / "two", {"--objective", "both", "--lambda-perturbation", "0.5"}).status ==
      0);
  for (const double value : column(folder / "one/log.csv", "perturbation")) CHECK(value > 0);
  CHECK(io::read_file(folder / "one/config.json").find("\"lambda-perturbation\": 1.0") != std::string::npos);
  CHECK(io::read_file(folder / "two/config.json").find("\"lambda-perturbation\": 0.5") != std::string::npos);
  CHECK(resume(folder, folder / "two").status == 0);
  check_refused(resume(folder, folder / "two", {"--objective", "hybrid"}),
                "was made with objective \"both\", not \"hybrid\"");
}

TEST_CASE("options that do nothing in a run, or leave it nothing to do, are refused and nothing is written") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const auto refused = [&](const Arguments& options, const std::string& part) {
    check_refused(pretrain(folder, {tiny, {"--out", run.string()}, options}), part);
    CHECK_FALSE(std::filesystem::exists(run));
  };
  const Arguments h{"--objective", "hybrid"};
  const auto with = [&](Arguments more) {
    more.insert(more.begin(), h.begin(), h.end());
    return more;
  };
  refused(with({"--alpha", "0"}), "--alpha does nothing with --objective hybrid; it serves multi-scale");
  refused(with({"--beta", "1"}), "--beta does nothing");
  refused({"--objective", "both", "--perturbed-as-negatives"},
          "--perturbed-as-negatives does nothing with --objective both");
  refused(with({"--report-part", "report"}), "--report-part does nothing");
  for (const char* option : {"--stage", "--stage-1-epochs", "--decoder-blocks", "--lambda-caption"})
    refused({option, "1"},
            option + std::string(" does nothing with --objective multi-scale; it serves hybrid and both"));
  refused({"--missing-section", "leave-out"}, "--missing-section does nothing");
  refused(with({"--lambda-perturbation", "0.5"}),
          "--lambda-perturbation must be 0 with objective hybrid, but is 0.5; --objective both has it");
  refused({"--objective", "both", "--lambda-perturbation", "0"},
          "--lambda-perturbation must be above 0 with objective both");
  refused(with({"--lambda-caption", "-1"}), "--lambda-caption must be 0 or a positive number, but is -1");
  refused(with({"--stage", "3"}), "--stage must be one of auto, 1, 2, but is '3'");
  refused(with({"--stage", "2"}), "--stage 2 needs --summariser");
  refused(with({"--stage", "2", "--lambda-distillation", "0", "--shared-weights", "frozen"}),
          "--shared-weights frozen needs --summariser");
  refused(with({"--stage", "2", "--summariser", "x", "--stage-1-epochs", "3"}),
          "--stage-1-epochs does nothing with --stage 2");
  refused(with({"--summariser", "x"}), "--summariser serves stage 2 alone, but stage is auto");
  refused(with({"--stage", "2", "--summariser", (folder / "none.safetensors").string()}),
          "none.safetensors: cannot open");
  refused(with({"--lambda-summary", "0"}), "--lambda-summary must be above 0 in stage 1");
  refused(with({"--stage-1-epochs", "0"}), "--stage-1-epochs must be from 1");
  refused(with({"--lambda-global", "0", "--lambda-token", "0", "--lambda-caption", "0",
                "--lambda-distillation", "0"}),
          "--lambda-global and the other weights of stage 2 are all 0");
}

TEST_CASE("a run that is stopped in either stage says where and goes on to the same bytes") {
  const TemporaryFolder folder;
  const Arguments longer{"--stage-1-epochs", "10", "--epochs", "10"};
  const io::Path whole = folder / "whole", cut = folder / "cut";
  REQUIRE(run_hybrid(folder, whole, longer).status == 0);
  Arguments more = joined({tiny, hybrid, {"--out", cut.string(), "--checkpoint-every", "1"}, longer});
  for (const char* stage : {"stage1/last.safetensors", "last.safetensors"}) {
    Program program(folder.path(), more);
    REQUIRE(program.wait_until([&] { return std::filesystem::exists(cut / stage); }));
    program.send(SIGTERM);
    const ProgramResult result = program.finish();
    INFO(result.out << result.error);
    REQUIRE(result.status == 130);
    CHECK(result.out.find(stage[0] == 's' ? " of stage 1; go on with --resume --out "
                                          : " of stage 2; go on with --resume --out ") != std::string::npos);
    CHECK(result.out.find("stopped after stage 1;") == std::string::npos);
    if (stage[0] == 's') {
      check_refused(pretrain(folder, {{"--eval-only", "--threads", "1", "--out", cut.string()}}),
                    (cut / "best.safetensors").string() + " is not there: the run has not come to the end");
    }
    more = joined({{"--resume", "--out", cut.string(), "--checkpoint-every", "1"}});
  }
  const ProgramResult rest = resume(folder, cut);
  CHECK(rest.status == 0);
  // It takes up the work of both stages.
  CHECK(rest.out.find("going on after step 30\n") < rest.out.find("stage 2 of 2"));
  CHECK(rest.out.find("going on after step ", rest.out.find("stage 2 of 2")) != std::string::npos);
  CHECK(results_of_stages(cut) == results_of_stages(whole));
}

TEST_CASE("a run of stage 1 alone goes on to stage 2 and ends as one that always had both") {
  const TemporaryFolder folder;
  const io::Path whole = folder / "whole", parts = folder / "parts";
  REQUIRE(run_hybrid(folder, whole).status == 0);
  const ProgramResult first = run_hybrid(folder, parts, {"--stage", "1"});
  INFO(first.error);
  REQUIRE(first.status == 0);
  CHECK(first.out.find("stage 2") == std::string::npos);
  CHECK_FALSE(std::filesystem::exists(parts / "best.safetensors"));
  for (const char* part : {"Losses of stage 1", "What impressions written from the findings state"})
    CHECK(io::read_file(parts / "summary.md").find(part) != std::string::npos);
  CHECK(pretrain(folder, {{"--eval-only", "--threads", "1", "--out", parts.string()}}).status == 0);
  CHECK(resume(folder, parts).status == 0);  // nothing is left to do
  check_refused(resume(folder, parts, {"--stage", "2"}), "was made with stage \"1\", not \"2\"");
  check_refused(
      pretrain(folder, {{"--eval-only", "--threads", "1", "--stage", "auto", "--out", parts.string()}}),
      "was made with stage \"1\", not \"auto\"");
  const ProgramResult second = resume(folder, parts, {"--stage", "auto"});
  INFO(second.error);
  CHECK(second.status == 0);
  CHECK(results_of_stages(parts) == results_of_stages(whole));
  CHECK(resume(folder, parts).status == 0);
  check_refused(resume(folder, parts, {"--stage", "1"}), "was made with stage \"auto\", not \"1\"");
}

TEST_CASE("stage 2 starts from the summariser of another run and is that run's second stage") {
  const TemporaryFolder folder;
  const io::Path whole = folder / "whole", second = folder / "second";
  REQUIRE(run_hybrid(folder, whole).status == 0);
  const std::string summariser = (whole / "stage1/best.safetensors").string();
  Arguments options = joined({tiny, hybrid, {"--stage", "2", "--summariser", summariser}});
  options.erase(std::ranges::find(options, "--stage-1-epochs"),
                std::ranges::find(options, "--stage-1-epochs") + 2);
  const auto run = [&](const io::Path& out, const Arguments& more = {}) {
    Arguments command{"/usr/bin/env", no_plots};
    for (const Arguments& part : {options, more}) command.insert(command.end(), part.begin(), part.end());
    command.insert(command.end(), {"--out", out.string()});
    return run_program(folder.path(), command);
  };
  const ProgramResult result = run(second);
  INFO(result.error);
  REQUIRE(result.status == 0);
  CHECK(result.out.find("stage 1") == std::string::npos);
  CHECK(io::read_file(second / "stage1/best.safetensors") == io::read_file(summariser));
  for (const char* file : {"log.csv", "held_out.csv", "vocab.txt"})
    CHECK(io::read_file(second / file) == io::read_file(whole / file));
  for (const char* file : {"best.safetensors", "last.safetensors"})
    CHECK(tensors_of(second / file) == tensors_of(whole / file));

  // It needs the other run no more, and says where its copy came from.
  std::filesystem::remove_all(whole);
  CHECK(resume(folder, second).status == 0);
  CHECK(pretrain(folder, {{"--eval-only", "--threads", "1", "--out", second.string()}}).status == 0);
  const std::string copy = io::read_file(second / "stage1/best.safetensors");
  std::filesystem::remove(second / "stage1/best.safetensors");
  const ProgramResult missing = resume(folder, second);
  check_refused(missing, "stage1/best.safetensors: cannot open: No such file");
  CHECK(missing.error.find("put back the file as it was, a copy of the one that --summariser named (" +
                           summariser) != std::string::npos);
  io::write_file(second / "stage1/best.safetensors", copy.substr(0, copy.size() - 1) + '?');
  check_refused(resume(folder, second), "stage1/best.safetensors: damaged, or changed since it was written");
}

TEST_CASE("a summariser of other word pieces, another decoder or no stage 1 is refused by name") {
  const TemporaryFolder folder;
  const io::Path first = folder / "first", out = folder / "out";
  REQUIRE(run_hybrid(folder, first, {"--stage", "1"}).status == 0);
  const std::string summariser = (first / "stage1/best.safetensors").string();
  const auto refused = [&](const std::string& file, const Arguments& more, const std::string& part) {
    check_refused(pretrain(folder, {tiny,
                                    {"--studies", "40", "--objective", "hybrid", "--decoder-blocks", "1"},
                                    {"--stage", "2", "--summariser", file, "--out", out.string()},
                                    more}),
                  part);
    CHECK_FALSE(std::filesystem::exists(out));
  };
  folder.write("vocab.txt", io::read_file(first / "vocab.txt") + "extra\n");
  refused(
      summariser, {"--vocabulary", (folder / "vocab.txt").string()},
      summariser + ": trained with other word pieces than those of this run; name the vocab.txt of its run");
  const std::string vocabulary = (first / "vocab.txt").string();
  for (const auto& [name, was, now] : std::vector<std::array<std::string, 3>>{
           {"heads", "2", "4"}, {"word-layers", "3", "1"}, {"max-words", "50", "40"}})
    refused(summariser, {"--vocabulary", vocabulary, "--" + name, now},
            summariser + " was made with " + name + " " + was + ", not " + now);
  folder.write("text", "no checkpoint");
  refused((folder / "text").string(), {}, "text");
  REQUIRE(pretrain(folder, {tiny,
                            {"--studies", "40", "--epochs", "1", "--vocabulary", vocabulary, "--out",
                             (folder / "contrastive").string()}})
              .status == 0);
  refused((folder / "contrastive/best.safetensors").string(), {"--vocabulary", vocabulary},
          "best.safetensors");
}

TEST_CASE("files of the first stage that have changed are refused by name, with what to do") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run", other = folder / "other";
  REQUIRE(run_hybrid(folder, run).status == 0);
  const auto expected = results_of_stages(run);
  const io::Path best = run / "stage1/best.safetensors", last = run / "stage1/last.safetensors";
  const std::string good = io::read_file(best);
  const std::string advice = "put back the file as it was, or remove " + last.string();

  std::filesystem::remove(best);
  check_refused(resume(folder, run), best.string() + " is missing, the checkpoint of step");
  CHECK(resume(folder, run).error.find(advice) != std::string::npos);
  check_refused(pretrain(folder, {{"--eval-only", "--threads", "1", "--out", run.string()}}),
                best.string() + ": cannot open");
  io::write_file(best, good.substr(0, good.size() - 1) + '?');
  check_refused(resume(folder, run), best.string() + ": damaged, or changed since it was written");
  CHECK(resume(folder, run).error.find(advice) != std::string::npos);

  // Without its last checkpoint, the first stage begins again, and the second goes on where it was.
  std::filesystem::remove(last);
  const ProgramResult again = resume(folder, run);
  INFO(again.out << again.error);
  CHECK(again.status == 0);
  CHECK(again.out.find("stage1/last.safetensors is not there: the run begins at step 0") !=
        std::string::npos);
  CHECK(results_of_stages(run) == expected);

  // Another summariser, sound by itself, is not the one that stage 2 began with.
  REQUIRE(run_hybrid(folder, other, {"--lr", "0.01"}).status == 0);
  for (const char* file : {"log.csv", "held_out.csv", "best.safetensors", "last.safetensors"})
    io::write_file(run / "stage1" / file, io::read_file(other / "stage1" / file));
  check_refused(resume(folder, run), "stage1/last.safetensors was made with ");
  check_refused(pretrain(folder, {{"--eval-only", "--threads", "1", "--out", run.string()}}),
                "best.safetensors: made with another stage1/best.safetensors than the one in its folder");
}

TEST_CASE("a hybrid run starts from weights as far as its stages take them") {
  const TemporaryFolder folder;
  const io::Path plain = folder / "plain", run = folder / "run";
  REQUIRE(
      pretrain(folder, {tiny, {"--studies", "40", "--epochs", "1", "--alpha", "0", "--out", plain.string()}})
          .status == 0);
  const io::Path weights = plain / "best.safetensors";
  const ProgramResult result = run_hybrid(folder, run, {"--lr", "1e-12", "--weights", weights.string()});
  INFO(result.out << result.error);
  REQUIRE(result.status == 0);
  const io::SafeTensors from = io::read_safetensors(weights),
                        one = io::read_safetensors(run / "stage1/best.safetensors"),
                        two = io::read_safetensors(run / "best.safetensors");
  const auto check_near = [&](const io::SafeTensors& file, const std::string& name) {
    INFO(name);
    const auto a = from.values<float>(name), b = file.values<float>(name);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) < 1e-6f);
  };
  check_near(one, "text_encoder.block0.attention.output.weight");
  check_near(two, "text_encoder.block0.attention.output.weight");
  check_near(two, "image_head.weight");
  check_refused(run_hybrid(folder, folder / "third", {"--weights", (folder / "none.safetensors").string()}),
                "none.safetensors: cannot open");

  // Stage 2 has the summariser's own text encoder and decoder, whatever the weights hold, and what is left of
  // it from the weights.
  const io::Path other = folder / "other", second = folder / "second";
  REQUIRE(run_hybrid(folder, other, {"--seed", "2", "--vocabulary", (run / "vocab.txt").string()}).status ==
          0);
  const io::SafeTensors summariser = io::read_safetensors(run / "stage1/best.safetensors");
  REQUIRE(
      pretrain_with(folder, {no_plots},
                    {tiny,
                     {"--objective", "hybrid", "--decoder-blocks", "1", "--studies", "40", "--epochs", "1"},
                     {"--lr", "1e-12", "--stage", "2", "--overlays", "0", "--out", second.string()},
                     {"--summariser", (run / "stage1/best.safetensors").string()},
                     {"--weights", (other / "best.safetensors").string()}})
          .status == 0);
  const io::SafeTensors trained = io::read_safetensors(second / "best.safetensors"),
                        others = io::read_safetensors(other / "best.safetensors");
  const auto is_near = [&](const io::SafeTensors& file, const std::string& name) {
    return std::ranges::equal(file.values<float>(name), trained.values<float>(name),
                              [](float a, float b) { return std::abs(a - b) < 1e-6f; });
  };
  for (const char* name : {"text_encoder.block0.attention.output.weight", "decoder.embedding.word",
                           "decoder.block0.feed_forward.first.weight"}) {
    INFO(name);
    CHECK(is_near(summariser, name));
    CHECK_FALSE(is_near(others, name));
  }
  CHECK(is_near(others, "image_head.weight"));
}

TEST_CASE("a hybrid run reads findings and impression, and goes on with both as they were") {
  const TemporaryFolder folder;
  write_manifest(folder);
  std::string csv = "image,findings,impression,patient\n";
  for (int i = 0; i < 6; ++i) {
    const std::string n = std::to_string(i);
    csv += "image" + n + ".png,\"The left lung, shows number " + n + ".\"," +
           (i == 5 ? "" : "Small effusion number " + n + ".") + "," + n + "\n";
  }
  folder.write("manifest.csv", csv);
  const io::Path run = folder / "run";
  const Arguments data{"--data", "manifest:" + (folder / "manifest.csv").string(), "--batch-size", "2"};
  const ProgramResult result = run_hybrid(folder, run, data);
  INFO(result.out << result.error);
  REQUIRE(result.status == 0);
  CHECK(result.out.find("1 of 6 pairs are left out, for their report has no impression") !=
        std::string::npos);
  CHECK(io::read_file(run / "summary.md").find("| findings | ") != std::string::npos);
  const std::string vocabulary = io::read_file(run / "vocab.txt");
  const auto has = [&](const std::string& piece) {
    return vocabulary.find("\n" + piece + "\n") != std::string::npos;
  };
  CHECK((has("lung") && has("effusion")));  // of findings, of impressions
  Arguments filled = data;
  filled.insert(filled.end(), {"--missing-section", "other-section"});
  CHECK(run_hybrid(folder, folder / "all", filled).out.find("for which the text of the findings stands in") !=
        std::string::npos);
  folder.write("manifest.csv", replaced(csv, "shows number 2", "hides number 2"));
  check_refused(resume(folder, run), "the data have changed since this run began");
  folder.write("manifest.csv", replaced(csv, "Small effusion number 2", "Large effusion number 2"));
  check_refused(resume(folder, run), "the data have changed since this run began");
}

TEST_CASE("stage 2 without a summariser trains a captioner from fresh weights") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const ProgramResult result =
      pretrain(folder, {tiny,
                        {"--objective", "hybrid", "--stage", "2", "--lambda-distillation", "0"},
                        {"--studies", "40", "--epochs", "1", "--out", run.string()}});
  INFO(result.out << result.error);
  CHECK(result.status == 0);
  CHECK_FALSE(std::filesystem::exists(run / "stage1"));
  const auto expected = results_of(run);
  CHECK(resume(folder, run).status == 0);
  CHECK(results_of(run) == expected);
}

#endif
