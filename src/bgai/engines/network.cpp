// The network, for one picture: in bands of 16 rows the attentions, and all else row by row.
//
// Scores and attention maps of a window stay in the cache; only maps that the next group integrates are written.
// Dimensions as in `bgai.network.model`. An image is H, channels, step: a row holds one channel after another, so that
// vectors run along rows. H and W are multiples of 16. Between the rows of a channel there are zeros, 16 or 32 of them,
// so that a step is an odd number of cache lines: at even ones, the channels of a pixel would evict one another.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

namespace {

constexpr int GROUPS = 4, BLOCKS = 2, CHANNELS = 52, BROADCAST = 20, LOCAL = 10, JOINED = BROADCAST + 3 * LOCAL;
constexpr int SLICE = CHANNELS / 4;                  // of a mixing block
constexpr int WIDE = 2 * CHANNELS, PART = WIDE / 4;  // of the MLP
constexpr int BAND = 16;                             // rows; a multiple of the height of every window
constexpr int REACH = 2;                             // rows and columns that a block's filters see on either side
constexpr int FAR = 7;                               // and those of a mixing block
constexpr int MARGIN = 16;                           // zeros before the first row of an image
#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;            // of a vector, and how many there are
#elif defined(__AVX2__) && defined(__F16C__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
#error "expected the instructions of x86-64-v3, x86-64-v4 or aarch64"
#endif
constexpr int QUERIES = 2 * LANES;                   // of a window, that are computed together
constexpr float LOG2E = 1.4426950408889634f;
constexpr float ROUNDING = 12582912.0f;              // 1.5 * 2^23: added, the integer part ends up in the lowest bits

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef unsigned short Half;  // the bits of a float16
typedef int Integers __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// The weights, in the order in which Python packs them.
template <int OUT, int IN, int SIDE>
struct Convolution {
    float weight[OUT][IN][SIDE][SIDE], bias[OUT];
};

template <int OUT, int IN>
using Pointwise = Convolution<OUT, IN, 1>;

template <int CHANNELS, int HEIGHT, int WIDTH>
struct Depthwise {
    float weight[CHANNELS][HEIGHT][WIDTH], bias[CHANNELS];
};

// Up to its last convolution.
struct Mixing {
    Pointwise<SLICE, CHANNELS> same, vertical, horizontal, near;
    Depthwise<SLICE, 2 * FAR + 1, 1> tall;
    Depthwise<SLICE, 1, 2 * FAR + 1> wide;
    Depthwise<SLICE, 3, 3> twice[2];
};

template <int d>
struct Attention {
    Pointwise<d, d> query, value;
    Depthwise<d, 5, 5> position;
    float temperature;
};

struct Gate {
    Pointwise<BROADCAST + LOCAL, LOCAL + BROADCAST> reset_update;
    Pointwise<LOCAL, LOCAL + BROADCAST> candidate;
    Pointwise<LOCAL, BROADCAST> extract;
};

struct GatedAttention {
    Gate gate;
    Attention<LOCAL> attention;
};

struct Block {
    Pointwise<BROADCAST, CHANNELS> router;
    Pointwise<3 * LOCAL, CHANNELS> local;
    Attention<BROADCAST> broadcast;
    GatedAttention locals[3];
    Pointwise<CHANNELS, JOINED> project;
    Pointwise<WIDE, CHANNELS> widen;
    Depthwise<PART, 3, 3> square;
    Depthwise<PART, 5, 3> tall;
    Depthwise<PART, 3, 5> wide;
    Depthwise<PART, 3, 3> twice[2];
    Pointwise<CHANNELS, WIDE> narrow;
};

struct Group {
    Mixing enter;
    Pointwise<CHANNELS, CHANNELS> join;
    Block blocks[BLOCKS];
    Mixing leave;
    Pointwise<CHANNELS, 2 * CHANNELS> fuse;  // of what is mixed, and of the group's input with its residual
    Pointwise<CHANNELS, CHANNELS> collect;   // this group's part of the fusion of all
};

template <int SCALE>
struct Network {
    float mean[3];
    Convolution<CHANNELS, 3, 3> shallow;
    Group groups[GROUPS];
    Mixing refine;
    Pointwise<CHANNELS, CHANNELS> join;
    Convolution<3 * SCALE * SCALE, CHANNELS, 3> head;
};

// The threads that compute a picture: what each has left of a step of the network, and where they wait for one another,
// asleep: OpenMP's would keep their processors busy.
class Team {
    struct Range {
        int next, end;
        int size() const { return end - next; }
    };

    std::mutex mutex;
    std::condition_variable all_are_here;
    std::vector<Range> left;  // of the rows or bands of the step, for each thread
    int missing = 0;
    bool shared_out = false, phase = false;

  public:
    explicit Team(int most_threads) { left.reserve(most_threads); }
    void open(int threads) {
        left.resize(threads);
        missing = threads;
    }

    // One of `count` rows or bands for a thread, -1 if there is none: the next of its own. After them it takes over the
    // second half of what the slowest thread has left, if that is at least `least`: that thread's processor may be busy
    // with something else.
    int take(int thread, long count, int least) {
        const std::lock_guard<std::mutex> lock(mutex);
        const long threads = left.size();
        for (long i = 0; i < threads && !shared_out; i++)
            left[i] = {int(count * i / threads), int(count * (i + 1) / threads)};
        shared_out = true;
        Range &own = left[thread];
        if (own.size() == 0) {
            const auto is_faster = [](const Range &a, const Range &b) { return a.size() < b.size(); };
            Range &slowest = *std::max_element(left.begin(), left.end(), is_faster);
            const int half = slowest.size() / 2;
            if (half < least) return -1;
            own = {slowest.end - half, slowest.end};
            slowest.end -= half;
        }
        return own.next++;
    }

