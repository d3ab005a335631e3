// The norms for every x86-64; the code is in norm_impl.h.
#include "backend/cpu/norm_impl.h"
