// The attention and rope_and_cache for every x86-64; the code is in attention_impl.h.
#include "backend/cpu/attention_impl.h"