    // Ends the step.
    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        if (--missing == 0) {
            missing = left.size();
            phase = !phase;
            shared_out = false;
            all_are_here.notify_all();
        } else {
            all_are_here.wait(lock, [this, before = phase] { return phase != before; });
        }
    }
};

// The images that the network works in.
enum Image { LR, FUSED, FIRST, SECOND, THIRD, GATED, ATTENDED, IMAGES };
constexpr int CHANNELS_OF[IMAGES] = {3, CHANNELS, CHANNELS, CHANNELS, CHANNELS, 3 * LOCAL, JOINED};

// How many numbers a pixel takes in the map of each of a block's attentions.
constexpr int MAPS[4] = {16 * 16, 16 * 4, 4 * 16, 8 * 8};

// What one thread knows of the picture.
struct Picture {
    int height, width;  // before padding
    int H, W, step;
    int thread;
    Team *team;
    float *images[IMAGES];
    bool half;                      // whether the maps hold float16
    char *maps[BLOCKS][4];
    float *memory;                  // of this thread
    bool shifted, integrate, keep;  // in the block that is computed

    Picture(int height, int width, bool half)
        : height(height), width(width), H((height + BAND - 1) / BAND * BAND), W((width + 15) / 16 * 16),
          step(16 * ((W / 16 + 1) | 1)), half(half) {}
    long size(int image) const { return long(H + 2) * CHANNELS_OF[image] * step + 2 * MARGIN; }
    // Rows -1 and `height` are zero, as are those up to H.
    float *at(int image, int row, int channel = 0) const {
        return images[image] + MARGIN + (long(row + 1) * CHANNELS_OF[image] + channel) * step;
    }
    long bytes(long numbers) const { return numbers * (half ? sizeof(Half) : sizeof(float)); }  // of a map
    bool has(int row) const { return row >= 0 && row < height; }
};

inline Vector load(const float *from) { return *reinterpret_cast<const Unaligned *>(from); }
inline void store(float *to, Vector x) { *reinterpret_cast<Unaligned *>(to) = x; }
// Products and sums are joined here alone, not where the compiler likes: so all processors give the same bits.
#if defined(__AVX512F__)
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector load(const Half *from) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
inline void store(Half *to, Vector x) { _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph(x, 0)); }
#elif defined(__x86_64__)
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector load(const Half *from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)); }
inline void store(Half *to, Vector x) { _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(x, 0)); }
#else
inline Vector multiply_add(Vector a, Vector b, Vector c) { return vfmaq_f32(c, a, b); }
inline Vector load(const Half *from) { return vcvt_f32_f16(vld1_f16((const __fp16 *)from)); }
inline void store(Half *to, Vector x) { vst1_f16((__fp16 *)to, vcvt_f16_f32(x)); }
#endif
inline Vector all(float x) { return x - Vector{}; }
inline Vector multiply_add(Vector a, float b, Vector c) { return multiply_add(a, all(b), c); }
inline Vector multiply_add(Vector a, Vector b, float c) { return multiply_add(a, b, all(c)); }
inline Vector multiply_add(Vector a, float b, float c) { return multiply_add(a, all(b), all(c)); }
inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }
inline Vector smaller(Vector a, Vector b) { return a < b ? a : b; }

// To 1e-7 of the result; x up to 127, and -126 for all that is less.
inline Vector power_of_two(Vector x) {
    x = larger(x, all(-126));
    const Vector rounded = x + ROUNDING;
    const Vector f = x - (rounded - ROUNDING);
    Vector y = multiply_add(f, 0.001327645150013268f, 0.009675540961325169f);
    y = multiply_add(y, f, 0.05550713464617729f);
    y = multiply_add(y, f, 0.24022120237350464f);
    y = multiply_add(y, f, 0.6931469440460205f);
    y = multiply_add(y, f, 1.0000001192092896f);
    return reinterpret_cast<Vector>(reinterpret_cast<Integers>(y) + (reinterpret_cast<Integers>(rounded) << 23));
}

inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + power_of_two(smaller(x * -LOG2E, all(126)))); }
inline Vector tanh(Vector x) { return multiply_add(sigmoid(2.0f * x), 2.0f, -1.0f); }

// With the error function of Abramowitz and Stegun, 7.1.26, to 2e-7.
inline Vector gelu(Vector x) {
    const Vector size = larger(x, -x) * 0.70710678f, t = 1.0f / multiply_add(size, 0.3275911f, 1.0f);
    Vector y = multiply_add(t, 1.061405429f, -1.453152027f);
    y = multiply_add(y, t, 1.421413741f);
    y = multiply_add(y, t, -0.284496736f);
    y = multiply_add(y, t, 0.254829592f);
    const Vector tail = 0.5f * y * t * power_of_two(size * size * -LOG2E);
    return x * (x > 0 ? 1.0f - tail : tail);
}

// `ROWS` outputs of a convolution, for `VECTORS` vectors of pixels; `in` is where the first filter's corner lies.
template <int ROWS, int VECTORS, int IN, int SIDE>
void convolve_part(const float (*weight)[IN][SIDE][SIDE], const float *bias, const float *in, float *out, long step) {
    Vector sum[ROWS][VECTORS];
#pragma GCC unroll 13
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) sum[row][v] = all(bias[row]);
    for (int k = 0; k < IN; k++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
#pragma GCC unroll 13
                for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
                    for (int v = 0; v < VECTORS; v++) {
                        const Vector pixels = load(in + (y * IN + k) * step + x + v * LANES);
                        sum[row][v] = multiply_add(pixels, weight[row][k][y][x], sum[row][v]);
                    }
#pragma GCC unroll 13
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) store(out + row * step + v * LANES, sum[row][v]);
}

// How many outputs are computed together: a part of all of them that leaves registers for the inputs.
constexpr int rows_of(int outputs) {
    int rows = REGISTERS < 32 ? 6 : 13;
    while (outputs % rows) rows--;
    return rows;
}

