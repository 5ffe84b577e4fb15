/// \file
/// Everything for the host that needs no more than the target vlp::vlp: core, losses, layers, optimisers and
/// evaluation. What brings a library along is included by name and linked as a component: `vlp/text/`
/// (vlp::text), `vlp/io/` (vlp::io), `vlp/interop/` (the library whose arrays it views).
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/config.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/op.hpp>
#include <vlp/core/parameter.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/eval/accuracy.hpp>
#include <vlp/eval/pointing_game.hpp>
#include <vlp/eval/retrieval.hpp>
#include <vlp/eval/structure_discrimination.hpp>
#include <vlp/losses/all.hpp>
#include <vlp/losses/types.hpp>
#include <vlp/nn/aggregate_to_words.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/convolution.hpp>
#include <vlp/nn/convolution_stem.hpp>
#include <vlp/nn/embedding.hpp>
#include <vlp/nn/feed_forward.hpp>
#include <vlp/nn/gelu.hpp>
#include <vlp/nn/image_encoder.hpp>
#include <vlp/nn/initialise.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/nn/multi_head_attention.hpp>
#include <vlp/nn/projection_head.hpp>
#include <vlp/nn/text_encoder.hpp>
#include <vlp/nn/transformer_block.hpp>
#include <vlp/nn/unit_norm.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/optim/clip_gradient_norm.hpp>
#include <vlp/optim/pieces.hpp>
#include <vlp/optim/sgd.hpp>
#include <vlp/optim/warmup_cosine.hpp>
