/* Patch search on x86-64: every code is read once, decoded in registers and multiplied with all its queries there.

   Both instruction sets are compiled side by side; `instruction_sets` says which of them this processor has. Threads
   share out the stored cells: what one of them writes no other reads until all have returned. */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum codec { FP32, FP16, BF16, INT8, INT4 };
enum { QUERIES = 9 }; /* of a code at a time: the neighbours at rho = 1, and as many sums as registers hold */
enum { SIDE = 16 }; /* queries side by side, where every stored cell is a candidate for all of them */
enum { CHUNK = 60 }; /* codes that are decoded at a time, for all of those queries */
enum { AVX2 = 1, AVX512_VNNI = 2 };

/* One image's search in references of one grid.

   codes: of each reference (layers, cells, code_size) bytes. queries: float32 (layers, cells, padded), zeros beyond
   dim. levels: the same as int16, see `quantise`; read with INT8 and INT4 codes only. neighbours: int32 (cells, width) cells,
   negative outside the grid; the relation is symmetric, so it also says which queries a stored cell answers to.
   members: (selections, references) bytes, whether a selection has a reference. */
struct search {
    int64_t codec, references, layers, cells, dim, padded, code_size, width, selections;
    const uint8_t *const *codes;
    const float *queries;
    const int16_t *levels;
    const int32_t *neighbours;
    const uint8_t *members;
};

/* One value for each query that is multiplied at a time. */
typedef float scores __attribute__((vector_size(64)));
typedef int32_t places __attribute__((vector_size(64)));

/* The best reference of one selection, for each of these queries. */
struct held {
    scores best;
    places reference;
};

#define INLINE static inline __attribute__((always_inline))

/* The levels of INT4 codes, as in four_bits.py: a byte holds two, the first of them in its lower half. */
static const int8_t level_of[16] = {-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127};

/* Bytes before value d of a code. */
INLINE int64_t offset(enum codec codec, int64_t d)
{
    return codec == FP32 ? 4 * d : codec == INT8 ? d : codec == INT4 ? (d + 1) >> 1 : 2 * d;
}

/* Raise best and winners of `count` queries `from` ... of a layer where a reference matches better, in every selection that
   has it. largest, which: of each query, its largest inner product with the reference, and with which cell from `cell` on. */
INLINE void keep_better(const struct search *s, const float *largest, const int32_t *which, int64_t layer, int64_t from,
    int64_t count, int64_t reference, int64_t cell, float *best, int64_t *winners)
{
    count = from + count < s->cells ? count : s->cells - from;
    for (int64_t selection = 0; selection < s->selections; selection++) {
        if (!s->members[selection * s->references + reference])
            continue;
        const int64_t place = (selection * s->layers + layer) * s->cells + from;
        for (int64_t i = 0; i < count; i++)
            if (largest[i] > best[place + i]) {
                best[place + i] = largest[i];
                winners[place + i] = reference * s->cells + cell + which[i];
            }
    }
}

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#include "lanes_avx2.h"
#include "kernel.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
#include "lanes_avx512.h"
#include "kernel.h"
#pragma GCC pop_options

/* The instruction sets that both the processor and its system have, as bits. */
int instruction_sets(void)
{
    int found = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        found |= AVX2;
    if (found && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        found |= AVX512_VNNI;
    return found;
}

/* Stored cells first ... last - 1 of layers x cells, against the queries they answer to: raise best, float32
   (selections, layers, cells), and say in winners, int64 of that shape, where: reference x cells + cell. 0, or -1
   without memory. The best of INT8 and INT4 codes are unscaled: `rescore` computes them. */
int search_cells(int set, const struct search *s, int64_t first, int64_t last, float *best, int64_t *winners)
{
    struct held *held = aligned_alloc(64, s->selections * sizeof *held);
    if (!held)
        return -1;
    (set == AVX2 ? search_avx2 : search_avx512)(s, first, last, held, best, winners);
    free(held);
    return 0;
}

/* The same where every stored cell answers to every query of its layer, with every codec in float32. Of `s`, queries are
   laid out otherwise: (layers, cells / SIDE, dim, SIDE), cells being filled up with zeros to a multiple of 2 x SIDE; levels and
   neighbours are not read. */
int search_everywhere(int set, const struct search *s, int64_t first, int64_t last, float *best, int64_t *winners)
{
    float *decoded = aligned_alloc(64, CHUNK * s->padded * sizeof *decoded);
    if (!decoded)
        return -1;
    (set == AVX2 ? search_everywhere_avx2 : search_everywhere_avx512)(s, first, last, decoded, best, winners);
    free(decoded);
    return 0;
}

/* Queries first ... last - 1 of layers x cells as int16 levels of their own largest magnitude. */
void quantise(const struct search *s, int64_t first, int64_t last, int16_t *levels)
{
    for (int64_t at = first; at < last; at++) {
        const float *query = s->queries + at * s->padded;
        float largest = 0;
        for (int64_t d = 0; d < s->padded; d++)
            largest = query[d] > largest ? query[d] : -query[d] > largest ? -query[d] : largest;
        const float factor = largest > 0 ? 32767 / largest : 0;
        for (int64_t d = 0; d < s->padded; d++)
            levels[at * s->padded + d] = (int16_t)(query[d] * factor + (query[d] < 0 ? -0.5f : 0.5f));
    }
}

/* The inner products of INT8 or INT4 winners first ... last - 1 of selections x layers x cells with their float32 queries. */
void rescore(const struct search *s, int64_t first, int64_t last, const int64_t *winners, float *best)
{
    enum { WIDTH = 16 };
    int8_t pair_of[256][2]; /* the levels of each byte of an INT4 code */
    for (int byte = 0; byte < 256; byte++)
        memcpy(pair_of[byte], (int8_t[]){level_of[byte & 15], level_of[byte >> 4]}, 2);
    for (int64_t at = first; at < last; at++) {
        if (winners[at] < 0)
            continue;
        const int64_t place = at % (s->layers * s->cells), layer = place / s->cells;
        const float *query = s->queries + place * s->padded;
        const int64_t stored = layer * s->cells + winners[at] % s->cells;
        const uint8_t *code = s->codes[winners[at] / s->cells] + stored * s->code_size;
        float sums[WIDTH] = {0}, scale, sum = 0;
        for (int64_t d = 0; d < s->dim; d += WIDTH) {
            int8_t levels[WIDTH] = {0};
            if (s->codec == INT4)
                for (int pair = 0; pair < WIDTH / 2 && d + 2 * pair < s->dim; pair++)
                    memcpy(levels + 2 * pair, pair_of[code[d / 2 + pair]], 2);
            else
                memcpy(levels, code + d, s->dim - d < WIDTH ? s->dim - d : WIDTH);
            for (int lane = 0; lane < WIDTH; lane++)
                sums[lane] += query[d + lane] * levels[lane];
        }
        for (int lane = 0; lane < WIDTH; lane++)
            sum += sums[lane];
        memcpy(&scale, code + offset(s->codec, s->dim), sizeof scale);
        best[at] = sum * scale;
    }
}
