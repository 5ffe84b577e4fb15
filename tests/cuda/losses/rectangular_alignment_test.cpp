#include "losses/words_and_regions.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <cuda_runtime.h>

#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/cpu/local_alignment.hpp>

// Local alignment on a CUDA device where there are more reports than images.

namespace {

using namespace vlp::test;
using vlp::Cuda;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::LocalAlignmentForm;
using vlp::LocalAlignmentOptions;
using vlp::PairBlock;
using vlp::Random;

/// Regions of `images` images and words of `reports` reports, in `groups` groups if above 0.
Arrays images_and_reports(Random& random, Index images, Index reports, int groups = 0) {
  const WordsAndRegions shape{.regions = 5, .words = 6, .features = 16, .groups = groups, .scale = 0.3};
  WordsAndRegions of_images = shape, of_reports = shape;
  of_images.batch = images;
  of_reports.batch = reports;
  Arrays out = words_and_regions(random, of_reports);
  out["regions"] = words_and_regions(random, of_images).at("regions");
  return out;
}

/// Image i's own report is 1 + 2 i, of which there are four.
constexpr PairBlock every_second{.own_text = 1, .own_text_step = 2};
constexpr Index images = 4, reports = 11;

template <class L>
void check_against_double(const Arrays& arrays, const PairBlock& block,
                          const LocalAlignmentOptions& options) {
  constexpr double accuracy = accuracy_of_loss<L>();
  const Arrays given = rounded<L>(arrays);
  LossCase<ReferenceOf<L>> want(given);
  LossCase<L> got(given, {3, 5});
  want.inputs.block = got.inputs.block = block;
  const double want_loss = want.run(options, 1, 0.7), got_loss = to_double(got.run(options, 1, 0.7));
  CAPTURE(want_loss, got_loss);
  CHECK(relative_error(number(got_loss), number(want_loss), 0.1) <= accuracy);
  CHECK(relative_error(got.gradient_values(), want.gradient_values(), 1e-3) <= accuracy);
  CHECK(got.padding_untouched());
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA local alignment of more reports than images agrees with double", "",
                   VLP_TEST_SCALARS) {
  using L = vlp::LocalAlignment<TestType, Cuda>;
  Random random(41);
  for (int groups : {0, 4}) {
    Arrays arrays = images_and_reports(random, images, reports, groups);
    for (const LocalAlignmentOptions& options : {
             LocalAlignmentOptions{},
             LocalAlignmentOptions{.duplicate_policy = DuplicatePolicy::positives, .label_smoothing = 0.1},
             LocalAlignmentOptions{.duplicate_policy = DuplicatePolicy::ignore,
             .image_to_text_weight = 1,
             .form = LocalAlignmentForm::direct},
             LocalAlignmentOptions{.duplicate_policy = DuplicatePolicy::positives,
             .text_to_image_weight = 1,
             .false_negative_margin = 0.1},
         })
      check_against_double<L>(arrays, every_second, options);
    check_against_double<L>(arrays, {}, {});
    if (groups == 0) continue;
    arrays["group"] = {{images}, {3, 5, 3, 3}};  // of the images alone
    check_against_double<L>(arrays, every_second, {.duplicate_policy = DuplicatePolicy::positives});
  }
}
