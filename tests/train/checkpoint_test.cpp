// Checkpoints: which are taken, and what is said of the others.
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"
#include "train/line_task.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/train/checkpoint.hpp>

#include <cstddef>
#include <filesystem>
#include <limits>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using test::Line;
using test::message_of;
using test::TemporaryFolder;

namespace {

const train::Provenance provenance{{{"lr", 0.2}}, {"points", "drawn"}, {{"notes", "1"}}};

}  // namespace

TEST_CASE("a checkpoint of other settings, other data or another model is refused and changes nothing") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  Cpu device(1);
  Line line(device);
  optim::AdamW<float> optimiser(device, line.parameters());
  line.parameters()[0].parameter->value()[0] = 7;
  train::save_checkpoint<float, Cpu>(device, path, line.parameters(), &optimiser, provenance, {4, 0.5, 3});

  Line other(device);
  const auto load = [&](const train::Provenance& wanted, optim::AdamW<float>* state) {
    return message_of<std::exception>([&] {
      const train::Checkpoint checkpoint = train::read_checkpoint(path, 4);
      const std::string note =
          train::load_checkpoint<float, Cpu>(device, checkpoint, other.parameters(), state, wanted);
      if (!note.empty()) throw std::runtime_error("note: " + note);
    });
  };
  const auto with = [](auto change) {
    train::Provenance changed = provenance;
    change(changed);
    return changed;
  };
  CHECK(load(with([](auto& p) { p.settings["lr"] = 0.3; }), nullptr) ==
        path + " was made with lr 0.2, not 0.3; go on with the same settings, or start in another folder");
  const auto other_data = with([](auto& p) { p.data = {"other points", "others"}; });
  CHECK(load(other_data, &optimiser) ==
        path + ": the data have changed since this run began; start in another folder");
  CHECK(load(with([](auto& p) { p.files["notes"] = "2"; }), nullptr) ==
        path +
            ": made with another notes than the one in its folder; put that one back, or start in another "
            "folder");
  CHECK(load(with([](auto& p) { p.files["more"] = "1"; }), nullptr).find("made with another more") !=
        std::string::npos);
  CHECK(other.parameters()[0].parameter->value()[0] == 0);
  CHECK(load(other_data, nullptr) == "no error");  // to evaluate, other data will do
  CHECK(other.parameters()[0].parameter->value()[0] == 7);

  // The same data, wherever they lie: known by their values, or by their sources in another build.
  CHECK(load(with([](auto& p) { p.data.sources = "encoded anew"; }), &optimiser) == "no error");
  const auto other_build = with([](auto& p) { p.build = "another"; });
  CHECK(load(other_build, &optimiser) ==
        "note: the run goes on, but perhaps not bit for bit: it was saved by "
        "another build (" +
            provenance.build + "; this is another)");
  CHECK(
      load(with([](auto& p) { p.build = "another", p.data.values = "rounded"; }), &optimiser) ==
      "note: the run goes on, but not bit for bit: its images, whose files are unchanged, are read otherwise "
      "than when it was saved by another build (" +
          provenance.build + "; this is another)");
  CHECK(load(with([](auto& p) { p.data.values = "decoded"; }), &optimiser)
            .ends_with("than when it was saved, perhaps by another version of a library"));
  CHECK(load(with([](auto& p) {
               p.data = {"decoded", ""};
             }),
             &optimiser)
            .find("the data have changed") != std::string::npos);

  // Data whose sources are unknown.
  train::Provenance computed = with([](auto& p) { p.data.sources.clear(); });
  train::save_checkpoint<float, Cpu>(device, path, line.parameters(), &optimiser, computed, {4, 0.5, 3});
  CHECK(load(computed, &optimiser) == "no error");
  computed.data.values = "other points";
  CHECK(load(computed, &optimiser).ends_with("; start in another folder"));
  computed.build = "another";
  CHECK(load(computed, &optimiser)
            .find("; start in another folder, unless another build has computed them (") !=
        std::string::npos);

  // Images that are decoded later, by the run that was saved or by the one that goes on.
  const train::Provenance both = with([](auto& p) { p.data.sizes = "sizes"; });
  const train::Provenance later = with([](auto& p) { p.data = {"", "", "sizes"}; });
  for (const auto& [saved, now] : {std::pair(both, later), {later, both}, {later, later}}) {
    train::save_checkpoint<float, Cpu>(device, path, line.parameters(), &optimiser, saved, {4, 0.5, 3});
    CHECK(load(now, &optimiser) == "no error");
    train::Provenance other_sizes = now;
    other_sizes.data.sizes = "others";
    CHECK(load(other_sizes, &optimiser) ==
          path + ": the data have changed since this run began; start in another folder");
    other_sizes.data.sizes.clear();
    if (now.data.values.empty() || saved.data.values.empty())
      CHECK(load(other_sizes, &optimiser).ends_with("; start in another folder"));
  }
}