// A convolution of a row of pixels; the rows above and below lie before and behind it.
template <int OUT, int IN, int SIDE>
void convolve(const Convolution<OUT, IN, SIDE> &weights, const float *in, float *out, const Picture &picture) {
    constexpr int ROWS = rows_of(OUT) > 1 ? rows_of(OUT) : OUT, VECTORS = rows_of(OUT) > 1 ? 2 : 1;
    const long step = picture.step;
    in -= SIDE / 2 * (IN * step + 1);
    for (int column = 0; column < picture.W; column += VECTORS * LANES) {
        const bool last = picture.W - column < VECTORS * LANES;
        const auto part = last ? convolve_part<ROWS, 1, IN, SIDE> : convolve_part<ROWS, VECTORS, IN, SIDE>;
        for (int row = 0; row < OUT; row += ROWS)
            part(weights.weight + row, weights.bias + row, in + column, out + row * step + column, step);
    }
}

// Sets to zero what lies beyond the picture in a row of channels.
void crop(float *row, int channels, const Picture &picture) {
    for (int c = 0; c < channels; c++, row += picture.step) std::fill(row + picture.width, row + picture.W, 0.0f);
}

// Adds to a row of features; what lies beyond the picture stays zero.
void add(const float *row, float *features, const Picture &picture) {
    for (int c = 0; c < CHANNELS; c++, row += picture.step, features += picture.step)
        for (int i = 0; i < picture.width; i++) features[i] += row[i];
}

// One channel of a depthwise convolution, at a column of the `h` rows that it sees.
template <int h, int w>
inline Vector convolve(const float (&weight)[h][w], float bias, const float *const (&rows)[h], int column) {
    Vector sum = all(bias);
#pragma GCC unroll 15
    for (int y = 0; y < h; y++)
#pragma GCC unroll 15
        for (int x = 0; x < w; x++) sum = multiply_add(load(rows[y] + column + x - w / 2), weight[y][x], sum);
    return sum;
}

// Layer normalisation over the channels, for `VECTORS` vectors of pixels.
template <int VECTORS>
void normalise_part(const float *in, float *out, long step) {
    Vector mean[VECTORS] = {}, inverse[VECTORS] = {};
    for (int c = 0; c < CHANNELS; c++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) mean[v] += load(in + c * step + v * LANES);
    for (int v = 0; v < VECTORS; v++) mean[v] *= 1.0f / CHANNELS;
    for (int c = 0; c < CHANNELS; c++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            const Vector centred = load(in + c * step + v * LANES) - mean[v];
            inverse[v] = multiply_add(centred, centred, inverse[v]);
        }
    for (Vector &each : inverse) {
        each = multiply_add(each, 1.0f / CHANNELS, 1e-5f);
        for (int i = 0; i < LANES; i++) each[i] = 1.0f / __builtin_sqrtf(each[i]);
    }
    for (int c = 0; c < CHANNELS; c++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            const long place = c * step + v * LANES;
            store(out + place, (load(in + place) - mean[v]) * inverse[v]);
        }
}

// Layer normalisation over the channels, without its scale and bias, which are part of the next convolution.
void normalise(const float *in, float *out, const Picture &picture) {
    for (int column = 0; column < picture.W;) {
        const bool many = picture.W - column >= 4 * LANES;
        (many ? normalise_part<4> : normalise_part<1>)(in + column, out + column, picture.step);
        column += many ? 4 * LANES : LANES;
    }
}

// A row of a local attention's input; `both` and `gates` are LOCAL + BROADCAST rows.
void apply(const Gate &weights, float *both, float *gates, float *out, const Picture &picture) {
    const int step = picture.step;
    float *broadcast = both + LOCAL * step, *update = gates + BROADCAST * step;
    convolve(weights.reset_update, both, gates, picture);
    convolve(weights.extract, broadcast, out, picture);
    for (int i = 0; i < BROADCAST * step; i += LANES)
        store(broadcast + i, load(broadcast + i) * sigmoid(load(gates + i)));
    convolve(weights.candidate, both, gates, picture);
    for (int i = 0; i < LOCAL * step; i += LANES) {
        const Vector extract = load(out + i);
        store(out + i, multiply_add(sigmoid(load(update + i)), tanh(load(gates + i)) - extract, extract));
    }
}

// Scores of QUERIES queries and all keys, as N, QUERIES, and the largest of each query. Meanwhile the processor fetches
// the map, which is too large to be in a cache.
template <int d, int N, class Number>
void score(const float *query, const float *key, const Number *map, float *scores, Vector (&largest)[2]) {
    constexpr int KEYS = REGISTERS / 4;
    largest[0] = largest[1] = all(-1e30f);
    for (int j = 0; j < N; j += KEYS) {
        Vector sum[KEYS][2] = {};
#pragma GCC unroll 20
        for (int c = 0; c < d; c++)
#pragma GCC unroll 8
            for (int i = 0; i < KEYS; i++)
#pragma GCC unroll 2
                for (int v = 0; v < 2; v++)
                    sum[i][v] = multiply_add(load(query + c * N + v * LANES), key[c * N + j + i], sum[i][v]);
#pragma GCC unroll 8
        for (int i = 0; i < KEYS; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                const int place = (j + i) * QUERIES + v * LANES;
                store(scores + place, sum[i][v]);
                __builtin_prefetch(map + place, 1, 2);
                largest[v] = larger(largest[v], sum[i][v]);
            }
    }
}

// The values of `PART` channels, weighted by the map.
template <int PART, int N>
void weigh(const float *map, const float *value, float *out) {
    Vector sum[PART][2] = {};
    for (int j = 0; j < N; j++)
#pragma GCC unroll 10
        for (int c = 0; c < PART; c++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++)
                sum[c][v] = multiply_add(load(map + j * QUERIES + v * LANES), value[c * N + j], sum[c][v]);
#pragma GCC unroll 10
    for (int c = 0; c < PART; c++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) store(out + c * N + v * LANES, sum[c][v]);
}

