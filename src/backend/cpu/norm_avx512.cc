// The norms for AVX-512; the code is in norm_impl.h.
#include "backend/cpu/norm_impl.h"
