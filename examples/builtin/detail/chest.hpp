/// \file
/// The anatomy of a built-in chest: where things are, in coordinates of the patient.
///
/// x runs to the right of the picture (the patient's left) from the midline, y down from the top, both in
/// units of the picture's width. "Depth" is a signed distance, positive inside.
#pragma once

#include "builtin/detail/findings.hpp"

#include <vlp/core/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace vlp::builtin::detail {

/// 0 at and before `low`, 1 at and beyond `high`, smooth between; `low` may be the larger one.
inline float smooth_step(float low, float high, float x) {
  const float t = std::clamp((x - low) / (high - low), 0.0F, 1.0F);
  return t * t * (3 - 2 * t);
}

/// 1 inside (depth >= edge / 2), 0 outside.
inline float inside(float depth, float edge) {
  return smooth_step(-edge / 2, edge / 2, depth);
}

/// 1 at the centre of a line and 0 beyond `half_width` of it.
inline float on_line(float distance, float half_width) {
  const float t = distance / half_width;
  return t * t >= 1 ? 0.0F : (1 - t * t) * (1 - t * t);
}

struct Point {
  float x = 0, y = 0;
};

/// Distance from a point to a segment.
inline float distance_to(Point p, Point a, Point b) {
  const float dx = b.x - a.x, dy = b.y - a.y, px = p.x - a.x, py = p.y - a.y;
  const float along = std::clamp((px * dx + py * dy) / (dx * dx + dy * dy), 0.0F, 1.0F);
  return std::hypot(px - along * dx, py - along * dy);
}

/// A texture without preferred scale or direction: value noise from a periodic lattice.
class Texture {
 public:
  explicit Texture(Random& random) {
    for (float& value : lattice_) value = random.uniform(-1, 1);
  }
  /// In [-1, 1]; `frequency` cells per unit.
  [[nodiscard]] float operator()(float x, float y, float frequency) const {
    const float u = (x + 4) * frequency, v = (y + 4) * frequency;
    const int i = static_cast<int>(u), j = static_cast<int>(v);
    const float fx = smooth_step(0, 1, u - static_cast<float>(i)),
                fy = smooth_step(0, 1, v - static_cast<float>(j));
    const float top = at(i, j) + (at(i + 1, j) - at(i, j)) * fx;
    const float bottom = at(i, j + 1) + (at(i + 1, j + 1) - at(i, j + 1)) * fx;
    return top + (bottom - top) * fy;
  }

 private:
  static constexpr int period = 16;
  [[nodiscard]] float at(int i, int j) const {
    return lattice_[static_cast<std::size_t>((j % period) * period + i % period)];
  }
  std::array<float, period * period> lattice_;
};

/// The parts that differ from patient to patient.
struct Chest {
  float half_width;           ///< of the thorax, inside
  float apex;                 ///< y of the lungs' top
  std::array<float, 2> dome;  ///< y of the diaphragm's highest point, right and left
  Point heart;                ///< centre
  float heart_rx, heart_ry;
  Point stomach;            ///< centre of its gas bubble
  float rib_top, rib_step;  ///< y of the first posterior rib at the spine, and to the next
  std::array<std::array<Point, 2>, 14> vessels;
  Texture texture;

  Chest(const std::vector<Finding>& findings, Random& random)
      : half_width(random.uniform(0.345F, 0.385F)),
        apex(random.uniform(0.09F, 0.13F)),
        dome{},
        heart{},
        heart_rx(0),
        heart_ry(0),
        stomach{},
        rib_top(apex + random.uniform(0.01F, 0.04F)),
        rib_step(random.uniform(0.078F, 0.09F)),
        vessels{},
        texture(random) {
    dome[0] = random.uniform(0.72F, 0.78F);
    dome[1] = dome[0] + random.uniform(0.01F, 0.035F);
    stomach = {random.uniform(0.13F, 0.20F), dome[1] + random.uniform(0.07F, 0.11F)};
    // Cardiothoracic ratio: up to 0.5 is normal.
    float ratio = random.uniform(0.42F, 0.47F);
    for (const Finding& finding : findings)
      if (finding.kind == FindingKind::enlarged_heart)
        ratio =
            finding.severity == Severity::mild ? random.uniform(0.56F, 0.60F) : random.uniform(0.68F, 0.73F);
    heart_rx = ratio * half_width;
    heart_ry = 0.105F + 0.30F * heart_rx;
    heart = {0.02F + 0.15F * heart_rx, dome[1] - 0.02F - 0.78F * heart_ry};
    draw_vessels(random);
  }

