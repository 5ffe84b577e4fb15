/// \file
/// The training loop: one task, trained in one run folder; it can be stopped at any moment and gone on with.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/prefetcher.hpp>
#include <vlp/dist/communicator.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/optim/clip_gradient_norm.hpp>
#include <vlp/optim/warmup_cosine.hpp>
#include <vlp/train/checkpoint.hpp>
#include <vlp/train/log.hpp>
#include <vlp/train/options.hpp>
#include <vlp/train/progress.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/task.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace vlp::train {

/// Where the time of a training session went.
struct Timing {
  double seconds = 0;  ///< of the whole session; 0 where nothing was left to train
  double examples_per_second = 0;
  Times parts;              ///< of the thread that trains
  double input_thread = 0;  ///< seconds of the thread that makes batches, beside the others
};

/// Trains a task by AdamW (0.9, 0.98) with linear warm-up and a cosine to 0, the gradient's norm clipped, and
/// keeps in its run folder
///   log.csv             a row for each step: step, epoch, loss, terms and their chance levels,
///                       learning_rate, gradient_norm, readings
///   held_out.csv        a row for each epoch: epoch, step, loss, terms and their chance levels, over the
///                       held-out examples
///   last.safetensors    parameters and state of the optimiser: what a run goes on from
///   best.safetensors    parameters at the lowest held-out loss
/// A run that was stopped or killed at any moment goes on bit for bit. A term that is not finite ends the run
/// with a std::runtime_error that names the term, the step and the rows; the last checkpoint stays.
template <Task T, class Communicator = dist::SelfCommunicator>
class Trainer {
 public:
  using Scalar = typename T::Scalar;
  using Device = typename T::Device;

  /// Writes nothing. Device, task and folder must outlive this. Throws std::invalid_argument for an option
  /// out of range.
  Trainer(Device& device, T& task, const TrainingOptions& options, RunFolder& folder, Provenance provenance,
          Communicator communicator = {})
      : device_(device),
        task_(task),
        options_(checked(options)),
        folder_(folder),
        provenance_(std::move(provenance)),
        communicator_(std::move(communicator)),
        parameters_(task.parameters()),
        trained_(task.trained()),
        optimiser_(device, trained_,
                   optim::AdamWOptions{.beta2 = 0.98, .weight_decay = options.weight_decay}),
        total_steps_(task.steps_per_epoch() * options.epochs),
        log_(folder.file("log.csv"), log_columns(task.terms(), task.readings(device))),
        held_out_log_(folder.file("held_out.csv"), held_out_columns(task.terms())) {}

  [[nodiscard]] Index total_steps() const { return total_steps_; }
  [[nodiscard]] const Progression& progression() const { return progression_; }
  [[nodiscard]] const Log& log() const { return log_; }
  [[nodiscard]] const Log& held_out_log() const { return held_out_log_; }
  [[nodiscard]] const Timing& timing() const { return timing_; }

  /// Goes on after the last checkpoint of the folder, which must be locked; a run that was killed before its
  /// first checkpoint begins anew. Returns sentences for the user. Throws std::runtime_error, naming the file
  /// and saying how to mend the run, unless the last checkpoint, the best one and the logs belong together
  /// and are as they were written; see load_checkpoint for settings and data.
  std::vector<std::string> resume() {
    if (!std::filesystem::exists(file("last.safetensors")))
      return {file("last.safetensors") + " is not there: the run begins at step 0"};
    const Checkpoint last = read("last.safetensors");
    std::string note = load_checkpoint(device_, last, parameters_, &optimiser_, provenance_);
    progression_ = last.progression;
    load(log_, log_hash_, progression_.step, progression_.log);
    const Index epochs = progression_.step / task_.steps_per_epoch();
    owes_held_out_ = epochs > 0 && progression_.step % task_.steps_per_epoch() == 0 &&
                     has_rows(held_out_log_, epochs - 1, progression_.held_out_log);
    load(held_out_log_, held_out_hash_, epochs - (owes_held_out_ ? 1 : 0), progression_.held_out_log);
    if (progression_.best_step > 0) check_best();
    return note.empty() ? std::vector<std::string>{} : std::vector{std::move(note)};
  }

  /// Reads the parameters of the lowest held-out loss. Throws std::runtime_error, naming the file, where they
  /// are not as they were written.
  void load_best() {
    const Checkpoint best = read("best.safetensors");
    load_checkpoint<Scalar, Device>(device_, best, parameters_, nullptr, provenance_);
    progression_ = best.progression;
  }