namespace {

/// A file that says it is a checkpoint, and whose hash is right, whatever else it says.
void write_checkpoint(const std::string& path, const std::map<std::string, std::string>& changes,
                      const std::vector<float>& offset = {1}) {
  const std::vector<float> slope{1};
  const std::vector<io::TensorRef> tensors{
      io::tensor_ref("slope", std::span(slope), {1}),
      io::tensor_ref("offset", std::span(offset), {static_cast<Index>(offset.size())})};
  io::Metadata metadata{
      {"settings", R"({"lr":0.2})"}, {"data", "points"}, {"data_sources", "drawn"}, {"build", ""},
      {"file:notes", "1"},           {"log", ""},        {"held_out_log", ""},      {"step", "5"},
      {"best_loss", "0.5"},          {"best_step", "5"}};
  for (const auto& [key, text] : changes) metadata[key] = text;
  metadata["contents"] = train::detail::contents_hash(tensors, metadata);
  io::write_safetensors(path, tensors, metadata);
}

}  // namespace

TEST_CASE("every field of a checkpoint is checked") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  Cpu device(1);
  Line line(device);
  const auto load = [&](const std::map<std::string, std::string>& changes,
                        const std::vector<float>& offset = {1}) {
    write_checkpoint(path, changes, offset);
    return message_of([&] {
      train::load_checkpoint<float, Cpu>(device, train::read_checkpoint(path, 50), line.parameters(), nullptr,
                                         provenance);
    });
  };
  const std::string step = path + ": its step must be a number from 0 to 50, but is ";
  CHECK(load({{"step", "-1"}}) == step + "\"-1\"");
  CHECK(load({{"step", "51"}}) == step + "\"51\"");
  CHECK(load({{"step", "1000000000000000000000"}}) == step + "\"1000000000000000000000\"");
  for (const char* text : {"", "abc", "4.7", "5 garbage", " 5", "+5", "0x5", "5\n"})
    CHECK(load({{"step", text}}).starts_with(step));
  CHECK(load({{"step", std::string(100000, '5')}}).size() < 300);
  CHECK(load({{"best_step", "6"}}).find("its best_step must be a number from 0 to 5, but is \"6\"") !=
        std::string::npos);
  for (const char* text : {"nan", "inf", "-inf", "abc", "", "1e999", "0.5x", "None"})
    CHECK(load({{"best_loss", text}}).find("its best_loss must be a number from -1.79") != std::string::npos);
  CHECK(load({{"best_loss", "none"}}) == path + ": its best_loss is \"none\" at best_step 5");
  CHECK(load({{"best_step", "0"}}) == path + ": its best_loss is \"0.5\" at best_step 0");
  CHECK(load({{"settings", "{"}}) == path + ": not JSON (column 2)");
  CHECK(load({{"settings", "[]"}}) == path + ": the settings of a run are an object, but this is an array");
  CHECK(load({{"settings", R"({"lr":[]})"}}) == path + R"(: the setting "lr" is an array)");
  CHECK(load({{"settings", R"({"lr":)" + std::string(30000, '[') + std::string(30000, ']') + "}"}}) ==
        path + ": nested deeper than 64");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(load({}, {nan}) == path + ": tensor 'offset' holds a number that is not finite");
  CHECK(load({}, {1, 2}) == path + ": tensor 'offset' has another shape than in this model");
  for (Index i = 0; i < 2; ++i)
    CHECK(line.parameters()[static_cast<std::size_t>(i)].parameter->value()[0] ==
          0);  // the first tensor fits
  CHECK(load({{"step", "50"}, {"best_step", "0"}, {"best_loss", "none"}}) == "no error");
  CHECK(line.parameters()[0].parameter->value()[0] == 1);
}

TEST_CASE("no single changed bit of a checkpoint is taken") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  write_checkpoint(path, {});
  CHECK(train::read_checkpoint(path, 50).progression.step == 5);
  std::string bytes = io::read_file(path);
  int refused = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    for (const int bit : {0, 3, 7}) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      folder.write("a.safetensors", bytes);
      const std::string message = message_of([&] { static_cast<void>(train::read_checkpoint(path, 50)); });
      INFO("byte " << i << ", bit " << bit);
      CHECK(message.starts_with(path));
      refused += message != "no error";
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
    }
  CHECK(refused == 3 * static_cast<int>(bytes.size()));
  for (std::size_t size = 0; size < bytes.size(); size += 5) {
    folder.write("a.safetensors", bytes.substr(0, size));
    CHECK(message_of([&] { static_cast<void>(train::read_checkpoint(path, 50)); }).starts_with(path));
  }
}

TEST_CASE("a checkpoint that is not finite is not written") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  Cpu device(1);
  Line line(device);
  line.parameters()[1].parameter->value()[0] = std::numeric_limits<float>::infinity();
  CHECK(
      message_of([&] {
        train::save_checkpoint<float, Cpu>(device, path, line.parameters(), nullptr, provenance, {4, 0.5, 3});
      }) == path +
                ": not saved, since 'offset' holds a number that is not finite after step 4; a lower lr or "
                "clip may help");
  CHECK_FALSE(std::filesystem::exists(path));
}
