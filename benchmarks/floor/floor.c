/* Gradient and update of three scenarios, for REAL = float or double. Nothing is allocated in a loop. */
#include <stdlib.h>
#include "adam.h"

enum { LANES = 16, BLOCK = 5 }; /* numbers in a vector, and vectors that are summed beside each other */
typedef REAL Row __attribute__((vector_size(16 * sizeof(REAL)), may_alias));

/* The sum over a vector, in pairs: one after the other, each would wait for the one before. */
static inline REAL total(Row v)
{
    REAL part[LANES];
    for (long k = 0; k < LANES; k++) part[k] = v[k];
    for (long half = LANES / 2; half; half /= 2)
        for (long k = 0; k < half; k++) part[k] += part[k + half];
    return part[0];
}

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

/* Sum of (ax + bx^2 + cx^3 - y)^2; p = (a, b, c). What is padded is zero, and so is its share of every gradient. */
void sine_polynomial(REAL *p, const REAL *restrict x, const REAL *restrict y, long points, long steps, double rate)
{
#ifdef POINTS /* sizes that are known when it is compiled, as they are to XLA */
    enum { n = POINTS, rows = (POINTS + LANES - 1) / LANES };
#else
    const long n = points, rows = (points + LANES - 1) / LANES;
#endif
    REAL *work = aligned_alloc(sizeof(Row), 2 * (size_t)rows * sizeof(Row));
    for (long i = 0; i < rows * LANES; i++) {
        work[i] = i < n ? x[i] : 0;
        work[rows * LANES + i] = i < n ? y[i] : 0;
    }
    const Row *xs = (Row *)work, *ys = xs + rows;
    const REAL lr = (REAL)(2 * rate);
    for (long step = 0; step < steps; step++) {
        Row ga = {0}, gb = {0}, gc = {0};
        for (long r = 0; r < rows; r++) {
            Row rest = ((p[2] * xs[r] + p[1]) * xs[r] + p[0]) * xs[r] - ys[r];
            rest *= xs[r];
            ga += rest;
            rest *= xs[r];
            gb += rest;
            gc += rest * xs[r];
        }
        p[0] -= lr * total(ga);
        p[1] -= lr * total(gb);
        p[2] -= lr * total(gc);
    }
    free(work);
}

/* A network 1-w-w-1 of rectified units, mean squared error over n points.
   p = input weight (w), input bias (w), hidden weight (w, w), hidden bias (w), output weight (w), output bias.
   Within, rows are padded to LANES, the hidden weight is transposed, and vectors run over units: what is padded
   stays zero. */
typedef __typeof__((Row){0} > (Row){0}) Mask;
#define ROW(from, r) (((Row *)(from))[r])
#define WHERE_POSITIVE(z, v) ((Row)((Mask)((z) > zero) & (Mask)(v)))

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
    enum { n = POINTS, w = WIDTH, rows = (WIDTH + LANES - 1) / LANES };
#else
    const long n = points, w = width, rows = (width + LANES - 1) / LANES;
#endif
    const long pad = rows * LANES, size = (w + 5) * pad, room = 4 * size + 3 * n * pad + w * pad + n + LANES;
    REAL *work = aligned_alloc(sizeof(Row), ((size_t)room * sizeof(REAL) / sizeof(Row) + 1) * sizeof(Row));
    for (long i = 0; i < room; i++) work[i] = 0;
    REAL *flat = work, *g = flat + size, *m1 = g + size, *m2 = m1 + size, *a1 = m2 + size;
    REAL *a2 = a1 + n * pad, *d2 = a2 + n * pad, *back = d2 + n * pad, *d3 = back + w * pad;
    Adam adam = {count, m1, m2};
    repack(p, flat, w, pad, 0);
    repack(first, m1, w, pad, 0);
    repack(second, m2, w, pad, 0);
    const Layers l = layers(flat, w, pad), s = layers(g, w, pad);
    const Row zero = {0};
    for (long step = 0; step < steps; step++) {
        REAL sum = 0;
        for (long k = 0; k < w; k++)
            for (long j = 0; j < w; j++) back[k * pad + j] = l.w2[j * pad + k]; /* as the way back wants it */
        for (long i = 0; i < n; i += BLOCK) {
            REAL out[BLOCK] = {0};
            for (long r = 0; r < rows; r++)
                for (long b = 0; b < BLOCK && i + b < n; b++) {
                    Row z = x[i + b] * ROW(l.w1, r) + ROW(l.b1, r);
                    ROW(a1 + (i + b) * pad, r) = WHERE_POSITIVE(z, z);
                }
            for (long r = 0; r < rows; r++) {
                Row z[BLOCK];
                for (long b = 0; b < BLOCK; b++) z[b] = ROW(l.b2, r);
                for (long j = 0; j < w; j++)
                    for (long b = 0; b < BLOCK && i + b < n; b++)
                        z[b] += a1[(i + b) * pad + j] * ROW(l.w2 + j * pad, r);
                for (long b = 0; b < BLOCK && i + b < n; b++) {
                    z[b] = WHERE_POSITIVE(z[b], z[b]);
                    ROW(a2 + (i + b) * pad, r) = z[b];
                    Row part = z[b] * ROW(l.w3, r);
                    for (long k = 0; k < LANES; k++) out[b] += part[k];
                }
            }
            for (long b = 0; b < BLOCK && i + b < n; b++) {
                d3[i + b] = (out[b] + *l.b3 - y[i + b]) * ((REAL)2 / (REAL)n);
                sum += d3[i + b];
            }
        }
        for (long r = 0; r < rows; r++) {
            Row w3 = zero, b2 = zero;
            for (long i = 0; i < n; i++) {
                Row a = ROW(a2 + i * pad, r), d = WHERE_POSITIVE(a, d3[i] * ROW(l.w3, r));
                w3 += d3[i] * a;
                b2 += d;
                ROW(d2 + i * pad, r) = d;
            }
            ROW(s.w3, r) = w3;
            ROW(s.b2, r) = b2;
        }
        for (long r = 0; r < rows; r++) {
            Row w1 = zero, b1 = zero;
            for (long i = 0; i < n; i += BLOCK) {
                Row d[BLOCK];
                for (long b = 0; b < BLOCK; b++) d[b] = zero;
                for (long k = 0; k < w; k++)
                    for (long b = 0; b < BLOCK && i + b < n; b++)
                        d[b] += d2[(i + b) * pad + k] * ROW(back + k * pad, r);
                for (long b = 0; b < BLOCK && i + b < n; b++) {
                    d[b] = WHERE_POSITIVE(ROW(a1 + (i + b) * pad, r), d[b]);
                    w1 += d[b] * x[i + b];
                    b1 += d[b];
                }
            }
            ROW(s.w1, r) = w1;
            ROW(s.b1, r) = b1;
            for (long j = 0; j < w; j += BLOCK) {
                Row slope[BLOCK];
                for (long b = 0; b < BLOCK; b++) slope[b] = zero;
                for (long i = 0; i < n; i++)
                    for (long b = 0; b < BLOCK && j + b < w; b++)
                        slope[b] += a1[i * pad + j + b] * ROW(d2 + i * pad, r);
                for (long b = 0; b < BLOCK && j + b < w; b++) ROW(s.w2 + (j + b) * pad, r) = slope[b];
            }
        }
        *s.b3 = sum;
        adam_step(&adam, flat, g, size, rate);
    }
    repack(p, flat, w, pad, 1);
    free(work);
}