// A window of the picture: d, N.
template <int d, int N>
struct Window {
    alignas(64) float query[d * N], key[d * N], value[d * N], out[d * N];
};

// `map` holds the map of the group before, if it is integrated, and takes this one, if it is kept. Not inlined, because
// the caller leaves too few registers.
template <int d, int N, class Number>
__attribute__((noinline)) void attend(Window<d, N> &window, Number *map, float temperature, const Picture &picture) {
    alignas(64) float scores[N * QUERIES];
    for (int first = 0; first < N; first += QUERIES, map += N * QUERIES) {
        Vector largest[2], sum[2] = {};
        score<d, N>(window.query + first, window.key, map, scores, largest);
        for (int i = 0; i < N * QUERIES; i += QUERIES)
            for (int v = 0; v < 2; v++) {
                const Vector power = power_of_two(load(scores + i + v * LANES) - largest[v]);
                store(scores + i + v * LANES, power);
                sum[v] += power;
            }
        const Vector inverse[2] = {1.0f / sum[0], 1.0f / sum[1]};
        for (int i = 0; i < N * QUERIES; i += QUERIES)
            for (int v = 0; v < 2; v++) {
                Vector weight = load(scores + i + v * LANES) * inverse[v];
                if (picture.integrate) weight = multiply_add(load(map + i + v * LANES), temperature, weight);
                store(scores + i + v * LANES, weight);
                if (picture.keep) store(map + i + v * LANES, weight);
            }
        constexpr int PART = REGISTERS < 32 ? 5 : 10;
        for (int c = 0; c < d; c += PART) weigh<PART, N>(scores, window.value + c * N, window.out + c * N + first);
    }
}

// The rows of a band in its buffers, with those that it reaches: those of two pieces, where the band wraps around the
// picture's edge.
struct Rows {
    int first, split, H;

    Rows(int band, int shift, int H) : first(band * BAND + shift), split(std::min(BAND, H - first)), H(H) {}
    int count() const { return BAND + 2 * REACH + (split < BAND ? 2 * REACH : 0); }
    int buffer(int row) const { return row + REACH + (row < split ? 0 : 2 * REACH); }  // of a row of the band
    int image(int buffer) const {
        return buffer < split + 2 * REACH ? first + buffer - REACH : buffer - split - 3 * REACH;
    }
};

// This thread's memory, handed out piece by piece, as zeros.
struct Memory {
    float *next;

    explicit Memory(const Picture &picture);
    float *take(long count) {
        float *taken = next;
        next += count;
        std::memset(taken, 0, count * sizeof(float));
        return taken;
    }
};

// What a band holds: rows, d, step. `key` is the attention's input until the position is added.
template <int d>
struct Buffers {
    static constexpr long size(long step) { return (BAND + 4 * REACH) * d * step + 2 * LANES; }

    int step;
    float *query, *key, *value;

    Buffers(int step, Memory &memory)
        : step(step), query(memory.take(size(step))), key(memory.take(size(step))), value(memory.take(size(step))) {}
    long place(int row, int channel = 0) const { return (long(row) * d + channel) * step + LANES; }

    // The last rows are the first ones of the next band.
    void advance() {
        for (float *each : {key, value}) std::copy_n(each + place(BAND), 2 * REACH * d * step, each + place(0));
    }
};

// Adds the position to a row of queries and keys, and writes it to `out`.
template <int d>
void add_position(const Attention<d> &weights, int row, Buffers<d> &band, float *out, const Picture &picture) {
    const float scale = LOG2E / __builtin_sqrtf(d);
    for (int c = 0; c < d; c++) {
        const float *rows[5];
        for (int y = 0; y < 5; y++) rows[y] = &band.value[band.place(row + y - 2, c)];
        float *query = &band.query[band.place(row, c)], *key = &band.key[band.place(row, c)];
        for (int i = 0; i < picture.W; i += LANES) {
            const Vector position = convolve(weights.position.weight[c], weights.position.bias[c], rows, i);
            store(query + i, load(query + i) + position);
            store(key + i, (load(key + i) + position) * scale);
            store(out + c * band.step + i, position);
        }
    }
}

// Calls `move` for each run of adjacent pixels of a window: channel, row, column, place in the window, length.
template <int d, int h, int w, class Move>
inline void each_run(int left, int W, Move move) {
    for (int c = 0; c < d; c++)
        for (int y = 0; y < h; y++) {
            const int place = (c * h + y) * w;
            if (left + w <= W) {
                move(c, y, left, place, std::integral_constant<int, w>());
            } else {
                move(c, y, left, place, std::integral_constant<int, w / 2>());
                move(c, y, 0, place + w / 2, std::integral_constant<int, w / 2>());
            }
        }
}

// Adds the attended values of a band to its rows of the four attentions' outputs, from a channel on.
template <int d, int h, int w>
void attend_windows(const Attention<d> &weights, const Rows &rows, const Buffers<d> &band, char *maps, int channel,
                    const Picture &picture) {
    constexpr int N = h * w;
    Window<d, N> window;
    for (int top = 0; top < BAND; top += h)
        for (int column = 0; column < picture.W; column += w, maps += picture.bytes(N * N)) {
            const int left = column + (picture.shifted ? w / 2 : 0);
            each_run<d, h, w>(left, picture.W, [&](int c, int y, int x, int to, auto length) {
                const long from = band.place(rows.buffer(top + y), c) + x;
                std::memcpy(window.query + to, &band.query[from], sizeof(float) * length);
                std::memcpy(window.key + to, &band.key[from], sizeof(float) * length);
                std::memcpy(window.value + to, &band.value[from], sizeof(float) * length);
            });
            if (picture.half) {
                attend(window, reinterpret_cast<Half *>(maps), weights.temperature, picture);
            } else {
                attend(window, reinterpret_cast<float *>(maps), weights.temperature, picture);
            }
            each_run<d, h, w>(left, picture.W, [&](int c, int y, int x, int from, auto length) {
                float *to = picture.at(ATTENDED, rows.image(rows.buffer(top + y)), channel + c) + x;
                for (int i = 0; i < length; i++) to[i] += window.out[from + i];
            });
        }
}

