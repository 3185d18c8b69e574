/* The search itself, compiled once for each instruction set, in the words of its lanes_*.h. */

INLINE VECTOR NAMED(decode)(enum codec codec, const uint8_t *from)
{
    return codec == FP32 ? LOAD((const float *)from) : codec == FP16 ? FROM_FP16(from) : FROM_BF16(from);
}

/* The inner products of one code with `count` queries; of INT8 and INT4 codes with their levels. `count` and `codec` are
   constants wherever this is called, and so the sums lie in registers. */
INLINE scores NAMED(multiply)(
    const struct search *s, enum codec codec, int count, const uint8_t *code, const void *const *asking)
{
    const int has_levels = codec == INT8 || codec == INT4;
    const int64_t step = has_levels ? 2 * LANES : LANES;
    VECTOR sums[QUERIES];
    LEVELS levels[QUERIES];
    uint8_t tail[64] = {0}; /* the last values of a code whose length no step divides */
    _Pragma("GCC unroll 9") for (int i = 0; i < count; i++)
        if (has_levels)
            levels[i] = NO_LEVELS;
        else
            sums[i] = ZERO;
    for (int64_t d = 0; d < s->dim; d += step) {
        const uint8_t *from = code + offset(codec, d);
        if (__builtin_expect(d + step > s->dim, 0))
            from = memcpy(tail, from, offset(codec, s->dim - d));
        if (has_levels) {
            const LEVELS stored = codec == INT8 ? FROM_INT8(from) : NAMED(from_int4)(from);
            _Pragma("GCC unroll 9") for (int i = 0; i < count; i++)
                levels[i] = MULTIPLY_ADD_LEVELS(stored, LOAD_LEVELS((const int16_t *)asking[i] + d), levels[i]);
        } else {
            const VECTOR stored = NAMED(decode)(codec, from);
            _Pragma("GCC unroll 9") for (int i = 0; i < count; i++)
                sums[i] = MULTIPLY_ADD(stored, LOAD((const float *)asking[i] + d), sums[i]);
        }
    }
    if (!has_levels)
        return NAMED(fold)(sums, count);
    float scale;
    memcpy(&scale, code + offset(codec, s->dim), sizeof scale);
    _Pragma("GCC unroll 9") for (int i = 0; i < count; i++)
        sums[i] = TO_FLOATS(levels[i]);
    return NAMED(fold)(sums, count) * scale;
}

/* One stored cell, all its references, and the queries at `from` ... of its neighbours. */
INLINE void NAMED(search_cell)(const struct search *s, enum codec codec, int count, int64_t stored, int64_t from,
    struct held *held, float *best, int64_t *winners)
{
    const int64_t layer = stored / s->cells, cell = stored % s->cells;
    const void *asking[QUERIES];
    int64_t at[QUERIES]; /* the query's cell, or -1 */
    for (int i = 0; i < count; i++) {
        at[i] = from + i < s->width ? s->neighbours[cell * s->width + from + i] : -1;
        const int64_t row = (layer * s->cells + (at[i] < 0 ? cell : at[i])) * s->padded;
        asking[i] = codec == INT8 || codec == INT4 ? (const void *)(s->levels + row) : (const void *)(s->queries + row);
    }
    for (int64_t selection = 0; selection < s->selections; selection++)
        held[selection] = (struct held){(scores){0} - __builtin_inff(), (places){0} - 1};
    for (int64_t reference = 0; reference < s->references; reference++) {
        const uint8_t *code = s->codes[reference] + stored * s->code_size;
        if (from == 0) /* the next cell's code of this reference comes into the cache while this cell is searched */
            for (int64_t byte = 0; byte < s->code_size; byte += 64)
                _mm_prefetch((const char *)code + s->code_size + byte, _MM_HINT_T1);
        const scores found = NAMED(multiply)(s, codec, count, code, asking);
        for (int64_t selection = 0; selection < s->selections; selection++) {
            if (!s->members[selection * s->references + reference])
                continue;
            struct held *h = held + selection;
            const places better = found > h->best;
            h->best = (scores)(((places)found & better) | ((places)h->best & ~better));
            h->reference = (((places){0} + (int32_t)reference) & better) | (h->reference & ~better);
        }
    }
    for (int64_t selection = 0; selection < s->selections; selection++)
        for (int i = 0; i < count; i++) {
            const int64_t place = (selection * s->layers + layer) * s->cells + at[i];
            if (at[i] >= 0 && held[selection].best[i] > best[place]) {
                best[place] = held[selection].best[i];
                winners[place] = held[selection].reference[i] * s->cells + cell;
            }
        }
}

INLINE void NAMED(search_codec)(const struct search *s, enum codec codec, int64_t first, int64_t last,
    struct held *held, float *best, int64_t *winners)
{
    for (int64_t stored = first; stored < last; stored++)
        if (s->width == 1)
            NAMED(search_cell)(s, codec, 1, stored, 0, held, best, winners);
        else
            for (int64_t from = 0; from < s->width; from += QUERIES)
                NAMED(search_cell)(s, codec, QUERIES, stored, from, held, best, winners);
}

static void NAMED(search)(
    const struct search *s, int64_t first, int64_t last, struct held *held, float *best, int64_t *winners)
{
    switch (s->codec) {
    case FP32: NAMED(search_codec)(s, FP32, first, last, held, best, winners); break;
    case FP16: NAMED(search_codec)(s, FP16, first, last, held, best, winners); break;
    case BF16: NAMED(search_codec)(s, BF16, first, last, held, best, winners); break;
    case INT8: NAMED(search_codec)(s, INT8, first, last, held, best, winners); break;
    case INT4: NAMED(search_codec)(s, INT4, first, last, held, best, winners); break;
    }
}

