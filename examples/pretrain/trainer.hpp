/// \file
/// The training loop of `pretrain`: one run in one folder, which can be stopped at any moment and gone on
/// with.
#pragma once

#include "pretrain/batch.hpp"
#include "pretrain/checkpoint.hpp"
#include "pretrain/dataset.hpp"
#include "pretrain/evaluate.hpp"
#include "pretrain/log.hpp"
#include "pretrain/model.hpp"
#include "pretrain/options.hpp"
#include "pretrain/progress.hpp"
#include "pretrain/run_lock.hpp"
#include "pretrain/summary.hpp"

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/io/file.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/optim/clip_gradient_norm.hpp>
#include <vlp/optim/warmup_cosine.hpp>
#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/perturbation.hpp>
#include <vlp/text/word_piece.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vlp::pretrain {

/// Set by a signal handler: the run ends after the step in hand, with a checkpoint.
inline std::atomic<bool> stop_requested{false};

namespace detail {

/// The vocabulary of a run: the one its folder holds, else the file that was named, else one built from the
/// training reports.
inline text::Vocabulary choose_vocabulary(const Options& options, const Dataset& data) {
  if (options.resume || options.eval_only) return text::Vocabulary::load(options.out + "/vocab.txt");
  if (!options.vocabulary.empty()) return text::Vocabulary::load(options.vocabulary);
  std::vector<std::string> reports;
  for (const Example& example : data.train)
    reports.push_back(text::normalise(example.report, static_cast<std::size_t>(options.max_words)));
  return text::build_vocabulary(reports, {.size = static_cast<std::size_t>(options.vocabulary_size)});
}

/// Adds the time of its life to a sum of seconds.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  double& seconds_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace detail

/// One pretraining run.
class Trainer {
 public:
  /// Reads the data and makes, or with resume or eval_only reads, the model. Writes nothing.
  explicit Trainer(Options options)
      : options_(std::move(options)),
        device_(options_.threads),
        perturbations_(text::parse_perturbations(options_.perturbations)),
        data_(load_dataset(options_, device_)),
        provenance_{to_json(options_), fingerprint(data_)},
        word_piece_(detail::choose_vocabulary(options_, data_)),
        model_(options_, static_cast<Index>(word_piece_.vocabulary().size())),
        parameters_(device_, model_),
        training_maker_(options_, word_piece_, training_perturbations(), options_.perturbations_per_step),
        held_out_maker_(options_, word_piece_, training_perturbations(), options_.perturbations_per_step),
        evaluation_maker_(options_, word_piece_, perturbations_),
        log_(options_.out + "/log.csv", {"step", "epoch", "loss", "global", "local", "perturbation",
                                         "learning_rate", "gradient_norm", "log_scale"}),
        held_out_log_(options_.out + "/held_out.csv",
                      {"epoch", "step", "loss", "global", "local", "perturbation"}) {
    optimiser_ = std::make_unique<optim::AdamW<float>>(
        device_, parameters_.list(),
        optim::AdamWOptions{.beta2 = 0.98, .weight_decay = options_.weight_decay});
    batch_size_ = std::min(options_.batch_size, static_cast<Index>(data_.train.size()));
    steps_per_epoch_ = static_cast<Index>(data_.train.size()) / batch_size_;
    total_steps_ = steps_per_epoch_ * options_.epochs;
    if (options_.eval_only)
      progression_ = load_checkpoint(path("best.safetensors"), parameters_.list(), nullptr, provenance_);
    else if (options_.resume)
      resume();
    for (const std::string& note : data_.notes) std::printf("%s\n", note.c_str());
    std::printf("%td parameters, %zu word pieces, %td steps of %td pairs, %d threads\n", parameters_.size(),
                word_piece_.vocabulary().size(), total_steps_, batch_size_, device_.threads());
    std::fflush(stdout);
  }

  /// Trains to the end and evaluates, or only evaluates. Returns false when it was stopped by a signal before
  /// the end.
  bool run() {
    std::vector<AttendedPair> attended;
    if (options_.eval_only) {
      std::printf("\n%s", tables(evaluate_held_out(attended)).c_str());
      return true;
    }
    start_folder();
    std::printf("run folder: %s\n", options_.out.c_str());
    if (!train()) return false;
    // What is reported, and drawn, is the checkpoint that a user would take.
    load_checkpoint(path("best.safetensors"), parameters_.list(), nullptr, provenance_);
    const Evaluation evaluation = evaluate_held_out(attended);
    std::printf("\n%s", tables(evaluation).c_str());
    for (const std::string& note :
         write_summary(options_, evaluation, log_, held_out_log_, timing_, progression_, attended))
      std::printf("%s\n", note.c_str());
    std::printf("\nsummary: %s\n", path("summary.md").c_str());
    return true;
  }

