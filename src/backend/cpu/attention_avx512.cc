// The attention and rope_and_cache for AVX-512; the code is in attention_impl.h.
#include "backend/cpu/attention_impl.h"
