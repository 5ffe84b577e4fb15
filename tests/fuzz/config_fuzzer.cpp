// libFuzzer target: any bytes as the config.json of a run that pretrain is to go on with.
#include "fuzzer.hpp"
#include "pretrain/command_line.hpp"

#include <vlp/train/run_folder.hpp>
#include <vlp/train/settings.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace fuzz = vlp::fuzz;
  namespace pretrain = vlp::pretrain;
  fuzz::file_with(fuzz::text_of(data, size), "config.json");
  std::string folder = fuzz::folder().string(), program = "pretrain", resume = "--resume", out = "--out";
  char* arguments[] = {program.data(), resume.data(), out.data(), folder.data(), nullptr};
  pretrain::Options options;
  const bool read = fuzz::reads([&] {
    try {
      options = pretrain::parse_options(4, arguments);
    } catch (const std::invalid_argument& error) {
      fuzz::promise(false, error.what());  // the command line is not to blame
    }
  });
  if (!read) return 0;
  pretrain::validate(options);
  fuzz::promise(options.resume && options.out == folder, "what is no setting comes from the command line");
  const vlp::train::Settings saved = vlp::train::RunFolder(folder).settings();
  vlp::train::Settings settings = vlp::train::settings_of(options);
  fuzz::promise(settings.size() == saved.size(), "every setting is known");
  for (const char* name : pretrain::free_settings) settings[name] = saved[name];  // paths are made absolute
  vlp::train::require_same_settings(settings, saved, "config.json");
  return 0;
}