  /// Trains to the end of the last epoch, or until `stop` is requested: then writes a checkpoint after the
  /// step in hand and returns false. So it does where the task throws Stopped while it makes a batch or
  /// computes held-out losses, which are then computed when the run goes on. Progress is written to `out`, or
  /// not where it is null.
  bool run(StopToken stop = {}, std::FILE* out = stdout) {
    try {
      return run_to_the_end(stop, out);
    } catch (const Stopped&) {
      save();
      return false;
    }
  }

 private:
  bool run_to_the_end(StopToken stop, std::FILE* out) {
    if (owes_held_out_) finish_epoch();
    if (progression_.step == total_steps_) return true;
    const optim::WarmupCosine learning_rate({.peak = options_.lr,
                                             .warmup_steps = static_cast<Index>(std::llround(
                                                 options_.warmup * static_cast<double>(total_steps_))),
                                             .total_steps = total_steps_});
    Times input_times;
    {
      data::Prefetcher<typename T::Batch> batches(progression_.step, total_steps_, [&](Index step) {
        const auto stopwatch = input_times.measure("input");
        return task_.make_batch(step);
      });
      Progress progress(total_steps_, task_.examples_per_step(), progression_.step, out);
      while (progression_.step < total_steps_) {
        const auto batch = next(batches);
        const Terms terms = step(batch, learning_rate(progression_.step));
        progress.show(progression_.step, text_of(terms));
        if (progression_.step % task_.steps_per_epoch() == 0) {
          const auto stopwatch = timing_.parts.measure("held-out losses and best checkpoint");
          finish_epoch();
        } else if (progression_.step % options_.checkpoint_every == 0) {
          save();
        }
        if (stop.requested() && progression_.step < total_steps_) {
          save();
          progress.finish();
          return false;
        }
      }
      timing_.seconds = progress.seconds();
      timing_.examples_per_second = progress.rate(progression_.step);
    }
    Times parts = task_.times();
    for (const auto& entry : timing_.parts.entries()) parts.add(entry.work, entry.seconds);
    timing_.parts = std::move(parts);
    for (const auto& entry : input_times.entries()) timing_.input_thread += entry.seconds;
    return true;
  }

  using Batch = typename T::Batch;

  static const TrainingOptions& checked(const TrainingOptions& options) {
    validate(options);
    return options;
  }
  static std::vector<std::string> with_terms(std::vector<std::string> columns, const Terms& terms) {
    for (std::string& column : columns_of(terms)) columns.push_back(std::move(column));
    return columns;
  }
  static std::vector<std::string> log_columns(const Terms& terms, const std::vector<Reading>& readings) {
    auto columns = with_terms({"step", "epoch", "loss"}, terms);
    columns.insert(columns.end(), {"learning_rate", "gradient_norm"});
    for (const Reading& reading : readings) columns.emplace_back(reading.name);
    return columns;
  }
  static std::vector<std::string> held_out_columns(const Terms& terms) {
    return with_terms({"epoch", "step", "loss"}, terms);
  }

  [[nodiscard]] std::string file(const char* name) const { return folder_.file(name); }

  /// A checkpoint of the folder; what is wrong with it is said with advice.
  [[nodiscard]] Checkpoint read(const char* name) const {
    try {
      return read_checkpoint(file(name), total_steps_);
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(concat(error.what(), "; ", begin_again()));
    }
  }

  /// Takes over the first `count` rows of a log, which must be those that the checkpoint was saved with.
  void load(Log& log, Hash& hash, Index count, const std::string& expected) const {
    std::string fault;
    try {
      log.load(count);
    } catch (const std::runtime_error& error) {
      fault = error.what();
    }
    hash = hash_of_rows(log);
    if (fault.empty() && hash.text() != expected)
      fault = concat(log.path(), ": its first ", count, " rows are not as they were written");
    ensure(fault.empty(), fault, "; ", begin_again());
  }

  /// Throws unless the best checkpoint is the one that the last one speaks of, or a later one that was
  /// written just before the run was killed and will be written again.
  void check_best() const {
    ensure(std::filesystem::exists(file("best.safetensors")), file("best.safetensors"),
           " is missing, the checkpoint of step ", progression_.best_step, "; ", begin_again());
    const Checkpoint best = read("best.safetensors");
    require_same_settings(provenance_.settings, best.provenance.settings, file("best.safetensors"));
    const Index step = best.progression.step;
    const bool is_later = step > progression_.step || (owes_held_out_ && step == progression_.step);
    ensure(step == progression_.best_step || is_later, file("best.safetensors"), ": the checkpoint of step ",
           step, ", but that of the lowest held-out loss is of step ", progression_.best_step, "; ",
           begin_again());
  }

