#include "backend/cpu/sampler_impl.h"
