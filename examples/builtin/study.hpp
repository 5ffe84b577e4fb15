/// \file
/// Built-in data: radiograph-report pairs that are drawn and written on demand, with the truth beside them.
///
/// They stand in for real data where there is none: in the quick start, in tests, and wherever the true place
/// of a finding must be known. Side, zone, size and severity in the report are those of the picture.
#pragma once

#include "builtin/detail/findings.hpp"
#include "builtin/detail/image.hpp"
#include "builtin/detail/report.hpp"
#include "builtin/statement.hpp"

#include <vlp/core/config.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/example.hpp>
#include <vlp/io/image.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vlp::builtin {

/// A frontal chest radiograph, its report, and what both show.
struct Study {
  io::GrayImage image;         ///< [size, size], in [0, 1]; the patient's right on the left
  std::string findings;        ///< a section of the report: one sentence or more
  std::string impression;      ///< the other section: one sentence
  std::vector<Finding> truth;  ///< 0 to 3, of different kinds
  Reading told;  ///< what the impression tells of them: one, or both of two; or that all is normal
};

/// Pixels along an edge of the smallest radiograph that is drawn.
inline constexpr Index smallest_image = 32;

/// Study number `index` of the endless series `seed`, at `image_size` x `image_size` pixels (32 or more; made
/// for 64 to 512). The same for the same arguments, whatever was drawn before and in whichever thread; truth
/// (but for the boxes) and report do not depend on the size.
/// Throws std::invalid_argument for a smaller size.
[[nodiscard]] inline Study draw_study(std::uint64_t seed, std::uint32_t index, Index image_size) {
  require(image_size >= smallest_image, "draw_study: image_size must be at least ", smallest_image,
          ", but is ", image_size);
  // A stream of its own for each part, so that a change to one leaves the others as they were.
  enum Part : std::uint32_t { truth, report, radiograph };
  const auto random_of = [&](Part part) { return Random(seed, 0xB17D, index, part); };

  Study study;
  Random for_truth = random_of(truth), for_report = random_of(report), for_radiograph = random_of(radiograph);
  study.truth = detail::draw_findings(for_truth);
  detail::WrittenReport written = detail::write_report(study.truth, for_report);
  study.findings = std::move(written.findings);
  study.impression = std::move(written.impression);
  study.told = std::move(written.told);
  study.image = detail::draw_radiograph(study.truth, image_size, for_radiograph);
  return study;
}

/// `count` studies of the series `seed` as a dataset, with the true places of their findings as marks. Throws
/// std::invalid_argument for images that are too small, Stopped where it was asked to stop.
[[nodiscard]] inline data::Dataset draw_dataset(Cpu& device, std::uint64_t seed, Index count,
                                                const data::DatasetOptions& options, StopToken stop = {}) {
  require(options.image_size >= smallest_image, "--image-size must be at least ", smallest_image,
          " for the built-in data, but is ", options.image_size);
  return data::make_dataset(
      device, count, options,
      [&](std::size_t i) {
        const Study study = draw_study(seed, static_cast<std::uint32_t>(i), options.image_size);
        data::ComputedPair pair{{}, data::to_pixels(study.image)};
        data::Example& example = pair.example;
        example.name = "built-in study " + std::to_string(i);
        example.source = hash_of(concat(VLP_VERSION_STRING " ", seed, " ", i, " ", options.image_size));
        example.report = study.findings + " " + study.impression;
        example.findings = study.findings;
        example.impression = study.impression;
        for (const Finding& finding : study.truth)
          example.marks.push_back({finding.word,
                                   std::string(finding_kind_names[static_cast<std::size_t>(finding.kind)]),
                                   finding.box});
        return pair;
      },
      stop);
}

}  // namespace vlp::builtin