// The rows or bands of a step that this thread computes, one after another.
struct Turn {
    const Picture &picture;
    int count, least;      // how many there are; how many at least are taken over from another thread
    int index = -1;
    bool follows = false;  // whether this thread has just computed the one before

    bool next() {
        const int before = index;
        index = picture.team->take(picture.thread, count, least);
        follows = before >= 0 && index == before + 1;
        return index >= 0;
    }
};

Turn bands(const Picture &picture) { return {picture, picture.H / BAND, 1}; }
Turn rows(const Picture &picture) { return {picture, picture.height, BAND / 2}; }

// One attention, whose outputs begin at a channel. `source` writes a row of its inputs.
template <int h, int w, int d, class Source>
void attention(const Attention<d> &weights, int channel, char *maps, const Picture &picture, Source source) {
    const int step = picture.step;
    Memory memory(picture);
    Buffers<d> band(step, memory);
    float *const scratch = memory.take(2 * CHANNELS * step);
    for (Turn turn = bands(picture); turn.next();) {
        const Rows rows(turn.index, picture.shifted ? h / 2 : 0, picture.H);
        if (turn.follows) band.advance();
        for (int row = turn.follows ? 2 * REACH : 0; row < rows.count(); row++) {
            float *input = &band.key[band.place(row)], *value = &band.value[band.place(row)];
            const int of_image = rows.image(row);
            if (of_image < 0 || of_image >= picture.H) {
                std::memset(value, 0, d * step * sizeof(float));
            } else {
                source(of_image, input, scratch);
                convolve(weights.value, input, value, picture);
            }
        }
        for (int row = 0; row < BAND; row++) {
            const int buffer = rows.buffer(row);
            convolve(weights.query, &band.key[band.place(buffer)], &band.query[band.place(buffer)], picture);
            add_position(weights, buffer, band, picture.at(ATTENDED, rows.image(buffer), channel), picture);
        }
        char *const own_maps = maps + picture.bytes(long(turn.index) * BAND * picture.W * h * w);
        attend_windows<d, h, w>(weights, rows, band, own_maps, channel, picture);
    }
    picture.team->wait();
}

// Where one thread's bands end, a row of GATED is written by two threads, with the same numbers: nothing reads it
// before the step ends.
void broadcast_attention(const Block &weights, int features, const Picture &picture, char *maps) {
    attention<16, 16>(weights.broadcast, 0, maps, picture, [&](int row, float *out, float *normed) {
        normalise(picture.at(features, row), normed, picture);
        convolve(weights.router, normed, out, picture);
        convolve(weights.local, normed, picture.at(GATED, row), picture);
    });
}

template <int h, int w>
void local_attention(const Block &weights, int index, const Picture &picture, char *maps) {
    const int step = picture.step, channel = BROADCAST + index * LOCAL;
    const auto &[gate, own] = weights.locals[index];
    attention<h, w>(own, channel, maps, picture, [&, &gate = gate](int row, float *out, float *both) {
        const float *local = picture.at(GATED, row, index * LOCAL);
        const float *broadcast = picture.at(ATTENDED, row), *carried = picture.at(ATTENDED, row, channel - LOCAL);
        for (int i = 0; i < LOCAL * step; i++) both[i] = index ? local[i] + carried[i] : local[i];
        std::copy_n(broadcast, BROADCAST * step, both + LOCAL * step);
        apply(gate, both, both + CHANNELS * step, out, picture);
    });
}

void add_projection(const Block &weights, int features, const Picture &picture) {
    float *const projected = Memory(picture).take(CHANNELS * picture.step);
    for (Turn turn = rows(picture); turn.next();) {
        convolve(weights.project, picture.at(ATTENDED, turn.index), projected, picture);
        add(projected, picture.at(features, turn.index), picture);
    }
    picture.team->wait();
}

// The latest rows of an image that is computed row by row; a row takes the place of one that no filter sees any more.
struct Ring {
    static constexpr long size(int channels, long step, int count) { return count * channels * step + 2 * MARGIN; }

    int channels, step, count;
    float *rows;

    Ring(int channels, int step, int count, Memory &memory)
        : channels(channels), step(step), count(count), rows(memory.take(size(channels, step, count))) {}
    float *at(int row, int channel = 0) {
        return rows + (long((row + count) % count) * channels + channel) * step + MARGIN;
    }
    void clear(int row) { std::memset(at(row), 0, channels * step * sizeof(float)); }
};

// A row of a depthwise convolution of some channels of a ring.
template <int n, int h, int w>
void convolve(const Depthwise<n, h, w> &weights, Ring &from, int channel, int row, float *out, const Picture &picture) {
    for (int c = 0; c < n; c++, out += picture.step) {
        const float *rows[h];
        for (int y = 0; y < h; y++) rows[y] = from.at(row + y - h / 2, channel + c);
        for (int i = 0; i < picture.width; i += LANES)
            store(out + i, convolve(weights.weight[c], weights.bias[c], rows, i));
        std::fill(out + picture.width, out + picture.W, 0.0f);
    }
}

// A row of a 1 x 1 convolution for filters that see other rows too: zeros beyond the picture.
template <int OUT>
void spread(const Pointwise<OUT, CHANNELS> &weights, const float *in, int row, Ring &ring, const Picture &picture) {
    if (!picture.has(row)) return ring.clear(row);
    convolve(weights, in, ring.at(row), picture);
    crop(ring.at(row), OUT, picture);
}

