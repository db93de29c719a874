/* Gradient and update of three scenarios, for REAL = float or double. Nothing is allocated in a loop. */
#include <stdlib.h>
#include "adam.h"

/* P = (a^3 - 3b)^2; p = (a, b). */
void root_finding(REAL *p, REAL *first, REAL *second, long count, long steps, double rate)
{
    Adam adam = {count, first, second};
    for (long n = 0; n < steps; n++) {
        REAL q = p[0] * p[0] * p[0] - 3 * p[1];
        REAL g[2] = {6 * q * p[0] * p[0], -6 * q};
        adam_step(&adam, p, g, 2, rate);
    }
}

/* Sum of (ax + bx^2 + cx^3 - y)^2; p = (a, b, c). */
void sine_polynomial(REAL *p, const REAL *restrict x, const REAL *restrict y, long points, long steps, double rate)
{
    REAL lr = (REAL)(2 * rate);
    for (long n = 0; n < steps; n++) {
        REAL a = p[0], b = p[1], c = p[2], ga = 0, gb = 0, gc = 0;
#pragma omp simd reduction(+ : ga, gb, gc)
        for (long i = 0; i < points; i++) {
            REAL xi = x[i], r = ((c * xi + b) * xi + a) * xi - y[i];
            REAL r1 = r * xi, r2 = r1 * xi;
            ga += r1;
            gb += r2;
            gc += r2 * xi;
        }
        p[0] -= lr * ga;
        p[1] -= lr * gb;
        p[2] -= lr * gc;
    }
}

/* A network 1-w-w-1 of rectified units, mean squared error over n points.
   p = input weight (w), input bias (w), hidden weight (w, w), hidden bias (w), output weight (w), output bias.
   Within, rows are padded to LANES, the hidden weight is transposed, and the innermost loops run over units:
   what is padded stays zero. */
#define LANES 16

typedef struct {
    REAL *w1, *b1, *w2, *b2, *w3, *b3; /* w2 is (w, pad), the others (pad) */
} Layers;

static Layers layers(REAL *flat, long w, long pad)
{
    Layers l = {flat, flat + pad, flat + 2 * pad, 0, 0, 0};
    l.b2 = l.w2 + w * pad;
    l.w3 = l.b2 + pad;
    l.b3 = l.w3 + pad;
    return l;
}

/* Between the order that the caller knows and the padded one, in either direction. */
static void repack(REAL *p, REAL *flat, long w, long pad, int out)
{
    Layers l = layers(flat, w, pad);
    REAL *parts[] = {l.w1, l.b1, 0, l.b2, l.w3};
    for (int part = 0; part < 5; part++)
        for (long k = 0; k < w; k++)
            for (long j = 0; j < (part == 2 ? w : 1); j++, p++) {
                REAL *there = part == 2 ? l.w2 + j * pad + k : parts[part] + k;
                if (out) *p = *there; else *there = *p;
            }
    if (out) *p = *l.b3; else *l.b3 = *p;
}

void sine_network(REAL *p, REAL *first, REAL *second, long count, const REAL *restrict x, const REAL *restrict y,
                  long points, long width, long steps, double rate)
{
#ifdef POINTS /* sizes that are known when it is compiled, as they are to XLA */
    enum { n = POINTS, w = WIDTH, pad = (WIDTH + LANES - 1) / LANES * LANES };
#else
    const long n = points, w = width, pad = (width + LANES - 1) / LANES * LANES;
#endif
    const long size = (w + 5) * pad, room = 4 * size + 2 * n * pad + w * pad;
    REAL *work = aligned_alloc(64, (size_t)room * sizeof(REAL));
    for (long i = 0; i < room; i++) work[i] = 0;
    REAL *flat = work, *g = flat + size, *first_ = g + size, *second_ = first_ + size;
    REAL *restrict a1 = second_ + size, *restrict d2 = a1 + n * pad, *restrict w2 = d2 + n * pad;
    Adam adam = {count, first_, second_};
    repack(p, flat, w, pad, 0);
    repack(first, first_, w, pad, 0);
    repack(second, second_, w, pad, 0);
    const Layers l = layers(flat, w, pad), s = layers(g, w, pad);
    for (long step = 0; step < steps; step++) {
        REAL slope3 = 0;
        for (long k = 0; k < w; k++)
            for (long j = 0; j < w; j++) w2[k * pad + j] = l.w2[j * pad + k]; /* as the way back wants it */
        REAL sw3[pad], sb2[pad], sw1[pad], sb1[pad];
        for (long k = 0; k < pad; k++) sw3[k] = sb2[k] = sw1[k] = sb1[k] = 0;
        for (long i = 0; i < n; i++) {
            REAL z1[pad], z2[pad], back[pad], out = 0;
#pragma omp simd
            for (long j = 0; j < pad; j++) {
                REAL z = x[i] * l.w1[j] + l.b1[j];
                z1[j] = a1[i * pad + j] = z > 0 ? z : 0;
                z2[j] = l.b2[j];
                back[j] = 0;
            }
            for (long j = 0; j < w; j++)
#pragma omp simd
                for (long k = 0; k < pad; k++) z2[k] += z1[j] * l.w2[j * pad + k];
#pragma omp simd reduction(+ : out)
            for (long k = 0; k < pad; k++) {
                z2[k] = z2[k] > 0 ? z2[k] : 0;
                out += z2[k] * l.w3[k];
            }
            const REAL d3 = (out + *l.b3 - y[i]) * ((REAL)2 / (REAL)n);
            slope3 += d3;
#pragma omp simd
            for (long k = 0; k < pad; k++) {
                REAL d = z2[k] > 0 ? d3 * l.w3[k] : 0;
                sw3[k] += d3 * z2[k];
                sb2[k] += d;
                z2[k] = d2[i * pad + k] = d;
            }
            for (long k = 0; k < w; k++)
#pragma omp simd
                for (long j = 0; j < pad; j++) back[j] += z2[k] * w2[k * pad + j];
#pragma omp simd
            for (long j = 0; j < pad; j++) {
                REAL d = z1[j] > 0 ? back[j] : 0;
                sw1[j] += d * x[i];
                sb1[j] += d;
            }
        }
        for (long j = 0; j < w; j++) {
            REAL row[pad];
            for (long k = 0; k < pad; k++) row[k] = 0;
            for (long i = 0; i < n; i++)
#pragma omp simd
                for (long k = 0; k < pad; k++) row[k] += a1[i * pad + j] * d2[i * pad + k];
            for (long k = 0; k < pad; k++) s.w2[j * pad + k] = row[k];
        }
        for (long k = 0; k < pad; k++) {
            s.w1[k] = sw1[k];
            s.b1[k] = sb1[k];
            s.b2[k] = sb2[k];
            s.w3[k] = sw3[k];
        }
        *s.b3 = slope3;
        adam_step(&adam, flat, g, size, rate);
    }
    repack(p, flat, w, pad, 1);
    free(work);
}
