// Matrix products with few rows of x (m <= 128), as in decode: the time is that of streaming the
// weight once, so everything here serves to keep every SM streaming all the time, also from one
// kernel into the next. skinny_kernel.cuh explains how. Beyond m = 64 it is correct but slower
// than cluster_linear.h.
//
// Determinism: the order of summation depends on n, k, the number of SMs and the class of m, which
// is m rounded up to 8, 16, 32, 64 or 128; a row's result is the same for every m in a class.
#pragma once

#include <cstddef>

#include "backend/cuda/launch.h"
#include "backend/cuda/linear_call.h"

namespace octavo::cuda {

// Norms are carried up to m = 64.
bool skinny_linear_takes(const LinearCall& call);

// Parts of a row of call.squares_out.
int skinny_linear_square_parts(const LinearCall& call);

// REQUIRES: skinny_linear_takes(call); no such call runs on another stream of the device meanwhile,
// as CTAs of one call wait for each other. `workspace` holds skinny_linear_workspace_bytes(), was
// zeroed once, and is shared by all calls; each leaves it as it needs to find it.
void skinny_linear(const Launch& on, const LinearCall& call, void* workspace);

// For the current device.
size_t skinny_linear_workspace_bytes();

}  // namespace octavo::cuda