// The MLP with its residual, and the group's input added after the last block.
void mlp(const Block &weights, int features, int out, int residual, const Picture &picture) {
    const int step = picture.step;
    Memory memory(picture);
    Ring wide(WIDE, step, 2 * REACH + 1, memory), once(PART, step, 3, memory);
    float *const normed = memory.take(CHANNELS * step), *const mixed = memory.take(WIDE * step);
    for (Turn turn = rows(picture); turn.next();) {
        const int warm_up = turn.follows ? 0 : 2 * REACH;
        for (int row = turn.index - warm_up; row <= turn.index; row++) {
            const int middle = row + 1, ahead = row + REACH;
            if (picture.has(ahead)) normalise(picture.at(features, ahead), normed, picture);
            spread(weights.widen, normed, ahead, wide, picture);
            if (picture.has(middle)) {
                convolve(weights.twice[0], wide, 3 * PART, middle, once.at(middle), picture);
            } else {
                once.clear(middle);
            }
            if (row < turn.index) continue;
            convolve(weights.square, wide, 0, row, &mixed[0], picture);
            convolve(weights.tall, wide, PART, row, &mixed[PART * step], picture);
            convolve(weights.wide, wide, 2 * PART, row, &mixed[2 * PART * step], picture);
            convolve(weights.twice[1], once, 0, row, &mixed[3 * PART * step], picture);
            for (int i = 0; i < WIDE * step; i += LANES) store(&mixed[i], gelu(load(&mixed[i])));
            convolve(weights.narrow, mixed, picture.at(out, row), picture);
            add(picture.at(features, row), picture.at(out, row), picture);
            if (residual != features) add(picture.at(residual, row), picture.at(out, row), picture);
            crop(picture.at(out, row), CHANNELS, picture);
        }
    }
    picture.team->wait();
}

// A mixing block up to its last convolution; `finish` takes a row of its results, with room for another row behind it.
template <class Finish>
void mix(const Mixing &weights, int image, const Picture &picture, Finish finish) {
    const int step = picture.step;
    Memory memory(picture);
    Ring tall(SLICE, step, 2 * FAR + 1, memory), wide(SLICE, step, 1, memory);
    Ring near(SLICE, step, 3, memory), once(SLICE, step, 3, memory);
    float *const mixed = memory.take(2 * CHANNELS * step);
    for (Turn turn = rows(picture); turn.next();) {
        const int warm_up = turn.follows ? 0 : 2 * FAR;
        for (int row = turn.index - warm_up; row <= turn.index; row++) {
            const int middle = row + 1, ahead = row + 2;
            spread(weights.vertical, picture.at(image, row + FAR), row + FAR, tall, picture);
            if (ahead >= turn.index - 2) spread(weights.near, picture.at(image, ahead), ahead, near, picture);
            if (middle >= turn.index - 1) {
                if (picture.has(middle)) {
                    convolve(weights.twice[0], near, 0, middle, once.at(middle), picture);
                } else {
                    once.clear(middle);
                }
            }
            if (row < turn.index) continue;
            const float *in = picture.at(image, row);
            convolve(weights.same, in, &mixed[0], picture);
            convolve(weights.tall, tall, 0, row, &mixed[SLICE * step], picture);
            spread(weights.horizontal, in, row, wide, picture);
            convolve(weights.wide, wide, 0, row, &mixed[2 * SLICE * step], picture);
            convolve(weights.twice[1], once, 0, row, &mixed[3 * SLICE * step], picture);
            for (int i = 0; i < CHANNELS * step; i += LANES) store(&mixed[i], gelu(load(&mixed[i]) + load(in + i)));
            finish(row, mixed);
        }
    }
    picture.team->wait();
}

// From the group's input to its output; `other` is used between.
void group(const Group &weights, int input, int other, int output, bool first, Picture &picture) {
    mix(weights.enter, input, picture, [&](int row, const float *mixed) {
        float *out = picture.at(other, row);
        convolve(weights.join, mixed, out, picture);
        add(picture.at(input, row), out, picture);
        crop(out, CHANNELS, picture);
    });
    for (int index = 0; index < BLOCKS; index++) {
        const Block &block = weights.blocks[index];
        char *const *maps = picture.maps[index];
        picture.shifted = index % 2;
        broadcast_attention(block, other, picture, maps[0]);
        local_attention<16, 4>(block, 0, picture, maps[1]);
        local_attention<4, 16>(block, 1, picture, maps[2]);
        local_attention<8, 8>(block, 2, picture, maps[3]);
        add_projection(block, other, picture);
        mlp(block, other, output, index == BLOCKS - 1 ? input : other, picture);
        std::swap(other, output);
    }
    static_assert(BLOCKS % 2 == 0, "the images have changed places an even number of times");
    mix(weights.leave, other, picture, [&](int row, float *mixed) {
        const int step = picture.step;
        std::copy_n(picture.at(input, row), CHANNELS * step, mixed + CHANNELS * step);
        convolve(weights.fuse, mixed, picture.at(output, row), picture);
        crop(picture.at(output, row), CHANNELS, picture);
        convolve(weights.collect, picture.at(output, row), mixed, picture);
        if (first) std::fill_n(picture.at(FUSED, row), CHANNELS * step, 0.0f);
        add(mixed, picture.at(FUSED, row), picture);
    });
}

// Numbers that a thread needs at most: those of the broadcast attention, of the MLP, or of a mixing block. The head and
// what follows it need fewer.
constexpr long thread_size(long step) {
    const long attention = 3 * Buffers<BROADCAST>::size(step) + 2 * CHANNELS * step;
    const long mlp = Ring::size(WIDE, step, 2 * REACH + 1) + Ring::size(PART, step, 3) + (CHANNELS + WIDE) * step;
    const long mixing = Ring::size(SLICE, step, 2 * FAR + 8) + 8 * MARGIN + 2 * CHANNELS * step;
    return std::max({attention, mlp, mixing});
}

Memory::Memory(const Picture &picture) : next(picture.memory) {}

