/// \file
/// vlp's losses for other languages: a C interface to functions over the caller's arrays. The library
/// libvlp_ops has it for the CPU, libvlp_ops_cuda for CUDA devices; both export the same functions.
///
/// A loss is made once of its name, the type of its numbers and its options, and is constant from then on.
/// Its passes take arrays by name, write to arrays of the caller's alone, and what forward saves for backward
/// is memory of the caller's too. So any number of threads may share a loss, as long as each has a device of
/// its own, and any number of forwards may precede their backwards.
///
/// vlp_ops_describe() lists the losses with their inputs, outputs and options; include/vlp/losses/NAME.hpp
/// says what each computes, and the shapes and ranges of its arguments. On CUDA devices all arrays, single
/// numbers included, are in the device's memory, and calls return when the work is queued.
///
/// Functions with a VlpStatus return VLP_OK, or leave a sentence in vlp_ops_error(). Arguments that are
/// refused change nothing.
#ifndef VLP_OPS_H
#define VLP_OPS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define VLP_OPS_API
#else
#define VLP_OPS_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum VlpStatus {
  VLP_OK = 0,
  VLP_BAD_ARGUMENT = 1,  ///< the arguments are wrong by themselves or do not fit together
  VLP_NO_MEMORY = 2,     ///< there is not enough memory, of the host or of the device
  VLP_FAILED = 3         ///< anything else, such as a device that fails
} VlpStatus;

/// An array by name; a single number has rank 0. The fields are those of a DLPack tensor: its type by code (0
/// integer, 1 unsigned integer, 2 floating point, 4 bfloat16, 6 bool) and bits, its extents, and its strides
/// in elements, or null where it is contiguous. Elements of the last dimension must be adjacent.
typedef struct VlpArray {
  const char* name;
  void* data;
  uint8_t type_code;
  uint8_t type_bits;
  int32_t rank;
  const int64_t* extents;
  const int64_t* strides;
} VlpArray;

/// Arrays in any order. Those that are not there are not given: an optional input is left out, an output or a
/// gradient is not computed.
typedef struct VlpArrays {
  const VlpArray* arrays;
  int64_t count;
} VlpArrays;

/// A number of the inputs that the host knows, such as word_capacity.
typedef struct VlpNumber {
  const char* name;
  int64_t value;
} VlpNumber;

/// The inputs of a loss. Inputs are never written.
typedef struct VlpInputs {
  VlpArrays arrays;
  const VlpNumber* numbers;
  int64_t number_count;
} VlpInputs;

/// Where gradients go, each under the name of its input and with that input's extents.
typedef struct VlpGradients {
  VlpArrays arrays;
  int32_t add;  ///< 0 replaces what the gradients hold, 1 adds to it
} VlpGradients;

/// Memory for what a forward saves: the device's, aligned to vlp_saved_alignment().
typedef struct VlpSaved {
  void* data;
  int64_t bytes;
} VlpSaved;

/// An option and its value as text: a number as C writes it, in any locale ("0.1", "inf", "-100"), "true" or
/// "false", or the name of one of an option's choices ("ignore").
typedef struct VlpOption {
  const char* name;
  const char* value;
} VlpOption;

typedef struct VlpLoss VlpLoss;
typedef struct VlpDevice VlpDevice;

/// The sentence of the last call of this thread that failed. Valid until the next that does.
VLP_OPS_API const char* vlp_ops_error(void);

/// The library as JSON, or null where there is no memory for it: `version`, `device` ("cpu" or "cuda"),
/// `products` (what computes matrix products), `compiler`, `types` (of numbers), `saved_alignment`, and
/// `losses`, each with
///   name, forward_backward and blocks (whether it has that pass and the steps over blocks);
///   inputs: name, rank, type, gradient (whether it has one);
///   outputs: name, rank, type;
///   numbers: name, default; and
///   options: name, kind ("number", "integer", "bool" or "choice"), choices, default as text.
/// A type is "number" (the loss's own), "accumulator" (float64 where numbers are float64, float32 otherwise),
/// "int64" or "bool" (bool or uint8).
VLP_OPS_API const char* vlp_ops_describe(void);

/// Alignment in bytes of the memory for what a forward saves.
VLP_OPS_API int64_t vlp_saved_alignment(void);

