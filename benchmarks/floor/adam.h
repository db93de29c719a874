/* Adam as PyTorch and optax have it by default: decays 0.9 and 0.999, epsilon 1e-8 outside the root. */
#include <math.h>

typedef struct {
    long count;          /* steps since the state was fresh */
    REAL *first, *second; /* moving averages of the gradient and of its square */
} Adam;

static inline void adam_step(Adam *adam, REAL *restrict p, const REAL *restrict g, long n, double rate)
{
#ifdef DESCENT /* for benchmarks/parts.py: what is left without Adam */
    for (long i = 0; i < n; i++) p[i] -= (REAL)1e-9 * g[i];
    return;
#endif
    double t = (double)++adam->count;
    REAL size = (REAL)(rate / (1 - pow(0.9, t)));
    REAL root = (REAL)(1 / sqrt(1 - pow(0.999, t)));
    REAL *restrict first = adam->first, *restrict second = adam->second;
#pragma omp simd
    for (long i = 0; i < n; i++) {
        first[i] = (REAL)0.9 * first[i] + (REAL)0.1 * g[i];
        second[i] = (REAL)0.999 * second[i] + (REAL)0.001 * g[i] * g[i];
        p[i] -= size * first[i] / (ROOT(second[i]) * root + (REAL)1e-8);
    }
}
