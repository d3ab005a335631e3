// The sampler's passes for every x86-64; the code is in sampler_impl.h.
#include "backend/cpu/sampler_impl.h"
