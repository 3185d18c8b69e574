/* What kernel.h is written in, for AVX-512: 16 floats or 32 levels at a time. */

#undef NAMED
#undef VECTOR
#undef LANES
#undef ZERO
#undef SPREAD
#undef LOAD
#undef FROM_FP16
#undef FROM_BF16
#undef MULTIPLY_ADD
#undef MAXIMUM
#undef LEVELS
#undef NO_LEVELS
#undef LOAD_LEVELS
#undef FROM_INT8
#undef MULTIPLY_ADD_LEVELS
#undef TO_FLOATS
#undef TILE_CODES

#define NAMED(name) name##_avx512
#define VECTOR __m512
#define LANES 16
#define ZERO _mm512_setzero_ps()
#define SPREAD(value) _mm512_set1_ps(value)
#define LOAD(from) _mm512_loadu_ps(from)
#define FROM_FP16(from) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(from)))
#define FROM_BF16(from) \
    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(from))), 16))
#define MULTIPLY_ADD(a, b, sum) _mm512_fmadd_ps(a, b, sum)
#define MAXIMUM(a, b) _mm512_max_ps(a, b)
#define LEVELS __m512i
#define NO_LEVELS _mm512_setzero_si512()
#define LOAD_LEVELS(from) _mm512_loadu_si512(from)
#define FROM_INT8(from) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(from)))
#define MULTIPLY_ADD_LEVELS(a, b, sum) _mm512_dpwssd_epi32(sum, a, b)
#define TO_FLOATS(levels) _mm512_cvtepi32_ps(levels)
#define TILE_CODES 12 /* whose sums with two vectors of queries lie in registers */

/* 32 levels of 16 bytes: each byte twice, its halves at the lower end of a word, which alone are looked up. */
INLINE __m512i from_int4_avx512(const uint8_t *from)
{
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from));
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)level_of));
    return _mm512_permutexvar_epi16(
        _mm512_or_si512(bytes, _mm512_slli_epi32(bytes, 12)), _mm512_cvtepi8_epi16(table));
}

/* The sums of the lanes of up to 16 vectors, in their order: four rounds that each halve the vectors. */
INLINE scores fold_avx512(const __m512 *vectors, int count)
{
    __m512 two[8], four[4], eight[2];
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) {
        const __m512 a = 2 * i < count ? vectors[2 * i] : ZERO, b = 2 * i + 1 < count ? vectors[2 * i + 1] : ZERO;
        two[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
        const __m512d a = _mm512_castps_pd(two[2 * i]), b = _mm512_castps_pd(two[2 * i + 1]);
        four[i] = _mm512_add_ps(
            _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    _Pragma("GCC unroll 2") for (int i = 0; i < 2; i++)
        eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0x88),
            _mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0xdd));
    return (scores)_mm512_add_ps(
        _mm512_shuffle_f32x4(eight[0], eight[1], 0x88), _mm512_shuffle_f32x4(eight[0], eight[1], 0xdd));
}