// Zeros around the picture, in a row of all images, of which -1 is the first.
void clear(int row, const Picture &picture) {
    for (int image = 0; image < IMAGES; image++) {
        if (row < 0) std::fill_n(picture.images[image], MARGIN, 0.0f);
        for (int c = 0; c < CHANNELS_OF[image]; c++) {
            float *channel = picture.at(image, row, c);
            std::fill(channel + (picture.has(row) ? picture.width : 0), channel + picture.step, 0.0f);
        }
    }
}

// A row of pixels of the enlarged picture, whose colours are scale x scale channels each.
template <class Sample>
void shuffle(int scale, const float *row, Sample *out, const Picture &picture) {
    for (int y = 0; y < scale; y++) {
        const float *samples[3 * 4];
        for (int k = 0; k < 3 * scale; k++) samples[k] = row + ((k % 3 * scale + y) * scale + k / 3) * long(picture.step);
        for (int i = 0; i < picture.width; i++)
            for (int k = 0; k < 3 * scale; k++) *out++ = static_cast<Sample>(samples[k][i]);
    }
}

// What a picture and its enlargement are made of.
struct Format {
    static constexpr int SCRATCH = 9;  // rows of numbers that a thread lends to `write`

    virtual void read(int row, int c, float mean, float *out, const Picture &picture) const = 0;
    // `colours` are 3 * scale * scale channels, and may be changed.
    virtual void write(int scale, int row, float *colours, float *scratch, const Picture &picture) const = 0;
};

// Numbers in [0, 1], 3, height, width; and scale * height, scale * width, 3, not clamped.
struct Planes : Format {
    const float *lr;
    float *sr;

    Planes(const float *lr, float *sr) : lr(lr), sr(sr) {}
    void read(int row, int c, float mean, float *out, const Picture &picture) const override {
        const float *from = lr + (long(c) * picture.height + row) * picture.width;
        for (int i = 0; i < picture.width; i++) out[i] = from[i] - mean;
    }
    void write(int scale, int row, float *colours, float *, const Picture &picture) const override {
        shuffle(scale, colours, sr + long(row) * picture.width * (3 * scale * scale), picture);
    }
};

// 8 bits, height, width, 3; and scale * height, scale * width, 3, bounded as in `bgai.upscaling.bounds` and rounded: to
// the same bits as if Python did it, which would take a twentieth of the network's time.
struct Pixels : Format {
    const unsigned char *lr;
    unsigned char *sr;
    std::atomic<bool> *overflows;  // set if a number exceeds 2^64, so that a sum could overflow

    static constexpr float OVERSHOOT = 2, LUMA[3] = {0.299f, 0.587f, 0.114f};
    static constexpr int LARGE = 0x5f800000;  // the bits of 2^64

    Pixels(const unsigned char *lr, unsigned char *sr, std::atomic<bool> *overflows)
        : lr(lr), sr(sr), overflows(overflows) {}
    static float level(int sample) { return float(sample) / 255.0f; }
    // A row of the picture; those beyond it are the outermost ones.
    const unsigned char *at(int row, const Picture &picture) const {
        return lr + long(std::clamp(row, 0, picture.height - 1)) * picture.width * 3;
    }

    // For each pixel of a row, the range of its colours, 3 and 3 numbers, and whether the source is grey around it.
    // `bytes` are 7 for each pixel.
    void find_bounds(int row, float *bounds, int *is_grey, unsigned char *bytes, const Picture &picture) const {
        const int width = picture.width;
        const unsigned char *above = at(row - 1, picture), *here = at(row, picture), *below = at(row + 1, picture);
        unsigned char *const lowest = bytes, *const highest = lowest + 3 * width, *const coloured = highest + 3 * width;
        for (int k = 0; k < 3 * width; k++) {
            lowest[k] = std::min({above[k], here[k], below[k]});
            highest[k] = std::max({above[k], here[k], below[k]});
        }
        for (int i = 0; i < width; i++) {
            coloured[i] = 0;
            for (const unsigned char *each : {above + 3 * i, here + 3 * i, below + 3 * i})
                coloured[i] |= each[0] != each[1] || each[1] != each[2];
        }
        for (int i = 0; i < width; i++) {
            const int left = std::max(i - 1, 0), right = std::min(i + 1, width - 1);
            is_grey[i] = coloured[left] || coloured[i] || coloured[right] ? 0 : -1;
            for (int c = 0; c < 3; c++) {
                const auto of = [c](const unsigned char *samples, int column) { return samples[3 * column + c]; };
                const float low = level(std::min({of(lowest, left), of(lowest, i), of(lowest, right)}));
                const float high = level(std::max({of(highest, left), of(highest, i), of(highest, right)}));
                const float margin = OVERSHOOT * (high - low);
                bounds[c * picture.step + i] = low - margin;
                bounds[(c + 3) * picture.step + i] = high + margin;
            }
        }
    }

    void read(int row, int c, float mean, float *out, const Picture &picture) const override {
        const unsigned char *from = at(row, picture) + c;
        for (int i = 0; i < picture.width; i++) out[i] = level(from[3 * i]) - mean;
    }

