/// \file
/// The radiograph of a built-in study: findings laid into a chest, and a picture taken of it.
#pragma once

#include "builtin/detail/chest.hpp"
#include "builtin/detail/findings.hpp"

#include <vlp/core/random.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

namespace vlp::builtin::detail {

/// A finding's place and measures in the chest.
struct Placed {
  FindingKind kind;
  float sign = 1;  ///< of x: -1 on the patient's right
  Point centre;
  float rx = 0, ry = 0;
  float density = 0;        ///< what it adds
  float level = 0;          ///< effusion: y of its surface at the mediastinum; pneumothorax: width of its gap
  std::vector<Point> path;  ///< tube
};

/// How a finding changes one point of the chest.
struct Change {
  float visible = 0;  ///< share in [0, 1] to which the point belongs to the finding
  float lung = 1;     ///< factor on the air-filled lung
  float vessel = 1;   ///< factor on vessels
  float density = 0;  ///< added
};

inline std::vector<Point> tube_path(const Finding& finding, float sign, const Chest& chest, Random& random) {
  const float jitter = random.uniform(-0.015F, 0.015F);
  std::array<Point, 4> control;
  if (finding.side == Side::middle)  // endotracheal
    control = {{{0.0F, -0.05F}, {jitter, 0.05F}, {0.0F, 0.15F}, {0.005F + jitter, chest.apex + 0.20F}}};
  else if (finding.zone == Zone::upper)  // subclavian; ends in the superior vena cava, right of the midline
    control = {{{sign * 0.36F, chest.apex + 0.06F},
                {sign * 0.20F, chest.apex - 0.03F + jitter},
                {sign > 0 ? 0.04F : -0.05F, chest.apex + 0.04F},
                {-0.05F, chest.apex + 0.33F + jitter}}};
  else  // chest tube
    control = {{{sign * (chest.half_width + 0.10F), 0.66F + jitter},
                {sign * (chest.half_width - 0.05F), 0.64F + jitter},
                {sign * (chest.half_width - 0.12F), 0.50F},
                {sign * 0.14F, 0.36F + jitter}}};
  std::vector<Point> out;
  constexpr int pieces = 12;
  for (int k = 0; k <= pieces; ++k) {  // a Bezier curve
    const float t = static_cast<float>(k) / pieces, s = 1 - t;
    const float w0 = s * s * s, w1 = 3 * s * s * t, w2 = 3 * s * t * t, w3 = t * t * t;
    out.push_back({w0 * control[0].x + w1 * control[1].x + w2 * control[2].x + w3 * control[3].x,
                   w0 * control[0].y + w1 * control[1].y + w2 * control[2].y + w3 * control[3].y});
  }
  return out;
}

inline Placed place(const Finding& finding, const Chest& chest, Random& random) {
  Placed out{finding.kind, finding.side == Side::right ? -1.0F : 1.0F, {}, 0, 0, 0, 0, {}};
  const bool small = finding.size == Size::small, mild = finding.severity == Severity::mild;
  switch (finding.kind) {
    case FindingKind::opacity:
    case FindingKind::nodule: {
      const float zone = static_cast<float>(finding.zone);
      out.centre = {out.sign * (0.20F + 0.025F * zone + random.uniform(-0.02F, 0.02F)),
                    chest.apex + 0.15F + 0.19F * zone + random.uniform(-0.025F, 0.025F)};
      if (finding.kind == FindingKind::opacity) {
        out.rx = (small ? 0.062F : 0.11F) * random.uniform(0.92F, 1.08F);
        out.ry = out.rx * random.uniform(0.8F, 1.0F);
        out.density = mild ? 0.18F : 0.36F;
      } else {
        out.rx = out.ry = (small ? 0.027F : 0.048F) * random.uniform(0.95F, 1.05F);
        out.density = mild ? 0.19F : 0.38F;
      }
      break;
    }
    case FindingKind::effusion:
      out.level = small ? chest.dome[1] + random.uniform(0.0F, 0.02F) : random.uniform(0.54F, 0.59F);
      out.rx = small ? 0.12F : 0.09F;  // rise of the meniscus at the chest wall
      break;
    case FindingKind::pneumothorax:
      out.level = small ? random.uniform(0.045F, 0.055F) : random.uniform(0.10F, 0.12F);
      out.ry = small ? 0.42F : 0.72F;  // y at which the gap has closed
      break;
    case FindingKind::enlarged_heart:
      break;  // the chest has it
    case FindingKind::tube:
      out.path = tube_path(finding, out.sign, chest, random);
      break;
  }
  return out;
}

inline Change change_by_lesion(const Placed& f, const Chest& chest, const Layers& at, float x, float y) {
  const float dx = (x - f.centre.x) / f.rx, dy = (y - f.centre.y) / f.ry;
  if (dx * dx + dy * dy > 4) return {};
  const float r = std::sqrt(dx * dx + dy * dy);
  Change out;
  if (f.kind == FindingKind::nodule) {
    out.visible = smooth_step(1.25F, 0.75F, r);
    out.density = f.density * out.visible;
  } else {
    const float rough = r + 0.30F * chest.texture(x, y, 22);
    out.visible = smooth_step(1.35F, 0.45F, rough) * at.lung * (1 - at.heart);
    out.density = f.density * out.visible * (1 + 0.25F * chest.texture(x + 1, y, 40));
    out.vessel = 1 - 0.7F * out.visible;
  }
  return out;
}

inline Change change_by_effusion(const Placed& f, const Chest& chest, const Layers& at, float x, float y) {
  const float t = std::abs(x);
  if (x * f.sign < 0 || y < f.level - 0.2F) return {};
  const float out_there = t / chest.half_width;
  const float surface = f.level - f.rx * out_there * out_there * out_there;
  Change out;
  const float fluid = inside(y - surface, 0.03F);
  out.visible = fluid * at.lung * (1 - at.heart);
  out.lung = 1 - 0.97F * fluid;
  return out;
}

inline Change change_by_pneumothorax(const Placed& f, const Chest& chest, const Layers& at, float x,
                                     float y) {
  if (x * f.sign < 0 || y > f.ry) return {};
  const float gap = f.level * smooth_step(f.ry, chest.apex + 0.6F * (f.ry - chest.apex), y);
  const float t = std::abs(x);
  const float pleura = chest.wall(y - 1.3F * gap) - gap - t;  // depth in what is left of the lung
  Change out;
  const float air = inside(-pleura, 0.012F);
  out.visible = air * at.lung * (1 - at.heart);
  out.vessel = 1 - air;
  const float line = gap > 0.01F ? on_line(pleura, 0.012F) * at.lung : 0.0F;
  out.density =
      -0.13F * air * at.lung + 0.16F * line + 0.05F * (1 - air) * at.lung * smooth_step(0.0F, 0.1F, f.level);
  return out;
}

inline Change change_by_tube(const Placed& f, float x, float y, float pixel) {
  const float half_width = std::max(0.011F, 0.85F * pixel);
  float distance = 1;
  for (std::size_t k = 0; k + 1 < f.path.size(); ++k)
    distance = std::min(distance, distance_to({x, y}, f.path[k], f.path[k + 1]));
  Change out;
  out.visible = on_line(distance, half_width);
  out.density = 0.34F * out.visible;
  return out;
}

inline Change change_by(const Placed& f, const Chest& chest, const Layers& at, float x, float y,
                        float pixel) {
  switch (f.kind) {
    case FindingKind::opacity:
    case FindingKind::nodule:
      return change_by_lesion(f, chest, at, x, y);
    case FindingKind::effusion:
      return change_by_effusion(f, chest, at, x, y);
    case FindingKind::pneumothorax:
      return change_by_pneumothorax(f, chest, at, x, y);
    case FindingKind::enlarged_heart:
      return {inside(chest.heart_depth(x, y), 0.025F), 1, 1, 0};
    case FindingKind::tube:
      return change_by_tube(f, x, y, pixel);
  }
  return {};
}

/// The smallest box around the pixels that clearly belong to a finding.
class VisibleBox {
 public:
  void add(Index x, Index y, float visible) {
    if (visible > most_) {
      most_ = visible;
      if (most_ <= threshold) box_ = pixel(x, y);  // nothing clear yet: the clearest pixel so far
    }
    if (visible <= threshold) return;
    box_ = clear_ ? around(box_, pixel(x, y)) : pixel(x, y);
    clear_ = true;
  }
  [[nodiscard]] const eval::Box& box() const { return box_; }

