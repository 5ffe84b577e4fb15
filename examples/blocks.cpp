// A batch whose scores are computed in blocks, as several processes would that hold some of the images each:
// every block has its images and all texts. The sums of columns, which are partial, are merged; rows are
// complete.
#include <vlp/interop/eigen.hpp>
#include <vlp/losses/info_nce.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <vector>

namespace {

using Loss = vlp::InfoNce<float>;

/// Log-sum-exps of a block, and what accumulate leaves for differentiate.
struct Block {
  vlp::Index first, images;
  std::vector<float> row_max, row_sum, column_max, column_sum;
  double target_score = 0;

  Block(vlp::Index first_image, vlp::Index image_count, vlp::Index texts)
      : first(first_image),
        images(image_count),
        row_max(static_cast<std::size_t>(images), std::numeric_limits<float>::lowest()),
        row_sum(static_cast<std::size_t>(images)),
        column_max(static_cast<std::size_t>(texts), std::numeric_limits<float>::lowest()),
        column_sum(static_cast<std::size_t>(texts)) {}

  Loss::Sums sums() {
    const auto view = [](std::vector<float>& v) {
      return vlp::VectorView<float>(v.data(), {static_cast<vlp::Index>(v.size())});
    };
    return {{view(row_max), view(row_sum)}, {view(column_max), view(column_sum)}, &target_score};
  }
};

}  // namespace

int main() {
  const int pairs = 6, features = 8;
  std::srand(1);
  const vlp::MatrixXf image = vlp::MatrixXf::Random(pairs, features);
  const vlp::MatrixXf text = 0.3f * image + vlp::MatrixXf::Random(pairs, features);
  const float log_scale = std::log(1 / 0.07f);
  vlp::MatrixXf d_image = vlp::MatrixXf::Zero(pairs, features), d_text = d_image;
  float d_log_scale = 0;

  vlp::Cpu device;
  const Loss loss;  // const: all steps are pure functions of their arguments
  const auto inputs = [&](const Block& block) {
    return Loss::Inputs{.image = vlp::view(image).slice(block.first, block.images),
                        .text = vlp::view(text),
                        .log_scale = &log_scale,
                        .block = {.images = pairs, .first_image = block.first}};
  };

  Block first(0, 2, pairs), second(2, 4, pairs), all(0, 0, pairs);
  for (Block* block : {&first, &second}) {
    loss.accumulate(device, inputs(*block), {}, block->sums(), vlp::Into::overwrite, {});
    Loss::Sums columns = block->sums();
    columns.rows = {};  // these are complete
    Loss::merge(device, columns, all.sums());
  }

  float value = 0;
  for (Block* block : {&first, &second}) {
    float share = 0;
    loss.finish(device, {.images = pairs, .texts = pairs, .first_image = block->first},
                {.rows = block->sums().rows}, &share);
    value += share;
  }
  float share = 0;
  loss.finish(device, {.images = pairs}, {.columns = all.sums().columns, .target_score = &all.target_score},
              &share);
  std::cout << "loss in two blocks " << value + share << '\n';

  for (Block* block : {&first, &second})
    loss.differentiate(device, inputs(*block), {block->sums().rows, all.sums().columns, &all.target_score},
                       {}, 1.0f,
                       {.image = vlp::view(d_image).slice(block->first, block->images),
                        .text = vlp::view(d_text),
                        .log_scale = &d_log_scale,
                        .into = vlp::Into::add});

  // The same in one piece.
  Loss whole;
  vlp::MatrixXf image_gradient(pairs, features), text_gradient(pairs, features);
  whole.forward(device, {vlp::view(image), vlp::view(text), &log_scale}, {&value});
  whole.backward(device, {vlp::view(image), vlp::view(text), &log_scale}, 1.0f,
                 {vlp::view(image_gradient), vlp::view(text_gradient)});
  const float apart = std::max((d_image - image_gradient).cwiseAbs().maxCoeff(),
                               (d_text - text_gradient).cwiseAbs().maxCoeff());
  std::cout << "loss in one piece  " << value
            << "\ngradients agree to 1e-6: " << (apart < 1e-6f ? "yes" : "no") << '\n';
}