    void write(int scale, int row, float *colours, float *scratch, const Picture &picture) const override {
        const long step = picture.step, phases = scale * scale;
        int *const is_grey = reinterpret_cast<int *>(scratch + 6 * step);
        find_bounds(row, scratch, is_grey, reinterpret_cast<unsigned char *>(is_grey + step), picture);
        Integers large = {};
        for (long phase = 0; phase < phases; phase++)
            for (int i = 0; i < picture.width; i += LANES) {
                Vector colour[3];
                for (int c = 0; c < 3; c++) {
                    colour[c] = load(colours + (c * phases + phase) * step + i);
                    large |= (reinterpret_cast<Integers>(colour[c]) & 0x7fffffff) > LARGE;
                    colour[c] = larger(colour[c], load(scratch + c * step + i));
                    colour[c] = smaller(colour[c], load(scratch + (c + 3) * step + i));
                }
                const Vector luma = colour[0] * LUMA[0] + colour[1] * LUMA[1] + colour[2] * LUMA[2];
                const Integers grey = reinterpret_cast<Integers>(load(scratch + 6 * step + i));
                for (int c = 0; c < 3; c++) {
                    const Vector sample = smaller(larger(grey ? luma : colour[c], all(0)), all(1)) * 255.0f;
                    store(colours + (c * phases + phase) * step + i, (sample + ROUNDING) - ROUNDING);
                }
            }
        for (int i = 0; i < LANES; i++)
            if (large[i]) *overflows = true;
        shuffle(scale, colours, sr + long(row) * picture.width * (3 * phases), picture);
    }
};

// One thread's part of the network; where it waits, all the others do.
template <int SCALE>
void compute(const Network<SCALE> &weights, const Format &format, Picture picture) {
    for (Turn turn{picture, picture.H + 2, 1}; turn.next();) {
        const int row = turn.index - 1;
        clear(row, picture);
        for (int c = 0; c < 3 && picture.has(row); c++)
            format.read(row, c, weights.mean[c], picture.at(LR, row, c), picture);
    }
    picture.team->wait();
    const auto shallow = [&](int row, float *out) { convolve(weights.shallow, picture.at(LR, row), out, picture); };
    int input = FIRST, output = THIRD;
    for (Turn turn = rows(picture); turn.next();) {
        shallow(turn.index, picture.at(input, turn.index));
        crop(picture.at(input, turn.index), CHANNELS, picture);
    }
    picture.team->wait();
    for (int index = 0; index < GROUPS; index++) {
        picture.integrate = index > 0;
        picture.keep = index < GROUPS - 1;
        group(weights.groups[index], input, SECOND, output, index == 0, picture);
        std::swap(input, output);
    }
    mix(weights.refine, FUSED, picture, [&](int row, float *mixed) {
        float *out = picture.at(SECOND, row);
        convolve(weights.join, mixed, out, picture);
        shallow(row, mixed);
        add(mixed, out, picture);
        crop(out, CHANNELS, picture);
    });
    Memory memory(picture);
    float *const colours = memory.take(3 * SCALE * SCALE * picture.step);
    float *const scratch = memory.take(Format::SCRATCH * picture.step);
    for (Turn turn = rows(picture); turn.next();) {
        convolve(weights.head, picture.at(SECOND, turn.index), colours, picture);
        format.write(SCALE, turn.index, colours, scratch, picture);
    }
}

// As many threads as are asked for and can be had.
template <int SCALE>
void run(const float *weights, const Format &format, Picture picture, float *memory, int threads) {
    const auto &own_weights = *reinterpret_cast<const Network<SCALE> *>(weights);
    const auto start = [&](int thread) {
        Picture own = picture;
        own.thread = thread;
        own.memory = memory + thread * thread_size(picture.step);
        compute(own_weights, format, own);
    };
    Team team(threads);
    picture.team = &team;
    int started = 1;
    std::mutex counting;  // held until it is known how many threads there are
    std::vector<std::thread> others;
    counting.lock();
    try {
        while (started < threads) {
            others.emplace_back([&, thread = started] {
                counting.lock();
                counting.unlock();
                start(thread);
            });
            started++;
        }
    } catch (const std::exception &) {  // the system gives no more threads
    }
    team.open(started);
    counting.unlock();
    start(0);
    for (std::thread &other : others) other.join();
}

// More would have no band.
int useful(int threads, const Picture &picture) { return std::min(threads, picture.H / BAND); }

// The memory may hold anything.
void enlarge(int scale, const float *weights, const Format &format, float *memory, Picture picture, int threads) {
    threads = useful(threads, picture);
    float *const of_threads = memory;
    memory += threads * thread_size(picture.step);
    for (int image = 0; image < IMAGES; memory += picture.size(image++)) picture.images[image] = memory;
    char *next = reinterpret_cast<char *>(memory);
    for (auto &maps : picture.maps)
        for (int i = 0; i < 4; next += picture.bytes(long(picture.H) * picture.W * MAPS[i++])) maps[i] = next;
    const auto run_scale = scale == 2 ? run<2> : scale == 3 ? run<3> : run<4>;
    run_scale(weights, format, picture, of_threads, threads);
}

}  // namespace

// How many bytes of working memory a picture needs.
extern "C" long memory_size(int height, int width, bool half, int threads) {
    const Picture picture(height, width, half);
    long numbers = useful(threads, picture) * thread_size(picture.step);
    for (int image = 0; image < IMAGES; image++) numbers += picture.size(image);
    long of_maps = 0;
    for (int each : MAPS) of_maps += long(BLOCKS) * picture.H * picture.W * each;
    return numbers * sizeof(float) + picture.bytes(of_maps);
}

// How many numbers the weights are.
extern "C" long weights_size(int scale) {
    return (scale == 2 ? sizeof(Network<2>) : scale == 3 ? sizeof(Network<3>) : sizeof(Network<4>)) / sizeof(float);
}

// Enlarges `Planes`. Maps are kept in float16 if `half`.
extern "C" bool enlarge_planes(int scale, const float *weights, const float *lr, float *sr, float *memory, int height,
                               int width, bool half, int threads) {
    enlarge(scale, weights, Planes(lr, sr), memory, Picture(height, width, half), threads);
    return true;
}

// Enlarges `Pixels`, 8 at least on one side; false if a number exceeds 2^64.
extern "C" bool enlarge_pixels(int scale, const float *weights, const unsigned char *lr, unsigned char *sr,
                               float *memory, int height, int width, bool half, int threads) {
    std::atomic<bool> overflows{false};
    enlarge(scale, weights, Pixels(lr, sr, &overflows), memory, Picture(height, width, half), threads);
    return !overflows;
}
