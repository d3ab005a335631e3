// The linear kernels for AMX; see linear_amx_impl.h.
#include "backend/cpu/linear_amx_impl.h"
