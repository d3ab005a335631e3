// The sampler's passes for AVX2; the code is in sampler_impl.h.
#include "backend/cpu/sampler_impl.h"
