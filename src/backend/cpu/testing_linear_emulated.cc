// The AMX linear kernels over emulated tiles, for linear_test.cc: everything but the tile
// instructions is the code that a machine with AMX runs, AVX-512 parts included.
#define OCTAVO_EMULATE_TILES
#include "backend/cpu/linear_amx_impl.h"
