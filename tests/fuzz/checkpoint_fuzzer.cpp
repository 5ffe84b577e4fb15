// libFuzzer target: any bytes as the last checkpoint of a small model, or as the log beside it.
#include "fuzzer.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/train/checkpoint.hpp>
#include <vlp/train/log.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace train = vlp::train;
using vlp::fuzz::promise;
using vlp::fuzz::reads;

constexpr vlp::Index total_steps = 10;

struct Model {
  explicit Model(vlp::Cpu& device) : parameters(device, *this) {}
  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(vlp::join_names(prefix, "a"), a);
    visit(vlp::join_names(prefix, "b"), b);
  }
  vlp::Parameter<float> a{{2, 3}}, b{{4}};
  vlp::Parameters<float> parameters;
};

/// The bytes with the length of the header made right and, where it then parses, the hash of its contents.
std::string mended(std::string bytes) {
  const auto end = bytes.rfind("}}");
  if (bytes.size() < 10 || end == std::string::npos || end < 8) return bytes;
  const std::uint64_t length = end + 2 - 8;
  std::memcpy(bytes.data(), &length, sizeof length);
  std::string hash;
  if (!reads([&] {
        const vlp::io::SafeTensors file(vlp::fuzz::file_with(bytes, "whole.safetensors"));
        hash = train::detail::contents_hash(file);
        promise(hash.size() == 16, "a hash has 16 digits");
      }))
    return bytes;
  const std::string key = "\"contents\":\"";
  const auto at = bytes.find(key);
  if (at != std::string::npos && at + key.size() + 16 < bytes.size())
    bytes.replace(at + key.size(), 16, hash);
  return bytes;
}

void check_checkpoint(const std::string& bytes) {
  static vlp::Cpu device(1);
  static Model model(device);
  static vlp::optim::AdamW<float> optimiser(device, model.parameters.list());
  static const train::Provenance provenance{{{"lr", 0.5}}, {"values", "sources"}, {}, "build"};
  const std::string path = vlp::fuzz::file_with(bytes, "last.safetensors").string();
  reads([&] {
    const train::Checkpoint checkpoint = train::read_checkpoint(path, total_steps);
    const train::Progression& at = checkpoint.progression;
    promise(0 <= at.best_step && at.best_step <= at.step && at.step <= total_steps,
            "steps follow each other");
    promise(std::isfinite(at.best_loss) == (at.best_step > 0), "there is a loss where there is a step");
    try {
      train::load_checkpoint(device, checkpoint, model.parameters.list(), &optimiser, provenance);
    } catch (const std::invalid_argument& error) {  // other settings
      promise(std::string_view(error.what()).find("was made with") != std::string_view::npos, error.what());
    }
    for (const auto& [name, parameter] : model.parameters.list())
      for (vlp::Index i = 0; i < parameter->value().size(); ++i)
        promise(std::isfinite(parameter->value()[i]), "parameters are finite");
  });
}

void check_log(std::string_view bytes, double last) {
  const std::string path = vlp::fuzz::file_with(bytes, "log.csv").string();
  const std::vector<std::string> columns{"step", "loss"};
  train::Log log(path, columns);
  if (!reads([&] { log.load(last); })) {
    promise(log.rows().empty(), "what cannot be read changes nothing");
    return;
  }
  promise(log.rows().size() == static_cast<std::size_t>(last), "all rows are there");
  log.append({last + 1, 0.25});
  log.save();
  train::Log again(path, columns);
  again.load(last + 1);
  promise(again.rows().size() == log.rows().size(), "a row more");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes = vlp::fuzz::text_of(data, size);
  // The first byte chooses; for a checkpoint it is part of the header's length.
  if (data[0] == 'L') {
    check_log(bytes.substr(1), 3);
  } else {
    check_checkpoint(std::string(bytes));
    check_checkpoint(mended(std::string(bytes)));
  }
  return 0;
}
