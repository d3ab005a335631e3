// The sampler's passes for AVX-512; the code is in sampler_impl.h.
#include "backend/cpu/sampler_impl.h"