 private:
  [[nodiscard]] std::string path(const char* name) const { return options_.out + "/" + name; }

  /// A weight of 0 skips the work of the perturbed texts altogether.
  [[nodiscard]] std::vector<text::Perturbation> training_perturbations() const {
    return options_.beta > 0 ? perturbations_ : std::vector<text::Perturbation>{};
  }

  void resume() {
    lock_.emplace(options_.out);
    if (!std::filesystem::exists(path("last.safetensors"))) return;  // killed before the first checkpoint
    progression_ =
        load_checkpoint(path("last.safetensors"), parameters_.list(), optimiser_.get(), provenance_);
    log_.load(static_cast<double>(progression_.step));
    held_out_log_.load(static_cast<double>(progression_.step / steps_per_epoch_));
    std::printf("going on after step %td\n", progression_.step);
  }

  void start_folder() {
    if (options_.resume) return;
    std::error_code error;
    std::filesystem::create_directories(options_.out, error);
    ensure(!error, "--out: cannot create '", options_.out, "': ", error.message());
    lock_.emplace(options_.out);
    ensure(!std::filesystem::exists(path("config.json")), "--out: '", options_.out,
           "' holds a run that began in the meantime");
    word_piece_.vocabulary().save(path("vocab.txt"));
    io::write_file(path("config.json"),
                   to_json(options_).dump(2) + "\n");  // last: with it the folder is a run
  }

  /// The pairs of a step. The order of an epoch depends on seed and epoch alone, so a continued run meets the
  /// same.
  [[nodiscard]] Batch make_training_batch(Index step) {
    const detail::Stopwatch stopwatch(timing_.input_thread);
    const Index epoch = step / steps_per_epoch_;
    if (epoch != order_epoch_) {
      order_.resize(data_.train.size());
      std::iota(order_.begin(), order_.end(), Index{0});
      constexpr std::uint32_t order_stream = 0x0D3A;
      Random(options_.seed, order_stream, static_cast<std::uint32_t>(epoch))
          .shuffle(order_.begin(), order_.end());
      order_epoch_ = epoch;
    }
    const Index begin = step % steps_per_epoch_ * batch_size_;
    return training_maker_.make(data_.train, {order_.data() + begin, static_cast<std::size_t>(batch_size_)},
                                static_cast<std::uint32_t>(epoch));
  }

  bool train() {
    if (progression_.step == total_steps_) return true;
    const optim::WarmupCosine learning_rate({.peak = options_.lr,
                                             .warmup_steps = static_cast<Index>(std::llround(
                                                 options_.warmup * static_cast<double>(total_steps_))),
                                             .total_steps = total_steps_});
    Prefetcher batches(progression_.step, total_steps_,
                       [this](Index step) { return make_training_batch(step); });
    Progress progress(total_steps_, batch_size_, progression_.step);
    while (progression_.step < total_steps_) {
      Batch batch;
      {
        const detail::Stopwatch stopwatch(timing_.waiting_for_input);
        batch = batches.next();
      }
      const LossTerms terms = train_step(batch, learning_rate(progression_.step));
      progress.show(progression_.step, text_of(terms));
      if (progression_.step % steps_per_epoch_ == 0) {
        const detail::Stopwatch stopwatch(timing_.evaluation);
        finish_epoch();
      } else if (progression_.step % options_.checkpoint_every == 0) {
        save();
      }
      if (stop_requested && progression_.step < total_steps_) {
        save();
        progress.finish();
        std::printf("stopped after step %td; go on with --resume --out %s\n", progression_.step,
                    options_.out.c_str());
        return false;
      }
    }
    timing_.seconds = progress.seconds();
    timing_.examples_per_second = progress.rate(progression_.step);
    return true;
  }

  LossTerms train_step(const Batch& batch, double learning_rate) {
    LossTerms terms;
    double norm = 0;
    parameters_.zero_gradients(device_);
    {
      const detail::Stopwatch stopwatch(timing_.encoders);
      model_.embed(device_, batch);
    }
    {
      const detail::Stopwatch stopwatch(timing_.losses);
      terms = model_.losses(device_, batch);
      require_finite(terms, batch);
      model_.differentiate_losses(device_, batch);
    }
    {
      const detail::Stopwatch stopwatch(timing_.encoders);
      model_.backward(device_, batch);
    }
    {
      const detail::Stopwatch stopwatch(timing_.optimiser);
      norm = optim::clip_gradient_norm(device_, parameters_.list(), options_.clip);
      ensure(std::isfinite(norm), "the gradient of step ", progression_.step + 1, " is ", norm,
             " though its losses are ", text_of(terms), "; ", advice());
      optimiser_->step(device_, learning_rate);
      model_.clamp_scales(device_);
    }
    ++progression_.step;
    log_.append({static_cast<double>(progression_.step),
                 static_cast<double>((progression_.step - 1) / steps_per_epoch_ + 1), terms.total,
                 terms.global, terms.local, terms.perturbation, learning_rate, norm,
                 static_cast<double>(model_.log_scale())});
    return terms;
  }