  /// Inner side of the chest wall: |x| at height y.
  [[nodiscard]] float wall(float y) const {
    const float rise = std::max(0.0F, (0.68F - y) / (0.68F - apex));
    return rise >= 1 ? 0.0F : half_width * std::sqrt(1 - rise * rise * rise);
  }
  /// Upper face of the diaphragm: y at distance t = |x| from the midline.
  [[nodiscard]] float diaphragm(std::size_t side, float t) const {
    const float bend = (t - 0.42F * half_width) / half_width;
    return dome[side] + 0.30F * bend * bend;
  }
  /// Inside either lung, not minding the heart.
  [[nodiscard]] float lung_depth(float x, float y) const {
    const float t = std::abs(x);
    const float medial = 0.055F + 0.085F * smooth_step(apex + 0.10F, apex - 0.01F, y);
    return std::min({wall(y) - t, t - medial, diaphragm(x < 0 ? 0 : 1, t) - y});
  }
  [[nodiscard]] float heart_depth(float x, float y) const {
    // Leans over to the patient's left.
    const float dx = x - heart.x - 0.30F * (y - heart.y), dy = y - heart.y;
    const float r = std::sqrt(dx * dx / (heart_rx * heart_rx) + dy * dy / (heart_ry * heart_ry));
    return (1 - r) * heart_ry;
  }
  [[nodiscard]] float mediastinum_depth(float x, float y) const {
    const float knob = 0.048F - std::hypot(x - 0.045F, y - apex - 0.19F);
    return std::max(0.06F + 0.03F * smooth_step(0.35F, 0.6F, y) - std::abs(x), knob);
  }

 private:
  void draw_vessels(Random& random) {
    for (std::size_t k = 0; k < vessels.size(); ++k) {
      const bool left = k % 2 == 1;
      const float angle = -1.2F + 0.4F * static_cast<float>(k / 2) + random.uniform(-0.15F, 0.15F);
      const float reach = random.uniform(0.10F, 0.20F);
      const Point root{left ? 0.085F : -0.085F, apex + 0.31F + 0.05F * angle};
      vessels[k] = {root, Point{root.x + (left ? 1.0F : -1.0F) * reach * std::cos(angle),
                                root.y + 1.4F * reach * std::sin(angle)}};
    }
  }
};

/// A chest without findings by its layers, each of which lets through less or more: soft tissue, lungs,
/// heart, bones.
struct Layers {
  float body = 0;    ///< 1 inside the patient
  float lung = 0;    ///< 1 in air-filled lung
  float heart = 0;   ///< 1 in heart or mediastinum
  float vessel = 0;  ///< 1 on the largest vessels
  float bone = 0;    ///< density of ribs, clavicles and spine
  float belly = 0;   ///< 1 below the diaphragm, less in the gas of the stomach
};

inline float ribs_at(const Chest& chest, float t, float y) {
  const float out = t / chest.half_width;
  if (t < 0.03F || out > 1.12F || y > chest.dome[0] + 0.08F) return 0.0F;
  const auto band = [&](float height, float half) {
    const float phase = (y - height) / chest.rib_step;
    const float nearest = std::round(phase);
    if (nearest < 0 || nearest > 8) return 0.0F;
    const float distance = std::abs(phase - nearest);
    return distance > half ? 0.0F : 0.55F + 0.45F * distance / half;  // the cortex is denser than the marrow
  };
  const float posterior = band(chest.rib_top + 0.15F * out * out, 0.19F);
  const float anterior = out > 0.35F ? band(chest.rib_top + 0.30F - 0.15F * out, 0.17F) : 0.0F;
  const float fade = smooth_step(chest.dome[0] + 0.08F, chest.dome[0] - 0.06F, y);
  return fade * (0.085F * posterior + 0.045F * anterior);
}

inline Layers layers_at(const Chest& chest, float x, float y) {
  const float t = std::abs(x);
  Layers out;
  const float shoulder = smooth_step(-0.02F, 0.16F, y);
  out.body = inside(0.13F + (chest.half_width + 0.10F - 0.13F) * shoulder - t, 0.03F);
  out.lung = inside(chest.lung_depth(x, y), 0.03F);
  out.heart = std::max(inside(chest.heart_depth(x, y), 0.025F), inside(chest.mediastinum_depth(x, y), 0.03F));
  out.belly = smooth_step(-0.01F, 0.03F, y - chest.diaphragm(x < 0 ? 0 : 1, t));
  const float gas_x = (x - chest.stomach.x) / 0.065F, gas_y = (y - chest.stomach.y) / 0.032F;
  out.belly -= 1.6F * smooth_step(1.2F, 0.6F, std::sqrt(gas_x * gas_x + gas_y * gas_y));

  if (out.lung > 0 && out.heart < 1) {
    out.vessel = 0.6F * smooth_step(0.075F, 0.015F, std::hypot(t - 0.085F, 0.7F * (y - chest.apex - 0.31F)));
    for (const auto& [root, tip] : chest.vessels) {
      const Point p{x, y};
      const float along = std::min(1.0F, std::hypot(x - root.x, y - root.y) / 0.22F);
      out.vessel =
          std::max(out.vessel, (1 - along) * on_line(distance_to(p, root, tip), 0.019F - 0.008F * along));
    }
  }

  const float vertebra = 0.75F + 0.25F * std::cos(y * 105.0F);
  const float clavicle =
      t < 0.03F ? 0.0F
                : on_line(y - (chest.apex + 0.12F - 0.42F * (t - 0.03F) + 0.75F * t * t), 0.017F) *
                      smooth_step(0.42F, 0.36F, t);
  out.bone = ribs_at(chest, t, y) + 0.12F * clavicle + 0.08F * vertebra * inside(0.036F - t, 0.015F);
  return out;
}

}  // namespace vlp::builtin::detail