/* One code as float32, with zeros up to the next multiple of LANES. */
INLINE void NAMED(decode_code)(const struct search *s, enum codec codec, const uint8_t *code, float *to)
{
    if (codec == INT8 || codec == INT4) {
        float scale;
        memcpy(&scale, code + offset(codec, s->dim), sizeof scale);
        for (int64_t d = 0; d < s->dim; d++)
            to[d] = scale * (codec == INT8 ? (int8_t)code[d] : level_of[code[d / 2] >> 4 * (d % 2) & 15]);
        return;
    }
    for (int64_t d = 0; d < s->dim; d += LANES) {
        const uint8_t *from = code + offset(codec, d);
        uint8_t tail[64] = {0};
        if (d + LANES > s->dim)
            from = memcpy(tail, from, offset(codec, s->dim - d));
        *(VECTOR *)(to + d) = NAMED(decode)(codec, from);
    }
}

typedef int32_t NAMED(numbers) __attribute__((vector_size(4 * LANES)));

/* `count` codes of one reference, decoded, against 2 x LANES queries: the largest inner product of each, and with which
   code. The sums of TILE_CODES codes with all these queries lie in registers; a value of a code meets LANES at a time. */
INLINE void NAMED(search_tile)(const struct search *s, int64_t count, const float *decoded, const float *asking,
    VECTOR *best, NAMED(numbers) *which)
{
    best[0] = best[1] = SPREAD(-__builtin_inff());
    for (int64_t code = 0; code < count; code += TILE_CODES) {
        const float *stored = decoded + code * s->padded;
        VECTOR sums[TILE_CODES][2];
        _Pragma("GCC unroll 12") for (int i = 0; i < TILE_CODES; i++)
            sums[i][0] = sums[i][1] = ZERO;
        for (int64_t d = 0; d < s->dim; d++) {
            const VECTOR first = LOAD(asking + d * SIDE);
            const VECTOR second = LOAD(asking + d * SIDE + (LANES < SIDE ? LANES : s->dim * SIDE));
            _Pragma("GCC unroll 12") for (int i = 0; i < TILE_CODES; i++) {
                const VECTOR value = SPREAD(stored[i * s->padded + d]);
                sums[i][0] = MULTIPLY_ADD(value, first, sums[i][0]);
                sums[i][1] = MULTIPLY_ADD(value, second, sums[i][1]);
            }
        }
        _Pragma("GCC unroll 12") for (int i = 0; i < TILE_CODES; i++)
            _Pragma("GCC unroll 2") for (int j = 0; j < 2; j++) {
                const NAMED(numbers) better = sums[i][j] > best[j];
                best[j] = MAXIMUM(sums[i][j], best[j]);
                which[j] = (((NAMED(numbers)){0} + (int32_t)(code + i)) & better) | (which[j] & ~better);
            }
    }
}

/* Stored cells first ... last - 1 against every query of their layer. decoded: room for CHUNK codes. */
INLINE void NAMED(search_codec_everywhere)(
    const struct search *s, enum codec codec, int64_t first, int64_t last, float *decoded, float *best, int64_t *winners)
{
    const int64_t laid_out = (s->cells + 2 * SIDE - 1) / (2 * SIDE) * (2 * SIDE);
    for (int64_t stored = first, end; stored < last; stored = end) {
        const int64_t layer = stored / s->cells, cell = stored % s->cells;
        end = stored + CHUNK < last ? stored + CHUNK : last;
        end = end < (layer + 1) * s->cells ? end : (layer + 1) * s->cells;
        const int64_t count = end - stored, filled = (count + TILE_CODES - 1) / TILE_CODES * TILE_CODES;
        for (int64_t reference = 0; reference < s->references; reference++) {
            const uint8_t *codes = s->codes[reference] + stored * s->code_size;
            for (int64_t i = 0; i < filled; i++) /* a last tile that is not full repeats the last code */
                NAMED(decode_code)(
                    s, codec, codes + (i < count ? i : count - 1) * s->code_size, decoded + i * s->padded);
            for (int64_t query = 0; query < s->cells; query += 2 * LANES) {
                VECTOR largest[2];
                NAMED(numbers) which[2];
                NAMED(search_tile)(
                    s, count, decoded, s->queries + (layer * laid_out + query) * s->dim, largest, which);
                keep_better(s, (const float *)largest, (const int32_t *)which, layer, query, 2 * LANES, reference,
                    cell, best, winners);
            }
        }
    }
}

static void NAMED(search_everywhere)(
    const struct search *s, int64_t first, int64_t last, float *decoded, float *best, int64_t *winners)
{
    switch (s->codec) {
    case FP32: NAMED(search_codec_everywhere)(s, FP32, first, last, decoded, best, winners); break;
    case FP16: NAMED(search_codec_everywhere)(s, FP16, first, last, decoded, best, winners); break;
    case BF16: NAMED(search_codec_everywhere)(s, BF16, first, last, decoded, best, winners); break;
    case INT8: NAMED(search_codec_everywhere)(s, INT8, first, last, decoded, best, winners); break;
    case INT4: NAMED(search_codec_everywhere)(s, INT4, first, last, decoded, best, winners); break;
    }
}