 private:
  static constexpr float threshold = 0.35F;
  static eval::Box pixel(Index x, Index y) {
    return {static_cast<float>(x), static_cast<float>(y), static_cast<float>(x + 1),
            static_cast<float>(y + 1)};
  }
  static eval::Box around(const eval::Box& a, const eval::Box& b) {
    return {std::min(a.left, b.left), std::min(a.top, b.top), std::max(a.right, b.right),
            std::max(a.bottom, b.bottom)};
  }
  float most_ = 0;
  bool clear_ = false;
  eval::Box box_{0, 0, 1, 1};
};

/// How the patient stands before the detector, and how the picture is taken.
struct Exposure {
  float zoom, turn, shift_x, shift_y;
  float dark, bright, gamma, noise, tilt_x, tilt_y;

  explicit Exposure(Random& random)
      : zoom(random.uniform(0.95F, 1.05F)),
        turn(random.uniform(-0.05F, 0.05F)),
        shift_x(random.uniform(-0.025F, 0.025F)),
        shift_y(random.uniform(-0.025F, 0.025F)),
        dark(random.uniform(0.06F, 0.11F)),
        bright(random.uniform(0.90F, 1.02F)),
        gamma(random.uniform(0.85F, 1.15F)),
        noise(random.uniform(0.010F, 0.022F)),
        tilt_x(random.uniform(-0.08F, 0.08F)),
        tilt_y(random.uniform(-0.08F, 0.08F)) {}

