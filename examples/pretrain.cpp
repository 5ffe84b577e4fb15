/// \file
/// pretrain: pretrains an image and a report encoder on radiograph-report pairs, and says what they have
/// learned. `pretrain --help` lists the options; docs/pretrain.md describes the run folder.

#include "pretrain/options.hpp"
#include "pretrain/trainer.hpp"

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

int main(int argc, char** argv) {
  try {
    vlp::pretrain::Options options;
    try {
      options = vlp::pretrain::parse_options(argc, argv);
    } catch (const CLI::Success&) {
      return 0;  // --help
    }
    for (const int signal : {SIGINT, SIGTERM})
      std::signal(signal, [](int) { vlp::pretrain::stop_requested = true; });
    vlp::pretrain::Trainer trainer(options);
    return trainer.run() ? 0 : 130;
  } catch (const std::bad_alloc&) {
    std::fputs("pretrain: out of memory; a smaller --batch-size, --width or --image-size takes less\n",
               stderr);
    return 2;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "pretrain: %s\n", error.what());
    return 2;
  }
}
