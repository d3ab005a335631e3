// The linear kernels of one instruction set; see linear_vector_impl.h and linear_pack_impl.h.
#include "backend/cpu/linear_pack_impl.h"
#include "backend/cpu/linear_vector_impl.h"