  [[nodiscard]] std::string begin_again() const {
    return concat("put back the file as it was, or remove ", file("last.safetensors"),
                  ": then the run begins again at step 0 and ends with the same bytes");
  }

  /// Whether the first `count` rows of a log are those of this hash.
  static bool has_rows(Log log, Index count, const std::string& expected) {
    try {
      log.load(count);
    } catch (const std::runtime_error&) {
      return false;
    }
    return hash_of_rows(log).text() == expected;
  }
  static Hash hash_of_rows(const Log& log) {
    Hash hash;
    for (const auto& row : log.rows()) hash.add(std::span<const double>(row));
    return hash;
  }

  static void append(Log& log, Hash& hash, std::vector<double> row) {
    hash.add(std::span<const double>(row));
    log.append(std::move(row));
  }

  Batch next(data::Prefetcher<Batch>& batches) {
    const auto stopwatch = timing_.parts.measure("waiting for input");
    return batches.next();
  }

  Terms step(const Batch& batch, double learning_rate) {
    const auto gradients = task_.gradients();
    fill(device_, gradients.data(), gradients.size(), Scalar(0));
    Terms terms = task_.step(device_, batch);
    if (const Term bad = first_not_finite(terms); !bad.name.empty())
      ensure(false, "the ", bad.name, " loss is ", bad.value, " at step ", progression_.step + 1,
             "; rows of the batch that are not finite: ", task_.describe(device_, batch), "; ", advice());
    communicator_.all_reduce(device_, gradients, dist::Reduction::sum);
    double norm = 0;
    {
      const auto stopwatch = timing_.parts.measure("optimiser");
      norm = optim::clip_gradient_norm(device_, trained_, options_.clip);
      ensure(std::isfinite(norm), "the gradient of step ", progression_.step + 1, " is ", norm,
             " though its losses are ", text_of(terms), "; ", advice());
      optimiser_.step(device_, learning_rate);
      task_.constrain(device_);
    }
    ++progression_.step;
    log_step(terms, learning_rate, norm);
    return terms;
  }

  void log_step(const Terms& terms, double learning_rate, double norm) {
    std::vector<double> row{static_cast<double>(progression_.step),
                            static_cast<double>((progression_.step - 1) / task_.steps_per_epoch() + 1),
                            terms.total};
    for (const double value : values_of(terms)) row.push_back(value);
    row.insert(row.end(), {learning_rate, norm});
    for (const Reading& reading : task_.readings(device_)) row.push_back(reading.value);
    append(log_, log_hash_, std::move(row));
  }

  void finish_epoch() {
    const Terms terms = task_.held_out(device_);
    owes_held_out_ = false;
    std::vector<double> row{static_cast<double>(progression_.step / task_.steps_per_epoch()),
                            static_cast<double>(progression_.step), terms.total};
    for (const double value : values_of(terms)) row.push_back(value);
    append(held_out_log_, held_out_hash_, std::move(row));
    ensure(std::isfinite(terms.total), "the held-out loss after step ", progression_.step, " is ",
           terms.total, " (", text_of(terms), "); ", advice());
    if (terms.total < progression_.best_loss) {
      progression_.best_loss = terms.total;
      progression_.best_step = progression_.step;
      note_logs();
      save_checkpoint<Scalar, Device>(device_, file("best.safetensors"), parameters_, nullptr, provenance_,
                                      progression_);
    }
    save();
  }

  /// The logs first: a checkpoint never lacks the rows before it, and rows after it are cut off on resume.
  void save() {
    log_.save();
    held_out_log_.save();
    note_logs();
    save_checkpoint(device_, file("last.safetensors"), parameters_, &optimiser_, provenance_, progression_);
  }

  void note_logs() {
    progression_.log = log_hash_.text();
    progression_.held_out_log = held_out_hash_.text();
  }

  [[nodiscard]] std::string advice() const {
    return std::filesystem::exists(file("last.safetensors"))
               ? concat(file("last.safetensors"), " holds the last good step; a lower lr or clip may help")
               : std::string("no step was saved yet; a lower lr or clip may help");
  }

  Device& device_;
  T& task_;
  TrainingOptions options_;
  RunFolder& folder_;
  Provenance provenance_;
  Communicator communicator_;
  ParameterList<Scalar, Device> parameters_, trained_;
  optim::AdamW<Scalar, Device> optimiser_;
  Index total_steps_;
  Log log_, held_out_log_;
  Hash log_hash_, held_out_hash_;  // of their rows
  bool owes_held_out_ = false;     // those of the last epoch, before which a run was stopped
  Progression progression_;
  Timing timing_;
};

}  // namespace vlp::train