  /// From a place in the picture, in [0, 1], to coordinates of the patient.
  [[nodiscard]] Point patient(float u, float v) const {
    const float x = (u - 0.5F - shift_x) / zoom, y = (v - 0.5F - shift_y) / zoom;
    return {x - turn * y, y + turn * x + 0.5F};
  }
  /// Density to brightness.
  [[nodiscard]] float develop(float density, float u, float v) const {
    const float light = 1 + tilt_x * (u - 0.5F) + tilt_y * (v - 0.5F);
    return std::pow(std::clamp((density * light - dark) / (bright - dark), 0.0F, 1.0F), gamma);
  }
};

/// The radiograph of a chest with these findings, `size` x `size` pixels in [0, 1]; sets their boxes.
inline io::GrayImage draw_radiograph(std::vector<Finding>& findings, Index size, Random& random) {
  const Exposure exposure(random);
  const Chest chest(findings, random);
  std::vector<Placed> placed;
  for (const Finding& finding : findings) placed.push_back(place(finding, chest, random));
  std::vector<VisibleBox> boxes(findings.size());

  io::GrayImage image = io::make_gray_image(size, size);
  const float pixel = 1 / static_cast<float>(size);
  for (Index row = 0; row < size; ++row)
    for (Index col = 0; col < size; ++col) {
      const float u = (static_cast<float>(col) + 0.5F) * pixel, v = (static_cast<float>(row) + 0.5F) * pixel;
      const auto [x, y] = exposure.patient(u, v);
      const Layers at = layers_at(chest, x, y);
      float lung = at.lung * (1 - at.heart), vessel = at.vessel, density = 0;
      for (std::size_t k = 0; k < placed.size(); ++k) {
        const Change change = change_by(placed[k], chest, at, x, y, pixel);
        boxes[k].add(col, row, change.visible);
        lung *= change.lung;
        vessel *= change.vessel;
        density += change.density;
      }
      density += 0.62F + 0.06F * at.heart + 0.10F * at.belly - 0.38F * lung + at.bone +
                 lung * (0.14F * vessel + 0.035F * chest.texture(x, y, 26));
      const float grain = exposure.noise * 2.45F * (random.uniform() + random.uniform() - 1);
      image.at(col, row) = std::clamp(exposure.develop(density * at.body, u, v) + grain, 0.0F, 1.0F);
    }
  for (std::size_t k = 0; k < findings.size(); ++k) findings[k].box = boxes[k].box();
  return image;
}

}  // namespace vlp::builtin::detail
