/// \file
/// pretrain: pretrains an image and a report encoder on radiograph-report pairs, and says what they have
/// learned. `pretrain --help` lists the options; docs/pretrain.md describes the run folder.

#include "cli/signals.hpp"
#include "pretrain/command_line.hpp"
#include "pretrain/contrastive_run.hpp"
#include "pretrain/hybrid_run.hpp"
#include "pretrain/run.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/fingerprint.hpp>
#include <vlp/train/run_folder.hpp>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <system_error>

namespace vlp::pretrain {

/// Returns false when the run was stopped by a signal before its end.
bool run(const Options& options, StopToken stop, Phase& phase) {
  phase = {"reading the data", "a smaller --image-size, or fewer studies,"};
  Cpu device(options.threads);
  train::RunFolder folder(options.out);
  const data::Dataset dataset = load_dataset(device, options, stop);
  stop.check();
  phase = {"building the vocabulary", "a smaller --vocabulary-size"};
  const text::Vocabulary vocabulary = choose_vocabulary(options, folder, dataset, stop);
  stop.check();
  const std::string pieces = hash_of_pieces(vocabulary);
  Session session{options,    device,
                  folder,     dataset,
                  vocabulary, settings_of_run(options, folder, pieces),
                  pieces,     data::fingerprint(dataset),
                  stop,       phase};
  print_notes(dataset.notes);
  print_notes(vocabulary.notes());
  return options.is_hybrid() ? run_hybrid(session) : run_contrastive(session);
}

/// Says on stderr what ended the program, and returns its exit status.
int report(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "pretrain: %s\n", vlp::printable(message).c_str());
  return 2;
}

}  // namespace vlp::pretrain

int main(int argc, char** argv) {
  using namespace vlp::pretrain;
  namespace cli = vlp::cli;
  Phase phase;
  try {
    Options options;
    try {
      options = parse_options(argc, argv);
    } catch (const CLI::Success&) {
      return 0;  // --help
    }
    return run(options, cli::stop_on_signals(), phase) ? 0 : cli::interrupted;
  } catch (const vlp::Stopped&) {
    std::printf("stopped while %s; nothing was written\n", std::string(phase.name).c_str());
    return cli::interrupted;
  } catch (const std::bad_alloc&) {
    return report(vlp::concat("out of memory while ", phase.name, "; ", phase.cure, " takes less"));
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) return report(error.what());
    return report(vlp::concat("cannot start a thread while ", phase.name,
                              ": the system allows this user no more; a smaller --threads takes fewer"));
  } catch (const std::exception& error) {
    return report(error.what());
  }
}