/// A device: on the CPU `place` is a number of threads, 0 for all; on CUDA a stream (cudaStream_t) of the
/// device that is current. It serves one caller at a time, and holds scratch memory, which grows until it
/// suffices.
VLP_OPS_API VlpStatus vlp_device_make(intptr_t place, VlpDevice** device);
VLP_OPS_API void vlp_device_free(VlpDevice* device);

/// The most bytes of scratch memory that a call has taken.
VLP_OPS_API int64_t vlp_device_scratch_bytes(VlpDevice* device);

/// A loss of numbers of the type "float64", "float32", "float16" or "bfloat16", those that describe lists.
VLP_OPS_API VlpStatus vlp_loss_make(const char* name, const char* type, const VlpOption* options,
                                    int64_t option_count, VlpLoss** loss);
VLP_OPS_API void vlp_loss_free(VlpLoss* loss);

/// Writes to `bytes` how much a forward of these inputs saves. Reads extents and numbers alone, and refuses
/// those that a forward would refuse: the arrays' data may be null, which does not mean that they are not
/// given.
VLP_OPS_API VlpStatus vlp_loss_saved_bytes(const VlpLoss* loss, const VlpInputs* inputs, int64_t* bytes);

/// Computes the outputs, the value "loss" among them, and writes `saved`.
VLP_OPS_API VlpStatus vlp_loss_forward(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                                       const VlpArrays* outputs, const VlpSaved* saved);

/// Computes upstream times the gradients, for the inputs of the forward that wrote `saved`, which is only
/// read.
VLP_OPS_API VlpStatus vlp_loss_backward(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                                        const VlpSaved* saved, double upstream,
                                        const VlpGradients* gradients);

/// Does the work of both at once and saves nothing. A bad argument where the loss has no such pass.
VLP_OPS_API VlpStatus vlp_loss_forward_backward(const VlpLoss* loss, VlpDevice* device,
                                                const VlpInputs* inputs, double upstream,
                                                const VlpArrays* outputs, const VlpGradients* gradients);

/// The steps over blocks. A contrastive loss whose `blocks` is true can be computed a block of its scores at
/// a time, at several places or at several times: accumulate for each block, merge the sums, finish the loss,
/// differentiate for each block. The numbers images, texts, first_image and first_text say with the inputs
/// where a block stands in its batch; `group` and `valid` are those of the whole batch.
///
/// Sums are arrays of the caller's: row_max and row_sum, an accumulator for each image given; column_max and
/// column_sum, one for each text given; and target_score, a single float64. A row's or a column's log-sum-exp
/// is max + log(sum); that of no score has the lowest finite number for its max, and 0 for its sum. A bad
/// argument where the loss has no such steps.
///
/// Writes to `bytes` how much accumulate saves of such a block; see vlp_loss_saved_bytes.
VLP_OPS_API VlpStatus vlp_loss_block_saved_bytes(const VlpLoss* loss, const VlpInputs* inputs,
                                                 int64_t* bytes);

/// Computes the sums of a block, all of which must be given, and replaces what `sums` holds (`add` 0) or adds
/// to it (1); computes the outputs except the loss, and writes `saved`.
VLP_OPS_API VlpStatus vlp_loss_accumulate(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                                          const VlpArrays* outputs, const VlpArrays* sums, int32_t add,
                                          const VlpSaved* saved);

/// Adds the sums `from` to those of the same rows and columns in `to`. Sums that are not given in `from` are
/// left alone in `to`.
VLP_OPS_API VlpStatus vlp_loss_merge(const VlpLoss* loss, VlpDevice* device, const VlpArrays* from,
                                     const VlpArrays* to);

/// Writes to the output "loss" the share of the batch's loss that is of the rows, columns and target score
/// given, each complete over the batch; those not given add nothing. `block` has the numbers of the inputs
/// that say where the rows and columns stand in their batch; others are not used.
VLP_OPS_API VlpStatus vlp_loss_finish(const VlpLoss* loss, VlpDevice* device, const VlpNumber* block,
                                      int64_t block_count, const VlpArrays* sums, const VlpArrays* outputs);

/// Computes upstream times a block's share of the gradients. `sums` are those of the block's rows and columns
/// over the whole batch; `saved`, which accumulate wrote for the block, is only read.
VLP_OPS_API VlpStatus vlp_loss_differentiate(const VlpLoss* loss, VlpDevice* device, const VlpInputs* inputs,
                                             const VlpArrays* sums, const VlpSaved* saved, double upstream,
                                             const VlpGradients* gradients);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif
