/// \file
/// Everything for the host that needs no library except Eigen (the target vlp::vlp): core, losses,
/// optimisers, communicators, evaluation and views of Eigen's matrices. Headers that need another library are
/// included by name, and their component is linked: `vlp/text/` and `vlp/core/random.hpp` (vlp::text),
/// `vlp/io/` (vlp::io), `vlp/nn/`, `vlp/models/`, `vlp/data/`, `vlp/train/` and `vlp/tasks/` (vlp::train),
/// the rest of `vlp/interop/` (the library whose arrays it views).
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/build.hpp>
#include <vlp/core/config.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/printable.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/core/view.hpp>
#include <vlp/dist/communicator.hpp>
#include <vlp/eval/accuracy.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/eval/retrieval.hpp>
#include <vlp/eval/structure_discrimination.hpp>
#include <vlp/eval/text_scores.hpp>
#include <vlp/interop/eigen.hpp>
#include <vlp/losses/all.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/optim/clamp_above.hpp>
#include <vlp/optim/clip_gradient_norm.hpp>
#include <vlp/optim/pieces.hpp>
#include <vlp/optim/sgd.hpp>
#include <vlp/optim/warmup_cosine.hpp>