  void finish_epoch() {
    const LossTerms terms = held_out_losses(model_, device_, held_out_maker_, data_.held_out, batch_size_);
    held_out_log_.append({static_cast<double>(progression_.step / steps_per_epoch_),
                          static_cast<double>(progression_.step), terms.total, terms.global, terms.local,
                          terms.perturbation});
    ensure(std::isfinite(terms.total), "the held-out loss after step ", progression_.step, " is ",
           terms.total, " (", text_of(terms), "); ", advice());
    if (terms.total < progression_.best_loss) {
      progression_.best_loss = terms.total;
      progression_.best_step = progression_.step;
      save_checkpoint(path("best.safetensors"), parameters_.list(), nullptr, provenance_, progression_);
    }
    save();
  }

  /// The logs first: a checkpoint never lacks the rows before it, and rows after it are cut off on resume.
  void save() {
    log_.save();
    held_out_log_.save();
    save_checkpoint(path("last.safetensors"), parameters_.list(), optimiser_.get(), provenance_,
                    progression_);
  }

  [[nodiscard]] Evaluation evaluate_held_out(std::vector<AttendedPair>& attended) {
    return evaluate(model_, device_, evaluation_maker_, options_, perturbations_, data_.held_out,
                    static_cast<std::size_t>(options_.overlays), attended);
  }

  [[nodiscard]] static std::string text_of(const LossTerms& terms) {
    char text[128];
    std::snprintf(text, sizeof text, "loss %.3f (global %.3f, local %.3f, perturbation %.3f)", terms.total,
                  terms.global, terms.local, terms.perturbation);
    return text;
  }

  [[nodiscard]] std::string advice() const {
    return std::filesystem::exists(path("last.safetensors"))
               ? concat(path("last.safetensors"),
                        " holds the last good step; a lower --lr or --clip may help")
               : std::string("no step was saved yet; a lower --lr or --clip may help");
  }

  /// Throws std::runtime_error that says which loss, which step and which rows of the batch are not finite.
  void require_finite(const LossTerms& terms, const Batch& batch) const {
    for (const auto& [name, value] : {std::pair{"global", terms.global},
                                      {"local", terms.local},
                                      {"perturbation", terms.perturbation},
                                      {"whole", terms.total}}) {
      if (std::isfinite(value)) continue;
      std::string rows;
      const auto image = model_.image_embedding();
      const auto texts = flatten_rows(model_.text_embedding());
      const auto finite = [](VectorView<const float> row) {
        return std::all_of(row.data(), row.data() + row.size(), [](float x) { return std::isfinite(x); });
      };
      for (Index b = 0; b < batch.pairs && rows.size() < 400; ++b) {
        const bool image_finite = finite(image[b]);
        bool text_finite = true;
        for (Index k = 0; k < batch.texts_per_pair; ++k)
          text_finite &= finite(texts[b * batch.texts_per_pair + k]);
        if (image_finite && text_finite) continue;
        rows += concat(
            rows.empty() ? "" : ", ", b, " (",
            image_finite  ? "text"
            : text_finite ? "image"
                          : "image and text",
            " of ", data_.train[static_cast<std::size_t>(batch.examples[static_cast<std::size_t>(b)])].name,
            ")");
      }
      ensure(false, "the ", name, " loss is ", value, " at step ", progression_.step + 1,
             "; rows of the batch that are not finite: ", rows.empty() ? "none" : rows, "; ", advice());
    }
  }

  Options options_;
  Cpu device_;
  std::vector<text::Perturbation> perturbations_;
  Dataset data_;
  Provenance provenance_;
  std::optional<RunLock> lock_;
  text::WordPiece word_piece_;
  Model<> model_;
  Parameters<float> parameters_;
  BatchMaker training_maker_, held_out_maker_,
      evaluation_maker_;  // as in training (input thread, this thread), all
  Log log_, held_out_log_;
  std::unique_ptr<optim::AdamW<float>> optimiser_;
  Progression progression_;
  Timing timing_;
  Index batch_size_ = 0, steps_per_epoch_ = 0, total_steps_ = 0;
  std::vector<Index> order_;  // of the epoch below; the input thread's
  Index order_epoch_ = -1;
};

}  // namespace vlp::pretrain
