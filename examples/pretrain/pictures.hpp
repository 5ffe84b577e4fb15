/// \file
/// All pictures that a run leaves behind.
#pragma once

#include "pretrain/attention_picture.hpp"
#include "pretrain/plots.hpp"
