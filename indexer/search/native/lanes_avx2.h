/* What kernel.h is written in, for AVX2: 8 floats or 16 levels at a time. */

#define NAMED(name) name##_avx2
#define VECTOR __m256
#define LANES 8
#define ZERO _mm256_setzero_ps()
#define SPREAD(value) _mm256_set1_ps(value)
#define LOAD(from) _mm256_loadu_ps(from)
#define FROM_FP16(from) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from)))
#define FROM_BF16(from) \
    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(from))), 16))
#define MULTIPLY_ADD(a, b, sum) _mm256_fmadd_ps(a, b, sum)
#define MAXIMUM(a, b) _mm256_max_ps(a, b)
#define LEVELS __m256i
#define NO_LEVELS _mm256_setzero_si256()
#define LOAD_LEVELS(from) _mm256_loadu_si256((const __m256i *)(from))
#define FROM_INT8(from) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(from)))
#define MULTIPLY_ADD_LEVELS(a, b, sum) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#define TO_FLOATS(levels) _mm256_cvtepi32_ps(levels)
#define TILE_CODES 6 /* whose sums with two vectors of queries lie in registers */

/* 16 levels of 8 bytes: the halves of a byte side by side, then each looked up. */
INLINE __m256i from_int4_avx2(const uint8_t *from)
{
    const __m128i bytes = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)from));
    const __m128i halves = _mm_and_si128(_mm_or_si128(bytes, _mm_slli_epi16(bytes, 4)), _mm_set1_epi8(15));
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)level_of), halves));
}

/* The sums of the lanes of up to 16 vectors, in their order. */
INLINE scores fold_avx2(const __m256 *vectors, int count)
{
    union {
        __m256 halves[2];
        scores sums;
    } folded;
    _Pragma("GCC unroll 2") for (int half = 0; half < 2; half++) {
        __m256 two[4];
        _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
            const int at = 8 * half + 2 * i;
            two[i] = _mm256_hadd_ps(at < count ? vectors[at] : ZERO, at + 1 < count ? vectors[at + 1] : ZERO);
        }
        const __m256 low = _mm256_hadd_ps(two[0], two[1]), high = _mm256_hadd_ps(two[2], two[3]);
        folded.halves[half]
            = _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
    }
    return folded.sums;
}
